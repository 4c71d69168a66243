"""Two exact products of an activation and a weight, of DSP cells or of LUTs."""

from typing import Any

from amaranth import ClockSignal, Const, Instance, Module, Mux, Signal, signed, unsigned
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.cells import mult18x18d
from hw.cells.banks import concat
from hw.cells.gated import GatedSum
from hw.config import ConfigError, CoreConfig
from hw.delay import delayed

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
        return sb_mac16(self.act0, self.act1, self.w0, self.w1, concat(self.p0, self.p1))


class MacSum(wiring.Component):
    """A MacPair of SB_MAC16 that adds the products of another one.

    Members
    -------
    act0, act1 : In(unsigned(8)), w0, w1 : In(signed(8))
    c0, c1 : In(signed(16))
        Products of the other.
    s0, s1 : Out(signed(17))

    Behaviour
    ---------
    s0 = act0 * w0 + c0, s1 = act1 * w1 + c1 a cycle after the products, every cycle.

    Source
    ------
    Lattice FPGA-TN-02007. Its adders have 16 bits and one carry output for two sums, so the
    17th bit is found from signs: where both terms have the same it is theirs, else the sum's.
    """

    def __init__(self):
        super().__init__({"act0": In(8), "act1": In(8), "w0": In(signed(8)), "w1": In(signed(8)),
                          "c0": In(signed(16)), "c1": In(signed(16)),
                          "s0": Out(signed(17)), "s1": Out(signed(17))})

    def elaborate(self, platform):
        m = Module()
        sums = [Signal(16, name=f"sum{n}") for n in range(2)]
        m.submodules.mac16 = sb_mac16(self.act0, self.act1, self.w0, self.w1, concat(*sums),
                                      (self.c0, self.c1))
        for n, total in enumerate(sums):
            act, w, c, s = (getattr(self, f"{name}{n}") for name in ("act", "w", "c", "s"))
            own = delayed(m, (w < 0) & act.any(), NARROW_LATENCY + 1)
            other = delayed(m, c < 0, 1)
            m.d.comb += s.eq(concat(total, Mux(own == other, own, total[-1])).as_signed())
        return m


def sb_mac16(act0, act1, w0, w1, o, added=None) -> Instance:
    """Two unsigned bytes times two signed ones: 16 bits each, ``added`` to one each if given.

    Latency NARROW_LATENCY, with ``added``, which meet the products, a cycle more.
    """
    zero: dict[str, Any] = {f"i_{pin}": Const(0) for pin in (
        "AHOLD", "BHOLD", "CHOLD", "DHOLD", "IRSTTOP", "IRSTBOT", "ORSTTOP", "ORSTBOT",
        "OLOADTOP", "OLOADBOT", "ADDSUBTOP", "ADDSUBBOT", "OHOLDTOP", "OHOLDBOT", "CI",
        "ACCUMCI", "SIGNEXTIN")}
    select = Const(1 if added else 2, 2)       # the adder's register or that of the product
    low, high = added or (Const(0, 16), Const(0, 16))
    adders: dict[str, Any] = {f"p_{half}ADDSUB_{name}": value for half in ("TOP", "BOT")
                              for name, value in (("LOWERINPUT", Const(1, 2)),
                                                  ("UPPERINPUT", Const(1, 1)))} if added else {}
    return Instance(
        "SB_MAC16", p_MODE_8x8=Const(1, 1), p_A_SIGNED=Const(0, 1), p_B_SIGNED=Const(1, 1),
        p_A_REG=Const(1, 1), p_B_REG=Const(1, 1), p_TOP_8x8_MULT_REG=Const(1, 1),
        p_BOT_8x8_MULT_REG=Const(1, 1), p_TOPOUTPUT_SELECT=select,
        p_BOTOUTPUT_SELECT=select, i_CLK=ClockSignal(), i_CE=Const(1),
        i_A=concat(act0, act1), i_B=concat(w0, w1), i_C=high, i_D=low, o_O=o, **zero, **adders)


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
