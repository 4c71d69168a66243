"""The requantizer's product of 32 by 32 bits."""

from amaranth import Module, Mux, Signal, signed, unsigned
from amaranth.hdl import Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.cells.banks import concat
from hw.cells.mult18x18d import mult18x18d
from hw.config import MULTIPLIERS, ConfigError

LATENCY = 6


class Mult32(wiring.Component):
    """Pipelined multiplier, signed by unsigned.

    Parameters
    ----------
    multiplier : str
        "mult18x18d" takes four DSP cells; "lut" and "sb_mac16" take LUTs and carry chains.

    Members
    -------
    a : In(signed(32))
    b : In(unsigned(32))
    p : Out(signed(64))

    Behaviour
    ---------
    p = a * b of LATENCY cycles ago, every cycle; exact. Not reset: flush by waiting.

    Raises
    ------
    ConfigError
        The multiplier is unknown.
    """

    LATENCY = LATENCY

    def __init__(self, multiplier: str):
        if multiplier not in MULTIPLIERS:
            raise ConfigError(f"multiplier must be one of {', '.join(MULTIPLIERS)}, not "
                              f"{multiplier!r}; choose one of these")
        self.multiplier = multiplier
        self.dsps = 4 if multiplier == "mult18x18d" else 0
        super().__init__({"a": In(signed(32)), "b": In(unsigned(32)), "p": Out(signed(64))})

    def elaborate(self, platform):
        """Four DSP cells and three cycles of adders, or a tree of adders."""
        m = Module()
        m.d.comb += self.p.eq(self._dsps(m) if self.dsps else self._tree(m))
        return m

    def _dsps(self, m: Module) -> Value:
        """18 + 14 bits of each operand: low * low, two mixed products, high * high."""
        a_low, a_high = self.a[:18], self.a[18:].as_signed()
        b_low, b_high = self.b[:18], self.b[18:]
        products = {"ll": (a_low, b_low, unsigned(36)), "lh": (a_low, b_high, unsigned(32)),
                    "hl": (a_high, b_low, signed(32)), "hh": (a_high, b_high, signed(28))}
        p = {}
        for name, (left, right, shape) in products.items():
            p[name] = Signal(shape, name=name)
            m.submodules[f"mult_{name}"] = mult18x18d(left, right, p[name])
        mid = _register(m, "mid", p["lh"] + p["hl"], signed(34))
        low = _register(m, "low", p["ll"][:18], unsigned(18))
        outer = _register(m, "outer", concat(p["ll"][18:], p["hh"]), signed(46))
        # 46 bits of outer + mid: the lower 22 first, then the carry into the upper 24
        first = _register(m, "first", outer[:22] + mid[:22], unsigned(23))
        low1 = _register(m, "low1", low, unsigned(18))
        outer1 = _register(m, "outer1", outer[22:], signed(24))
        mid1 = _register(m, "mid1", mid[22:], signed(12))
        second = _register(m, "second", outer1.as_signed() + mid1 + first[22], signed(24))
        low2 = _register(m, "low2", concat(low1, first[:22]), unsigned(40))
        return concat(low2, second).as_signed()

    def _tree(self, m: Module) -> Value:
        """Rows a * b[n], summed in pairs: 16, 8, 4, 2 and 1 adders, one register more."""
        a = _register(m, "a_in", self.a, signed(32))
        b = _register(m, "b_in", self.b, unsigned(32))
        sums: list[Value] = [Mux(b[n], a, 0) for n in range(32)]
        step = 1  # rows in a sum
        while len(sums) > 1:
            level = []
            for n in range(0, len(sums), 2):
                low, high = sums[n:n + 2]
                total = concat(low[:step], (low.as_signed() >> step) + high.as_signed())
                level.append(_register(m, f"sum{step}_{n // 2}", total, signed(32 + 2 * step)))
            step, sums = 2 * step, level
        return sums[0]


def _register(m: Module, name: str, value, shape) -> Signal:
    """The value one cycle later, without reset."""
    register = Signal(shape, name=name, reset_less=True)
    m.d.sync += register.eq(value)
    return register
