"""Psum times multiplier: the first of the two roundings of a requantization."""

from typing import Any

from amaranth import Cat, Const, Module, Mux, Signal, signed
from amaranth.hdl import Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.cells.mult import Mult32
from hw.requant_beat import SIDE, Beat, add_carry

SCALED_WIDTH = 33
GROUPS = {2: (3, 3, 2), 4: (2, 2)}  # digits added up in one cycle, for every beat_cycles
VALUE = data.StructLayout({"acc": signed(32), "bias": signed(32), "multiplier": 32, "shift": 5,
                           "second": 1})
MEMBERS = {"i_valid": In(1), "i": In(VALUE), "o_valid": Out(1), "o": Out(signed(SCALED_WIDTH)),
           "o_side": Out(SIDE)}


class PipelinedScale(wiring.Component):
    """One scaled psum per cycle.

    Parameters
    ----------
    multiplier : str
        Cells of the 32x32 multiplier, as in CoreConfig.

    Members
    -------
    i_valid, i : In
        A value of VALUE, any cycle.
    o_valid, o : Out
        latency(1) cycles later: floor((psum * multiplier + 2^30) / 2^31), minus 1 if the product
        is negative and shift is not 0. psum is acc + bias, wrapped to 32 bits.
    o_side : Out(SIDE)
        The value's shift and second.

    Behaviour
    ---------
    With the 1 subtracted, rounding half up after a right shift by ``shift`` is what TFLM's
    RoundingDivideByPOT does: half away from zero. (A product in -2^30..-1 scales to -1 instead of
    0, and -1 rounds half up to 0 at every shift but 0.)

    Source
    ------
    gemmlowp fixedpoint.h: SaturatingRoundingDoublingHighMul, RoundingDivideByPOT.
    """

    def __init__(self, multiplier: str):
        self._multiplier = multiplier
        super().__init__(MEMBERS)

    def elaborate(self, platform):
        """Add the bias, multiply, round."""
        m = Module()
        beat = Beat(m, self.i_valid, _side(self.i), beat_cycles=1)
        last = latency(1)
        m.submodules.mult = mult = Mult32(self._multiplier)
        psum, factor = Signal(signed(32), reset_less=True), Signal(32, reset_less=True)
        m.d.sync += [psum.eq(self.i.acc + self.i.bias), factor.eq(self.i.multiplier)]
        m.d.comb += [mult.a.eq(psum), mult.b.eq(factor)]
        down = mult.p[63] & beat.side(last).shift.any()
        m.d.comb += [
            self.o.eq(add_carry(mult.p[31:], down.replicate(SCALED_WIDTH),
                                (mult.p[30], mult.p[30]), SCALED_WIDTH)),
            self.o_valid.eq(beat.at(last)),
            self.o_side.eq(beat.side(last)),
        ]
        return m


class SerialScale(wiring.Component):
    """One scaled psum every beat_cycles cycles, without DSP cells.

    Parameters
    ----------
    beat_cycles : int
        2 or 4: 16 or 8 bits of the multiplier per cycle.

    Members
    -------
    As in PipelinedScale; values come at least beat_cycles cycles apart; o_side stays for
    beat_cycles cycles from o_valid on.

    Behaviour
    ---------
    The same numbers as PipelinedScale, latency(beat_cycles) cycles after i_valid. A cycle adds
    psum times one chunk of the multiplier, least significant first, and drops as many bits:
    floors nest, so what was dropped does not matter. The multiplier's lowest bit and both roundings
    are in the initial value.

    Source
    ------
    Radix-4 digits after A. D. Booth, "A signed binary multiplication technique", 1951.
    """

    def __init__(self, beat_cycles: int):
        self._beat_cycles = beat_cycles
        super().__init__(MEMBERS)

    def elaborate(self, platform):
        """Recode the multiplier, add the multiples of psum in groups, accumulate."""
        m = Module()
        psum, side = Signal(signed(32), reset_less=True), Signal(SIDE, reset_less=True)
        started, odd = Signal(), Signal(reset_less=True)
        m.d.sync += started.eq(self.i_valid)
        with m.If(self.i_valid):
            m.d.sync += [psum.eq(self.i.acc + self.i.bias), side.eq(_side(self.i)),
                         odd.eq(self.i.multiplier[0])]
        beat = Beat(m, started, side, self._beat_cycles)
        sizes = GROUPS[self._beat_cycles]
        m.submodules.recode = recode = Recode(sum(sizes))
        m.d.comb += [recode.start.eq(self.i_valid), recode.multiplier.eq(self.i.multiplier[1:])]

        total = Signal(signed(32), reset_less=True)
        rest, first = total, 0
        for size in sizes:
            group, carry = self._group(m, psum, recode.digits[first:first + size])
            full = add_carry(rest, group, (carry, carry), len(group))
            rest = full[2 * size:].as_signed()
            first += size
        m.d.sync += total.eq(rest)
        with m.If(started):  # before the first chunk: 2^30, less 2^31 for a negative psum; halved
            down = psum[-1] & side.shift.any()
            half = (psum >> 1) & odd.replicate(32).as_signed()
            m.d.sync += total.eq(Cat(half[:29], half[29:] + Mux(down, -1, 1)))
        last = latency(self._beat_cycles) - 1
        m.d.comb += [self.o.eq(full[2 * sizes[-1] - 2:]), self.o_valid.eq(beat.at(last)),
                     self.o_side.eq(beat.side(last))]
        return m

    def _group(self, m: Module, psum: Value, digits):
        """Registers with the sum of psum * digit * 4^k, 1 short where the carry is set."""
        rows = [_multiple(psum, digit) for digit in digits]
        total, dropped = rows[0], []
        for row, digit in zip(rows[1:], digits[1:], strict=True):
            dropped.append(total[:2])
            total = add_carry(total[2:].as_signed(), row, (digit[0], digit[1]), 34)
        dropped.append(total[:2])
        total = total[2:].as_signed()
        group = Signal(signed(32 + 2 * len(digits)), reset_less=True)
        carry = Signal(reset_less=True)
        m.d.sync += [group.eq(Cat(dropped, total)), carry.eq(digits[0].all())]
        return group, carry


class Recode(wiring.Component):
    """Gives the multiplier's radix-4 digits -1, 0, 1, 2, some per cycle.

    Parameters
    ----------
    count : int
        Digits per cycle.

    Members
    -------
    start : In(1)
        The first cycle of a value; its multiplier is sampled here.
    multiplier : In(32)
        Unsigned, below 2^31: the last digit needs no carry.
    digits : Out(ArrayLayout(2, count))
        2 less the digit, so 3 is -1; the first ones one cycle after start, and so on.
    """

    def __init__(self, count: int):
        self._count = count
        super().__init__({"start": In(1), "multiplier": In(32),
                          "digits": Out(data.ArrayLayout(2, count))})

    def elaborate(self, platform):
        """Shift the multiplier down, count digits of 3 and 4 as -1 and 0 with a carry."""
        m = Module()
        bits = 2 * self._count
        rest = Signal(32 - bits, reset_less=True)
        later_carry = Signal(reset_less=True)    # what the digits so far lack, for the next one
        m.d.sync += [rest.eq(Mux(self.start, self.multiplier[bits:], rest[bits:])),
                     rest[-bits:].eq(self.multiplier[-bits:])]  # what moves up there is not used
        chunk = Mux(self.start, self.multiplier[:bits], rest[:bits])
        carry = ~self.start & later_carry
        ones = Const(int("01" * self._count, 2), bits)
        # chunk + 0b...0101 carries out of a pair of bits where that pair, with its carry, is 3 or 4
        total = (Cat(carry, chunk) + Cat(carry, ones))[1:]
        m.d.sync += [self.digits.eq(~total[:bits]), later_carry.eq(total[bits])]
        return m


def latency(beat_cycles: int) -> int:
    """Cycles from i_valid to o_valid of a scale."""
    return 1 + (Mult32.LATENCY if beat_cycles == 1 else beat_cycles)


def _side(value: Any) -> Any:
    return SIDE(Cat(value.shift, value.second))


def _multiple(psum: Value, digit: Value) -> Value:
    """psum * digit, 33 bits; 1 less for digit -1, which is the code 3."""
    once, twice = Cat(psum, psum[-1]), Cat(Const(0, 1), psum)
    return Mux(digit[1], Mux(digit[0], ~once, 0), Mux(digit[0], once, twice)).as_signed()
