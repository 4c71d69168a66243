"""Sum of two values, each behind a gate: on the ECP5 the gates cost no LUT."""

from amaranth import Const, Instance, Module, Mux, Signal, signed
from amaranth.hdl import Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

A, B, C, D = 0xAAAA, 0xCCCC, 0xF0F0, 0xFF00   # tables of a LUT's inputs
ADD = A & B ^ C & D
SUBTRACT = ~(A & B) & 0xFFFF ^ C & D
CARRY = 0x0008                                # of ones: no sum, but a carry; see GatedSum


class GatedSum(wiring.Component):
    """s = b +- a, each or 0.

    Parameters
    ----------
    a_width, b_width, width : int
        Bits of a, b and s.
    subtract : bool
        Subtract a instead of adding it.
    cells : bool
        Of CCU2C cells instead of plain logic.

    Members
    -------
    a, b : In(signed)
    a_on, b_on : In(1)
        a or b takes part; it counts as 0 otherwise.
    s : Out(signed)

    Behaviour
    ---------
    Combinational; wraps at ``width`` bits.

    Source
    ------
    Lattice FPGA-TN-02032 (slices in ripple mode); Yosys' CCU2C model. A bit's carry goes on where
    its LUT gives 1; else it is what the LUT gives of A and B with C = D = 0. So a and its gate take
    A and B: where both terms are equal, either is the carry. Yosys puts gates before the adder.
    """

    def __init__(self, a_width: int, b_width: int, width: int, *, subtract: bool = False,
                 cells: bool):
        self.subtract, self.cells = subtract, cells
        super().__init__({"a": In(signed(a_width)), "a_on": In(1), "b": In(signed(b_width)),
                          "b_on": In(1), "s": Out(signed(width))})

    def elaborate(self, platform):
        m = Module()
        if not self.cells:
            b = Mux(self.b_on, self.b, 0)       # the iCE40's carry cells have room for one gate
            m.d.comb += self.s.eq(Mux(self.a_on, b - self.a if self.subtract else b + self.a, b))
            return m
        one, table = Const(1), SUBTRACT if self.subtract else ADD
        halves: list[tuple[int, tuple[Value, ...], Value]] = [
            (table, (_bit(self.a, n), self.a_on, _bit(self.b, n), self.b_on), self.s[n])
            for n in range(len(self.s))]
        if self.subtract:
            halves.insert(0, (CARRY, (one, one, one, one), Signal(name="unused_first")))
        if len(halves) % 2:
            halves.append((CARRY, (one, one, one, one), Signal(name="unused_last")))
        carry: Value = Const(0)
        for n in range(0, len(halves), 2):
            carry_out = Signal(name=f"carry{n}")
            pins = {}
            for half, (init, inputs, output) in enumerate(halves[n:n + 2]):
                pins |= {f"p_INIT{half}": Const(init, 16), f"p_INJECT1_{half}": "NO",
                         f"o_S{half}": output}
                pins |= {f"i_{pin}{half}": bit for pin, bit in zip("ABCD", inputs, strict=True)}
            m.submodules += Instance("CCU2C", i_CIN=carry, o_COUT=carry_out, **pins)
            carry = carry_out
        return m


def _bit(value: Value, n: int) -> Value:
    """Bit n of a signed value."""
    return Value.cast(value[min(n, len(value) - 1)])
