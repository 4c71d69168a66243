"""The pads of the SPI flash."""

from amaranth import ClockDomain, ClockSignal, Const, Instance, Module, Signal
from amaranth.lib import io, wiring
from amaranth.lib.wiring import In, Out

from boards.catalog import Board
from boards.rim.pins import parts, request

DDR_OUTPUT = 0b010001    # SB_IO: one output while the clock is high, another while it is low


class FlashPads(wiring.Component):
    """Connects a `hw.flash.reader.FlashReader` with the pins.

    Parameters
    ----------
    board : Board

    Members
    -------
    cs_n, sck : In(1), dq_o, dq_oe : In(4), dq_i : Out(4)

    Behaviour
    ---------
    The flash's clock is ``sck & ~clk``, made in the iCE40's pad, or on the ECP5 by `Pulses` and
    brought to its pin by USRMCLK.
    """

    def __init__(self, board: Board):
        self.board = board
        super().__init__({"cs_n": In(1), "sck": In(1), "dq_o": In(4), "dq_oe": In(4),
                          "dq_i": Out(4)})

    def elaborate(self, platform):
        m = Module()
        flash = self.board.flash
        pins, wires = request(platform, flash.resource), parts(platform, flash.resource)
        m.submodules.cs = cs = io.Buffer("o", pins.cs)
        m.d.comb += cs.o.eq(~self.cs_n)              # the platform's pin is inverted
        if flash.clock_pin:
            m.submodules.clk = Instance(
                "SB_IO", p_PIN_TYPE=Const(DDR_OUTPUT, 6), io_PACKAGE_PIN=pins.clk.io,
                i_OUTPUT_CLK=ClockSignal(), i_OUTPUT_ENABLE=Const(1),
                i_D_OUT_0=Const(0), i_D_OUT_1=self.sck)
        else:
            m.submodules.pulses = pulses = Pulses()
            m.d.comb += pulses.enable.eq(self.sck)
            m.submodules.mclk = Instance("USRMCLK", i_USRMCLKI=pulses.clk, i_USRMCLKTS=Const(0))
        data = list(pins.dq.io) if "dq" in wires else [
            getattr(pins, name).io[0] for name in ("copi", "cipo", "wp", "hold") if name in wires]
        for n, pin in enumerate(data):
            buffer = io.Buffer("io", io.SingleEndedPort(pin))
            m.submodules[f"dq{n}"] = buffer
            m.d.comb += [buffer.o.eq(self.dq_o[n]), buffer.oe.eq(self.dq_oe[n])]
            # Fast clocks leave no time from the pad through gates.
            stage = m.d.sync if flash.registered else m.d.comb
            stage += self.dq_i[n].eq(buffer.i)
        return m


class Pulses(wiring.Component):
    """A clock that is high in the second half of every cycle in which it is enabled.

    Members
    -------
    enable : In(1), clk : Out(1)

    Behaviour
    ---------
    Of two registers one changes with each edge of the clock; they differ while `clk` is high. A
    gate with the clock itself would make glitches.
    """

    def __init__(self):
        super().__init__({"enable": In(1), "clk": Out(1)})

    def elaborate(self, platform):
        m = Module()
        m.domains.half = half = ClockDomain(clk_edge="neg", reset_less=True, local=True)
        rising, falling = Signal(), Signal()
        m.d.comb += [half.clk.eq(ClockSignal()), self.clk.eq(rising ^ falling)]
        m.d.sync += rising.eq(falling)
        with m.If(self.enable):
            m.d.half += falling.eq(~rising)
        return m
