"""Two exact products of an activation and a weight, of DSP cells or of LUTs."""

from typing import Any

from amaranth import ClockSignal, Const, Instance, Module, Signal, signed, unsigned
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.cells import mult18x18d
from hw.cells.banks import concat
from hw.cells.gated import GatedSum
from hw.config import ConfigError, CoreConfig

WIDE_LATENCY = mult18x18d.LATENCY
NARROW_LATENCY = 2  # SB_MAC16: input and product registers


class MacPair(wiring.Component):
    """Two multipliers, the number that one SB_MAC16 holds.

    Parameters
    ----------
    config : CoreConfig
        Its multiplier decides about the kind of operands and the cells.
    dsp : bool
        Of DSP cells, else of LUTs; True with sb_mac16, False with lut.

    Members
    -------
    act0, act1 : In(signed(9)), or In(unsigned(8)) where config.narrow
    w0, w1 : In(signed(8))
    p0, p1 : Out(signed(16))

    Behaviour
    ---------
    p0 = act0 * w0 and p1 = act1 * w1 of ``latency(config)`` cycles ago, every cycle. Exact for
    act in -255..255, which is what x - offset can be. Not reset: flush by waiting.

    Raises
    ------
    ConfigError
        ``dsp`` does not fit the multiplier.

    Source
    ------
    Lattice FPGA-TN-02205 (MULT18X18D); FPGA-TN-02007 (SB_MAC16).
    """

    def __init__(self, config: CoreConfig, dsp: bool):
        possible = {"lut": (False,), "sb_mac16": (True,)}.get(config.multiplier, (False, True))
        if dsp not in possible:
            raise ConfigError(f"dsp must be {possible[0]} with multiplier={config.multiplier}, "
                              f"not {dsp!r}; choose another multiplier")
        self.config, self.dsp = config, dsp
        act = unsigned(8) if config.narrow else signed(9)
        super().__init__({"act0": In(act), "act1": In(act), "w0": In(signed(8)),
                          "w1": In(signed(8)), "p0": Out(signed(16)), "p1": Out(signed(16))})

    @staticmethod
    def latency(config: CoreConfig) -> int:
        """Cycles from operands to products."""
        return NARROW_LATENCY if config.narrow else WIDE_LATENCY

    def elaborate(self, platform):
        """Take a pair in one SB_MAC16, two MULT18X18D or two multipliers of LUTs."""
        m = Module()
        if self.config.narrow:
            m.submodules.mac16 = self._mac16()
            return m
        for n in range(2):
            act, w, p = (getattr(self, f"{name}{n}") for name in ("act", "w", "p"))
            if self.dsp:
                m.submodules[f"mult{n}"] = mult18x18d.mult18x18d(act, w, p)
            else:
                m.submodules[f"mult{n}"] = mult = Mult9x8(self.config.carry_gates)
                m.d.comb += [mult.act.eq(act), mult.w.eq(w), p.eq(mult.p)]
        return m

    def _mac16(self) -> Instance:
        zero: dict[str, Any] = {f"i_{pin}": Const(0) for pin in (
            "AHOLD", "BHOLD", "CHOLD", "DHOLD", "IRSTTOP", "IRSTBOT", "ORSTTOP", "ORSTBOT",
            "OLOADTOP", "OLOADBOT", "ADDSUBTOP", "ADDSUBBOT", "OHOLDTOP", "OHOLDBOT", "CI",
            "ACCUMCI", "SIGNEXTIN")}
        return Instance(
            "SB_MAC16", p_MODE_8x8=Const(1, 1), p_A_SIGNED=Const(0, 1), p_B_SIGNED=Const(1, 1),
            p_A_REG=Const(1, 1), p_B_REG=Const(1, 1), p_TOP_8x8_MULT_REG=Const(1, 1),
            p_BOT_8x8_MULT_REG=Const(1, 1), p_TOPOUTPUT_SELECT=Const(2, 2),
            p_BOTOUTPUT_SELECT=Const(2, 2), i_CLK=ClockSignal(), i_CE=Const(1),
            i_A=concat(self.act0, self.act1), i_B=concat(self.w0, self.w1),
            i_C=Const(0, 16), i_D=Const(0, 16), o_O=concat(self.p0, self.p1), **zero)


class Mult9x8(wiring.Component):
    """Multiplier of LUTs and carry chains.

    Parameters
    ----------
    cells : bool
        See `hw.cells.gated.GatedSum`.

    Members
    -------
    act : In(signed(9))
    w : In(signed(8))
    p : Out(signed(16))

    Behaviour
    ---------
    p = act * w of WIDE_LATENCY cycles ago; exact for act in -255..255. A tree of three levels
    of adders, a register after each: 4 x 11, 2 x 11 and 12 bits; AND rows enter the first.
    """

    def __init__(self, cells: bool):
        self.cells = cells
        super().__init__({"act": In(signed(9)), "w": In(signed(8)), "p": Out(signed(16))})

    def elaborate(self, platform):
        """Sum eight rows in pairs; the row of the sign bit counts negative."""
        m = Module()
        pairs = [Signal(signed(11), name=f"pair{n}", reset_less=True) for n in range(4)]
        halves = [Signal(signed(13), name=f"half{n}", reset_less=True) for n in range(2)]
        product = Signal(signed(16), reset_less=True)
        for n, pair in enumerate(pairs):
            m.submodules[f"rows{n}"] = rows = GatedSum(10, 9, 11, subtract=n == 3,
                                                       cells=self.cells)
            m.d.comb += [rows.b.eq(self.act), rows.b_on.eq(self.w[2 * n]),
                         rows.a.eq(self.act << 1), rows.a_on.eq(self.w[2 * n + 1])]
            m.d.sync += pair.eq(rows.s)
        for n, half in enumerate(halves):
            low, high = pairs[2 * n:2 * n + 2]
            m.d.sync += half.eq(concat(low[:2], ((low >> 2) + high)[:11]).as_signed())
        m.d.sync += product.eq(concat(halves[0][:4], ((halves[0] >> 4) + halves[1])[:12]))
        m.d.comb += self.p.eq(product)
        return m
