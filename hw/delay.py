"""A shift register for signals that must arrive together."""

from amaranth import Module, Signal, Value


def delayed(m: Module, value: Value, cycles: int) -> Value:
    """``value``, ``cycles`` clock cycles later; the registers become part of ``m``."""
    for _ in range(cycles):
        later = Signal(value.shape())
        m.d.sync += later.eq(value)
        value = later
    return value
