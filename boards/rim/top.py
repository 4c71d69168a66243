"""The top of a board: clock, reset, pins, and the system."""

from amaranth import ClockDomain, Elaboratable, Instance, Module, Signal
from amaranth.build import Attrs
from amaranth.lib import io
from amaranth_boards.resources import UARTResource

from boards.catalog import Board
from boards.rim.clock import CoreClock, PowerOnReset
from boards.rim.flash import FlashPads
from boards.rim.leds import Leds
from boards.rim.pins import request

SYSTEM = "system"        # module of the Verilog of hw.system.System
CLOCK = "core_clk"       # net of the core's clock in the top
PULLED_UP = {"ice40": Attrs(IO_STANDARD="SB_LVCMOS", PULLUP=1),
             "ecp5": Attrs(IO_TYPE="LVCMOS33", PULLMODE="UP")}


class Top(Elaboratable):
    """A board with a system, which is a module of its own Verilog.

    Parameters
    ----------
    board : Board
    """

    def __init__(self, board: Board):
        self.board = board

    def elaborate(self, platform):
        m = Module()
        board = self.board
        m.domains.sync = domain = ClockDomain(reset_less=True)
        clk = Signal(name=CLOCK, attrs={"keep": 1})   # a name for the constraint
        m.submodules.clock = clock = CoreClock(board)
        m.d.comb += [clk.eq(clock.clk), domain.clk.eq(clk)]
        m.submodules.reset = reset = PowerOnReset(board.core_hz)
        m.submodules.leds = leds = Leds(board)
        m.submodules.flash = flash = FlashPads(board)
        uart = self._uart(platform)
        m.submodules.rx = rx = io.Buffer("i", uart.rx)
        m.submodules.tx = tx = io.Buffer("o", uart.tx)
        m.d.comb += reset.locked.eq(clock.locked)
        m.submodules.system = Instance(
            SYSTEM, i_clk=clk, i_rst=reset.rst, i_rx=rx.i, o_tx=tx.o,
            o_flash__cs_n=flash.cs_n, o_flash__sck=flash.sck, o_flash__dq_o=flash.dq_o,
            o_flash__dq_oe=flash.dq_oe, i_flash__dq_i=flash.dq_i,
            o_ready=leds.ready, o_busy=leds.busy, o_error=leds.error)
        return m

    def _uart(self, platform):
        """The pins of the platform's UART, or those where an adapter goes."""
        pins = self.board.uart_pins
        if pins:
            platform.add_resources([UARTResource(0, rx=pins[0], tx=pins[1],
                                                 attrs=PULLED_UP[self.board.family])])
        return request(platform, "uart")
