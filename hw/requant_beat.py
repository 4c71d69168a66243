"""What the parts of a requantizer share: what travels with a value, when it is where, one adder."""

from typing import Any

from amaranth import Module, Signal
from amaranth.hdl import Value
from amaranth.lib import data

from hw.cells.banks import concat

SIDE = data.StructLayout({"shift": 5, "second": 1})


class Beat:
    """Follows values that come at least ``beat_cycles`` cycles apart, and what travels with them.

    Parameters
    ----------
    m : Module
        Where the registers go.
    valid : Value
        High in the first cycle of a value.
    side : data.View of SIDE
        What travels with the value; it stays for ``beat_cycles`` cycles from ``valid`` on.
    beat_cycles : int
        Least distance of two values in cycles.

    Behaviour
    ---------
    ``at(n)`` is high n cycles after ``valid``; ``side(n)`` is the value's side in that cycle.
    One register serves beat_cycles cycles.
    """

    def __init__(self, m: Module, valid: Value, side: Any, beat_cycles: int):
        self._m, self._beat_cycles = m, beat_cycles
        self._valids, self._sides = [valid], [side]

    def at(self, cycles: int) -> Value:
        """High in the cycle ``cycles`` after valid."""
        while len(self._valids) <= cycles:
            later = Signal(name=f"valid{len(self._valids)}")
            self._m.d.sync += later.eq(self._valids[-1])
            self._valids.append(later)
        return self._valids[cycles]

    def side(self, cycles: int) -> Any:
        """Side of the value that came ``cycles`` cycles ago."""
        rank = cycles // self._beat_cycles
        while len(self._sides) <= rank:
            later = Signal(SIDE, name=f"side{len(self._sides)}", reset_less=True)
            self.load(self._beat_cycles * len(self._sides) - 1, [later.eq(self._sides[-1])])
            self._sides.append(later)
        return self._sides[rank]

    def load(self, cycles: int, statements: list):
        """Registers that take their value ``cycles`` after valid and hold it for a beat."""
        if self._beat_cycles == 1:
            self._m.d.sync += statements
        else:
            with self._m.If(self.at(cycles)):
                self._m.d.sync += statements


def add_carry(a: Value, b: Value, carries: tuple[Value, Value], width: int) -> Value:
    """``a + b + (carries[0] & carries[1])`` in one carry chain: signed, ``width`` bits."""
    left, right = (concat(carry, x).as_signed() for carry, x in zip(carries, (a, b), strict=True))
    return _fit(left + right, width + 1)[1:].as_signed()


def _fit(value: Value, width: int) -> Value:
    """A signed value cut or sign-extended to ``width`` bits."""
    missing = width - len(value)
    return concat(value, value[-1].replicate(missing)) if missing > 0 else concat(value[:width])
