"""Golden model: int8 networks computed in numpy, bit for bit as TensorFlow Lite Micro does.

`run` computes every tensor of a graph; `dequantize` and `quantize` convert at its ends;
`table` tells what an operator of one byte does to all 256 of them;
`quantize_multiplier` and `mbqm` are the requantization all operators share.
"""

from sim.golden.arithmetic import mbqm, quantize_multiplier
from sim.golden.network import dequantize, quantize, run
from sim.golden.tables import table

__all__ = ["dequantize", "mbqm", "quantize", "quantize_multiplier", "run", "table"]
