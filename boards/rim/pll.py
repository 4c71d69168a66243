"""Dividers of the PLLs."""

from dataclasses import dataclass
from itertools import product

MEGA = 1_000_000
# Lattice FPGA-DS-02008 (iCE40 UltraPlus) and FPGA-DS-02012 (ECP5), in Hz.
ICE40_PHASE, ICE40_VCO = (10 * MEGA, 133 * MEGA), (533 * MEGA, 1066 * MEGA)
ECP5_PHASE, ECP5_VCO = (10 * MEGA, 400 * MEGA), (400 * MEGA, 800 * MEGA)
ICE40_FILTERS = ((17 * MEGA, 1), (26 * MEGA, 2), (44 * MEGA, 3), (66 * MEGA, 4), (101 * MEGA, 5))
ICE40_FILTER_LAST = 6


class PllError(ValueError):
    """No dividers make the clock; a defect of the catalogue."""


@dataclass(frozen=True)
class Ice40Dividers:
    """Parameters of SB_PLL40_*: f = f_in * (divf + 1) / (divr + 1) / 2^divq (feedback SIMPLE)."""

    divr: int
    divf: int
    divq: int
    filter_range: int

    def output(self, source: int) -> float:
        """The clock that they make, in Hz."""
        return source * (self.divf + 1) / (self.divr + 1) / (1 << self.divq)


@dataclass(frozen=True)
class Ecp5Dividers:
    """Dividers of EHXPLLL: of the source, of the oscillator for feedback and for the clock.

    With a feedback output of its own the phase detector stays above its lowest frequency.
    """

    source: int
    feedback: int
    clock: int

    def output(self, source: int) -> float:
        """The clock that they make, in Hz."""
        return source * self.feedback / self.source / self.clock


def ice40_dividers(source: int, wanted: int) -> Ice40Dividers:
    """Dividers that make a clock exactly; both in Hz.

    Raises
    ------
    PllError
        There are none.
    """
    for divr, divq, divf in product(range(16), range(1, 7), range(128)):
        phase = source / (divr + 1)
        if (_within(phase, ICE40_PHASE) and _within(phase * (divf + 1), ICE40_VCO)
                and source * (divf + 1) == wanted * (divr + 1) << divq):
            filters = (number for below, number in ICE40_FILTERS if phase < below)
            return Ice40Dividers(divr, divf, divq, next(filters, ICE40_FILTER_LAST))
    raise PllError(f"PLL must make {wanted} Hz of {source} Hz exactly; take another core clock")


def ecp5_dividers(source: int, wanted: int) -> Ecp5Dividers:
    """As `ice40_dividers`, with the oscillator near the middle of its range."""
    middle = sum(ECP5_VCO) / 2
    found = [Ecp5Dividers(divider, feedback, output)
             for divider, feedback, output in product(range(1, 11), range(1, 81), range(1, 129))
             if _within(source / divider, ECP5_PHASE) and _within(wanted * output, ECP5_VCO)
             and source * feedback == wanted * divider * output]
    if not found:
        raise PllError(f"PLL must make {wanted} Hz of {source} Hz exactly; take another core clock")
    return min(found, key=lambda d: (abs(wanted * d.clock - middle), d.source))


def _within(value, limits):
    return limits[0] <= value <= limits[1]
