"""Counters without carry chains, which cost a cell at either end on the iCE40."""

from amaranth import Const, Mux, Value

from hw.cells.banks import concat

# Taps of shift registers of maximal length, by bits.
TAPS = {9: (8, 4)}


def successor(value: Value) -> Value:
    """``value`` + 1, for a few bits."""
    return concat(*(bit ^ value[:n].all() for n, bit in enumerate(value)))


def following(value: Value) -> Value:
    """The next of 2**bits - 1 states, from 0 on: a linear feedback shift register.

    Source
    ------
    P. Alfke, "Efficient Shift Registers, LFSR Counters ...", Xilinx XAPP 052 (1996).
    """
    first, second = TAPS[len(value)]
    return concat(~(value[first] ^ value[second]), value[:-1])


def below(first: Value, second: Value) -> Value:
    """Whether ``first`` - ``second`` is negative, in as many bits as they have."""
    borrow = Const(0)
    for a, b in zip(first[:-1], second[:-1], strict=True):
        borrow = Mux(a ^ b, b, borrow)
    return first[-1] ^ second[-1] ^ borrow
