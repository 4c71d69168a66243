"""Golden model: int8 networks computed in numpy, bit for bit as TensorFlow Lite Micro does.

`run` computes every tensor of a graph; `dequantize` and `quantize` convert at its ends;
`quantize_multiplier` and `mbqm` are the requantization all operators share.
"""

from sim.golden.arithmetic import mbqm, quantize_multiplier
from sim.golden.network import dequantize, quantize, run

__all__ = ["dequantize", "mbqm", "quantize", "quantize_multiplier", "run"]
