"""MULT18X18D, the multiplier of the ECP5, with all of its registers on."""

from typing import Any

from amaranth import ClockSignal, Const, Instance
from amaranth.hdl import Value

LATENCY = 3  # input, pipeline and output register


def mult18x18d(a: Value, b: Value, p: Value) -> Instance:
    """``p`` = ``a * b`` LATENCY cycles ago; a and b of at most 18 bits, p of at most both together.

    Operands take the upper pins: the lower ones are constant, which costs no wires, where copies of
    a sign would. The sign pins are set as the operands' shapes say.

    Source
    ------
    Lattice FPGA-TN-02205 (TN1267), "ECP5 and ECP5-5G sysDSP Usage Guide". nextpnr takes its
    timing from the input and output registers alone; the pipeline register is for the silicon.
    """
    pins: dict[str, Any] = {f"p_{name}_{what}": value
            for name in ("REG_INPUTA", "REG_INPUTB", "REG_PIPELINE", "REG_OUTPUT")
            for what, value in (("CLK", "CLK0"), ("CE", "CE0"), ("RST", "RST0"))}
    shift = 0
    for name, operand in (("A", a), ("B", b)):
        low = 18 - len(operand)
        shift += low
        bits = [Const(0)] * low + [operand[n] for n in range(len(operand))]
        pins |= {f"i_{name}{n}": bit for n, bit in enumerate(bits)}
        pins[f"i_SIGNED{name}"] = Const(int(operand.shape().signed))
        pins[f"i_SOURCE{name}"] = Const(0)
    pins |= {f"o_P{n + shift}": p[n] for n in range(len(p))}
    return Instance("MULT18X18D", p_GSR="DISABLED", p_RESETMODE="SYNC", i_CLK0=ClockSignal(),
                    i_CE0=Const(1), i_RST0=Const(0), **pins)
