"""Right shift to what a byte needs, zero point, clamp: the second rounding of a requantization."""

from dataclasses import dataclass

from amaranth import Cat, Const, Module, Mux, Signal, signed
from amaranth.hdl import Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.cells.banks import concat
from hw.requant_beat import SIDE, Beat, add_carry
from hw.requant_scale import SCALED_WIDTH

WINDOW_BITS = 9  # every value that a zero point can bring into a byte: -256..255
WINDOW = data.StructLayout({"value": signed(WINDOW_BITS), "half": 1, "over": 1, "negative": 1})


@dataclass(frozen=True)
class Stage:
    """A register of the shifter.

    Parameters
    ----------
    loads : tuple of int
        Shifts by so many bits or not, on the way into the register.
    step, steps : int
        Shifts within the register: up to ``steps`` times ``step`` bits, one per cycle.
    """

    loads: tuple[int, ...] = ()
    step: int = 0
    steps: int = 0


# registers of the shifter, then the shifts on its way out, for every beat_cycles
PLANS: dict[int, tuple[tuple[Stage, ...], tuple[int, ...]]] = {
    1: ((Stage(), Stage(loads=(16, 8)), Stage(loads=(4, 2))), (1,)),
    2: ((Stage(step=16, steps=1), Stage(loads=(8,)), Stage(loads=(4,))), (2, 1)),
    4: ((Stage(step=8, steps=3), Stage(step=2, steps=3)), (1,)),
}


class Shifter(wiring.Component):
    """Shifts a scaled psum right and keeps the bits from which a byte can come.

    Parameters
    ----------
    beat_cycles : int
        1, 2 or 4: least distance of two values.

    Members
    -------
    i_valid, i : In
        A scaled psum.
    i_side : In(SIDE)
        Its shift; stays for beat_cycles cycles from i_valid on.
    o_valid, o : Out
        latency(beat_cycles) cycles later. value: floor(i / 2^shift); half: the bit below it;
        over: value did not fit, only negative counts then.
    o_side : Out(SIDE)
        As i_side, from o_valid on.
    """

    def __init__(self, beat_cycles: int):
        self._beat_cycles = beat_cycles
        super().__init__({"i_valid": In(1), "i": In(signed(SCALED_WIDTH)), "i_side": In(SIDE),
                          "o_valid": Out(1), "o": Out(WINDOW), "o_side": Out(SIDE)})

    @staticmethod
    def latency(beat_cycles: int) -> int:
        """Cycles from i_valid to o_valid."""
        return sum(1 + stage.steps for stage in PLANS[beat_cycles][0])

    def elaborate(self, platform):
        """Register after register, each cut to the bits that the shifts to come still need."""
        m = Module()
        beat = Beat(m, self.i_valid, self.i_side, self._beat_cycles)
        stages, last_shifts = PLANS[self._beat_cycles]
        bits, over = Cat(Const(0, 1), self.i).as_signed(), Const(0)
        cycle, to_come = 0, 31
        for n, stage in enumerate(stages):
            bits, over, to_come = _narrow(bits, over, stage.loads, beat.side(cycle).shift, to_come)
            register = Signal(signed(len(bits)), name=f"bits{n}", reset_less=True)
            over_register = Signal(name=f"over{n}", reset_less=True)
            for k in range(1, stage.steps + 1):
                shift = beat.side(cycle + k).shift
                with m.If(beat.at(cycle + k) & (_times(shift, stage) >= k)):
                    m.d.sync += register.eq(register >> stage.step)
            beat.load(cycle, [register.eq(bits), over_register.eq(over)])
            bits, over = register, over_register
            cycle += 1 + stage.steps
            to_come -= stage.step * stage.steps
        negative = bits[-1]
        bits, over, _ = _narrow(bits, over, last_shifts, beat.side(cycle).shift, to_come)
        m.d.comb += [self.o.half.eq(bits[0]), self.o.value.eq(bits[1:]), self.o.over.eq(over),
                     self.o.negative.eq(negative), self.o_valid.eq(beat.at(cycle)),
                     self.o_side.eq(beat.side(cycle))]
        return m


class Clamp(wiring.Component):
    """Rounds, adds the zero point and limits to low..high.

    Parameters
    ----------
    beat_cycles : int
        1: one value per cycle; 2 or 4: one comparator, used twice.

    Members
    -------
    i_valid, i, i_side : In
        What a Shifter gives.
    limits : In(ArrayLayout of {zero_point, low, high: signed(8)}, 2)
        Set ``second`` holds for the value.
    o_valid, o, o_second : Out
        LATENCY cycles later: value + half + zero_point in low..high.
    """

    LATENCY = 3  # cycles from i_valid to o_valid

    LIMITS = data.StructLayout({"zero_point": signed(8), "low": signed(8), "high": signed(8)})

    def __init__(self, beat_cycles: int):
        self._beat_cycles = beat_cycles
        super().__init__({"i_valid": In(1), "i": In(WINDOW), "i_side": In(SIDE),
                          "limits": In(data.ArrayLayout(self.LIMITS, 2)),
                          "o_valid": Out(1), "o": Out(signed(8)), "o_second": Out(1)})

    def elaborate(self, platform):
        """Add, then compare with low and high: at once or one after the other."""
        m = Module()
        beat = Beat(m, self.i_valid, self.i_side, self._beat_cycles)
        total = Signal(signed(WINDOW_BITS + 1), reset_less=True)
        zero_point = self._pick("zero_point", beat.side(0).second)
        exact = add_carry(self.i.value, zero_point, (self.i.half, self.i.half), len(total))
        extreme = Cat(self.i.negative, ~self.i.negative, self.i.negative)  # -384..-257, 256..383
        beat.load(0, [total.eq(Cat(exact[:-3], Mux(self.i.over, extreme, exact[-3:])))])
        m.d.comb += [self.o_valid.eq(beat.at(self.LATENCY)),
                     self.o_second.eq(beat.side(self.LATENCY).second)]
        if self._beat_cycles == 1:
            self._compare_at_once(m, beat, total)
        else:
            self._compare_twice(m, beat, total)
        return m

    def _compare_at_once(self, m: Module, beat: Beat, total: Value):
        """Compare in one cycle, choose in the next."""
        low, high = (self._pick(name, beat.side(1).second) for name in ("low", "high"))
        inside = Signal(8, reset_less=True)
        below, above = Signal(reset_less=True), Signal(reset_less=True)
        m.d.sync += [inside.eq(total[:8]), below.eq(total < low), above.eq(total > high)]
        low, high = (self._pick(name, beat.side(2).second) for name in ("low", "high"))
        m.d.sync += self.o.eq(Mux(below, low, Mux(above, high, inside)))

    def _compare_twice(self, m: Module, beat: Beat, total: Value):
        """Take total or low, then high if total exceeds it; one subtractor for both."""
        is_high = beat.at(2)
        inverted_limit, difference = Signal(signed(8)), Signal.like(total)
        second = [beat.side(cycle).second for cycle in (1, 2)]
        m.d.comb += [
            inverted_limit.eq(~Mux(is_high, self._pick("high", second[1]),
                                   self._pick("low", second[0]))),
            difference.eq(total + inverted_limit),  # total - limit - 1
        ]
        below = difference[-1]  # total <= limit; where it equals the limit, either will do
        with m.If(beat.at(1) | (is_high & ~below)):
            m.d.sync += self.o.eq(Mux(is_high | below, ~inverted_limit, total[:8]))

    def _pick(self, name: str, second: Value) -> Value:
        return Mux(second, self.limits[1][name], self.limits[0][name])


def _times(shift: Value, stage: Stage) -> Value:
    """Steps within the stage's register that a shift asks for."""
    lowest = stage.step.bit_length() - 1
    return concat(shift[lowest:lowest + stage.steps.bit_length()])


def _narrow(bits: Value, over: Value, shifts, shift: Value, to_come: int):
    """Shift right and drop upper bits that the window cannot show; over tells if they mattered."""
    for by in shifts:
        to_come -= by
        keep = 1 + WINDOW_BITS + to_come  # and the bit below the window
        bits, over = _cut(bits, over, keep + by)
        select = shift[by.bit_length() - 1]
        _, over_unless_shifted = _cut(bits, Const(0), keep)
        over |= ~select & over_unless_shifted
        shifted = Cat(bits[by:], bits[-1].replicate(by))
        bits = Cat(Mux(select, shifted[:keep - 1], bits[:keep - 1]), bits[-1]).as_signed()
    bits, over = _cut(bits, over, 1 + WINDOW_BITS + to_come)
    return bits, over, to_come


def _cut(bits: Value, over: Value, keep: int):
    """Keep the sign and so many bits in all; over is set where the dropped ones were no signs."""
    if len(bits) <= keep:
        return bits, over
    upper = bits[keep - 1:-1]
    kept = Cat(bits[:keep - 1], bits[-1]).as_signed()
    return kept, over | (upper ^ bits[-1].replicate(len(upper))).any()
