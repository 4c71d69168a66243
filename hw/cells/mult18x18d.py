"""MULT18X18D, the multiplier of the ECP5, with all of its registers on."""

from typing import Any

from amaranth import ClockSignal, Const, Instance
from amaranth.hdl import Value

LATENCY = 3  # input, pipeline and output register


def mult18x18d(a: Value, b: Value, p: Value) -> Instance:
    """``p`` = ``a * b`` LATENCY cycles ago; a and b of at most 18 bits, p of at most 36.

    Operands are extended and their sign pins set as their shapes say.

    Source
    ------
    Lattice FPGA-TN-02205 (TN1267), "ECP5 and ECP5-5G sysDSP Usage Guide". nextpnr takes its
    timing from the input and output registers alone; the pipeline register is for the silicon.
    """
    pins: dict[str, Any] = {f"p_{name}_{what}": value
            for name in ("REG_INPUTA", "REG_INPUTB", "REG_PIPELINE", "REG_OUTPUT")
            for what, value in (("CLK", "CLK0"), ("CE", "CE0"), ("RST", "RST0"))}
    for name, operand in (("A", a), ("B", b)):
        sign = operand.shape().signed
        top = operand[-1] if sign else Const(0)
        bits = [operand[n] if n < len(operand) else top for n in range(18)]
        pins |= {f"i_{name}{n}": bit for n, bit in enumerate(bits)}
        pins[f"i_SIGNED{name}"] = Const(int(sign))
        pins[f"i_SOURCE{name}"] = Const(0)
    pins |= {f"o_P{n}": p[n] for n in range(len(p))}
    return Instance("MULT18X18D", p_GSR="DISABLED", p_RESETMODE="SYNC", i_CLK0=ClockSignal(),
                    i_CE0=Const(1), i_RST0=Const(0), **pins)
