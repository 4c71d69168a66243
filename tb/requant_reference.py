"""TFLM's requantization in two steps, written from the rule, and numbers to try it on."""

import random
from dataclasses import dataclass

INT32_MIN, INT32_MAX = -2**31, 2**31 - 1
ACCS = (INT32_MIN, INT32_MIN + 1, -2**30, -257, -256, -129, -128, -2, -1, 0, 1, 2, 127, 128, 255,
        256, 2**30, INT32_MAX - 1, INT32_MAX)
MULTIPLIERS = (0, 1, 2, 2**30, 2**30 + 1, 0x55555555, 0x6AAAAAAB, 2**31 - 1, 2**31, 0xAAAAAAAA,
               0xAAAAAAAB, 0xC0000000, 0xFFFFFFFE, 2**32 - 1)


@dataclass(frozen=True)
class Limits:
    """What is constant while values are in flight: zero point, low and high of one set."""

    zero_point: int
    low: int
    high: int


@dataclass(frozen=True)
class Item:
    """One value as it enters a requantizer."""

    acc: int
    bias: int
    multiplier: int
    shift: int
    second: int

    @property
    def word(self) -> int:
        """The bits of the component's port i."""
        return (self.acc & 0xFFFFFFFF | (self.bias & 0xFFFFFFFF) << 32 | self.multiplier << 64
                | self.shift << 96 | self.second << 101)


def wrap32(x: int) -> int:
    """The int32 with the low 32 bits of x."""
    return (x + 2**31) % 2**32 - 2**31


def rounding_doubling_high_mul(a: int, b: int) -> int:
    """SaturatingRoundingDoublingHighMul: a * b / 2^31, halves away from zero (down to -1/2: up)."""
    product = a * b
    nudged = product + (2**30 if product >= 0 else 1 - 2**30)
    return nudged // 2**31 if nudged >= 0 else -(-nudged // 2**31)


def rounding_divide_by_pot(x: int, exponent: int) -> int:
    """RoundingDivideByPOT: x / 2^exponent, halves away from zero."""
    remainder = x & (2**exponent - 1)
    threshold = ((2**exponent - 1) >> 1) + (x < 0)
    return (x >> exponent) + (remainder > threshold)


def scaled(item: Item) -> int:
    """psum * multiplier / 2^31, rounded; an even multiplier above 2^31 is a left shift by one."""
    return rounding_doubling_high_mul(wrap32(item.acc + item.bias), item.multiplier)


def requant_reference(item: Item, sets: tuple[Limits, Limits]) -> int:
    """The byte that item becomes."""
    limits = sets[item.second]
    y = rounding_divide_by_pot(scaled(item), item.shift) + limits.zero_point
    return min(max(y, limits.low), limits.high)


def is_legal(item: Item) -> bool:
    """Whether the scaled psum fits 32 bits, as the compiler guarantees."""
    return INT32_MIN <= scaled(item) <= INT32_MAX


def corner_items() -> list[Item]:
    """Extreme psums and multipliers at every shift."""
    items = [Item(acc, 0, multiplier, shift, second)
             for acc in ACCS for multiplier in MULTIPLIERS for shift in range(32)
             for second in (shift & 1,)]
    items += [Item(INT32_MAX, INT32_MAX, 2**30, shift, 0) for shift in range(32)]
    items += [Item(INT32_MIN, -1, 2**31 - 1, shift, 1) for shift in range(32)]
    return [item for item in items if is_legal(item)]


def tie_items(rng: random.Random, count: int) -> list[Item]:
    """Psums that scale to (n + 1/2) * 2^shift, and their neighbours, with n around a byte."""
    items = []
    while len(items) < count:
        shift = rng.randrange(1, 22)
        psum = 2 * ((2 * rng.randrange(-300, 300) + 1) << (shift - 1)) + rng.randrange(-2, 3)
        bias = rng.randrange(INT32_MIN, INT32_MAX + 1)
        items.append(Item(wrap32(psum - bias), bias, 2**30, shift, rng.randrange(2)))
    return items


def random_items(rng: random.Random, count: int) -> list[Item]:
    """Psums of every magnitude; three in four shifts bring the result near a byte."""
    items = []
    while len(items) < count:
        bits = rng.randrange(1, 33)
        psum = rng.randrange(-(1 << bits - 1), 1 << bits - 1)
        multiplier = rng.randrange(1 << rng.choice((31, 31, 32)))
        multiplier |= rng.choice((0, 2**30))
        shift = rng.randrange(32)
        if rng.random() < 0.75:
            size = (psum * multiplier >> 31).bit_length()
            shift = min(31, max(0, size - rng.randrange(6, 11)))
        bias = rng.randrange(INT32_MIN, INT32_MAX + 1)
        item = Item(wrap32(psum - bias), bias, multiplier, shift, rng.randrange(2))
        if is_legal(item):
            items.append(item)
    return items


def random_limits(rng: random.Random) -> Limits:
    """A zero point and a low not above high."""
    low, high = sorted(rng.randrange(-128, 128) for _ in range(2))
    return Limits(rng.randrange(-128, 128), low, high)


SETS = (
    (Limits(0, -128, 127), Limits(-128, -128, 127)),
    (Limits(127, -128, 127), Limits(-128, 127, 127)),
    (Limits(-128, -128, 100), Limits(127, -128, -128)),
    (Limits(5, -3, -3), Limits(-7, -100, 90)),
)
