"""From a board's oscillator to the core's clock."""

from amaranth import Const, Instance, Module, Signal
from amaranth.lib import io, wiring
from amaranth.lib.wiring import In, Out

from boards.catalog import Board
from boards.rim.pins import request
from boards.rim.pll import ecp5_dividers, ice40_dividers


class CoreClock(wiring.Component):
    """A PLL behind the board's oscillator.

    Parameters
    ----------
    board : Board

    Members
    -------
    clk, locked : Out(1)
        The core's clock; it is steady.

    Source
    ------
    Lattice FPGA-TN-02052 (iCE40) and FPGA-TN-02200 (ECP5), PLL usage guides.
    """

    def __init__(self, board: Board):
        self.board = board
        super().__init__({"clk": Out(1), "locked": Out(1)})

    def elaborate(self, platform):
        m = Module()
        pin = request(platform, self.board.clock)
        if self.board.pll == "pad":
            m.submodules.pll = self._ice40("SB_PLL40_PAD", i_PACKAGEPIN=pin.io)
            return m
        m.submodules.oscillator = oscillator = io.Buffer("i", pin)
        if self.board.pll == "core":
            m.submodules.pll = self._ice40("SB_PLL40_CORE", i_REFERENCECLK=oscillator.i)
        else:
            m.submodules.pll = self._ecp5(oscillator.i)
        return m

    def _ice40(self, cell, **source):
        dividers = ice40_dividers(self.board.clock_hz, self.board.core_hz)
        return Instance(
            cell, **source, p_FEEDBACK_PATH="SIMPLE", p_DIVR=Const(dividers.divr, 4),
            p_DIVF=Const(dividers.divf, 7), p_DIVQ=Const(dividers.divq, 3),
            p_FILTER_RANGE=Const(dividers.filter_range, 3), i_RESETB=Const(1), i_BYPASS=Const(0),
            o_PLLOUTGLOBAL=self.clk, o_LOCK=self.locked)

    def _ecp5(self, source):
        """The feedback is an internal one, from an output that divides by 1."""
        dividers = ecp5_dividers(self.board.clock_hz, self.board.core_hz)
        return Instance(
            "EHXPLLL", a_ICP_CURRENT="6", a_LPF_RESISTOR="16", a_MFG_ENABLE_FILTEROPAMP="1",
            a_MFG_GMCREF_SEL="2", p_FEEDBK_PATH="INT_OS3", p_CLKOS3_ENABLE="ENABLED",
            p_CLKOS3_DIV=1, p_CLKI_DIV=dividers.source, p_CLKFB_DIV=dividers.feedback,
            p_CLKOP_ENABLE="ENABLED", p_CLKOP_DIV=dividers.clock,
            p_CLKOP_CPHASE=dividers.clock - 1, p_CLKOP_FPHASE=0,
            i_RST=Const(0), i_STDBY=Const(0), i_CLKI=source, o_CLKOP=self.clk, o_LOCK=self.locked)


class PowerOnReset(wiring.Component):
    """Resets from configuration on until the clock is steady and SECONDS have passed since.

    Parameters
    ----------
    clock_hz : int

    Members
    -------
    locked : In(1)
    rst : Out(1)

    Behaviour
    ---------
    RAM blocks of the iCE40 can be read 3 us after configuration.
    """

    SECONDS = 5e-6

    def __init__(self, clock_hz: int):
        self.bits = (int(self.SECONDS * clock_hz)).bit_length() + 1
        super().__init__({"locked": In(1), "rst": Out(1, init=1)})

    def elaborate(self, platform):
        m = Module()
        count, steady = Signal(self.bits), Signal()
        m.d.sync += steady.eq(self.locked)
        m.d.comb += self.rst.eq(~count[-1])
        with m.If(~steady):
            m.d.sync += count.eq(0)
        with m.Elif(self.rst):
            m.d.sync += count.eq(count + 1)
        return m
