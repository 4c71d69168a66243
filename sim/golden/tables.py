"""Operators that map one byte to one byte, each as the table of its 256 outputs.

Every function takes (op, input tensor, output tensor) and returns 256 integers in the range of
int8, indexed by input + 128.

Source
------
TFLM, micro/kernels: logistic.cc, tanh.cc, hard_swish.cc, leaky_relu.cc, activations.cc; and in
TFLite, reference_integer_ops::Logistic and Tanh, reference_ops::HardSwish and QuantizeLeakyRelu.
"""

from math import floor, frexp

import numpy as np

from models.graph import Graph, Op, Tensor
from sim.golden.arithmetic import mbqm, quantize_multiplier, rdbpot
from sim.golden.gemmlowp import logistic as logistic_q4
from sim.golden.gemmlowp import tanh as tanh_q4

BYTES = np.arange(-128, 128)
INPUT_BITS = 4  # integer bits of what LOGISTIC and TANH compute on
THREE_STEPS = 3 / 2**15  # HARD_SWISH: scale at which 3.0 is 2**15


def table(graph: Graph, op: Op) -> np.ndarray:
    """Output for every input byte.

    Parameters
    ----------
    graph : Graph
    op : Op
        Of a kind in ``TABLES``.

    Returns
    -------
    numpy.ndarray
        int8, [256], indexed by input + 128.
    """
    return lookup_table(op, graph.tensors[op.inputs[0]], graph.tensors[op.outputs[0]])


def lookup_table(op: Op, source: Tensor, out: Tensor) -> np.ndarray:
    """`table` of an operator whose tensors are at hand."""
    return np.clip(TABLES[op.kind](op, source, out), -128, 127).astype(np.int8)


def logistic(_op, source, _out):
    """LOGISTIC to scale 1/256 and zero point -128."""
    return _within_radius(source, lambda x: rdbpot(logistic_q4(x), 31 - 8) - 128)


def tanh(_op, source, _out):
    """TANH to scale 1/128 and zero point 0."""
    return _within_radius(source, lambda x: rdbpot(tanh_q4(x), 31 - 7))


def _within_radius(source, function):
    """A function of Q4 where that holds the input; else the end of int8 on the input's side."""
    fraction, shift = frexp(source.scale[0] * 2.0 ** (31 - INPUT_BITS))
    radius = floor((2**INPUT_BITS - 1) * 2.0 ** (31 - INPUT_BITS - shift))
    x = BYTES - source.zero_point
    within = np.abs(x) < radius
    y = function(mbqm(np.where(within, x, 0), int(fraction * 2**31), shift))
    return np.where(within, y, np.where(x <= 0, -128, 127))


def hard_swish(_op, source, out):
    """HARD_SWISH in 16-bit fixed point, all products rounded but the last, which is truncated."""
    fine = source.scale[0] / 128
    output_q, output_e = _multiplier16(fine / out.scale[0])
    gate_q, gate_e = _multiplier16(fine / THREE_STEPS)
    x = (BYTES - source.zero_point) << 7
    gate = x if gate_e <= 0 else _saturate16(x << (gate_e - 1))
    gate = _srdhm16(gate, gate_q)
    gate = rdbpot(gate, -gate_e) if gate_e <= 0 else _saturate16(gate << 1)
    product = ((gate + 2**15) >> 1) * _srdhm16(x, output_q)
    return rdbpot(np.sign(product) * (np.abs(product) >> 15), -output_e) + out.zero_point


def _multiplier16(ratio):
    """`quantize_multiplier` with 15 bits instead of 31."""
    q, e = quantize_multiplier(ratio)
    return min((q + 2**15) >> 16, 2**15 - 1), e


def _srdhm16(a, b):
    """`srdhm` of 16-bit values."""
    return (a * b + 2**14) >> 15


def _saturate16(x):
    return np.clip(x, -(2**15), 2**15 - 1)


def leaky_relu(op, source, out):
    """LEAKY_RELU: two ratios in double precision; alpha may be negative."""
    ratios = source.scale[0] / out.scale[0], source.scale[0] * op.alpha / out.scale[0]
    x = BYTES - source.zero_point
    above, below = (mbqm(x, *quantize_multiplier(ratio)) for ratio in ratios)
    return np.where(x >= 0, above, below) + out.zero_point


def relu(_op, source, out):
    """RELU: requantized with a ratio in double precision."""
    ratio = source.scale[0] / out.scale[0]
    y = mbqm(BYTES - source.zero_point, *quantize_multiplier(ratio)) + out.zero_point
    return np.maximum(y, out.zero_point)


def relu6(_op, source, _out):
    """RELU6 clamps bytes: TFLM does not look at the output's quantization. 6 / scale in float32."""
    six = np.float32(6) / np.float32(source.scale[0])
    return np.clip(BYTES, source.zero_point, source.zero_point + floor(min(float(six), 256) + 0.5))


TABLES = {"LOGISTIC": logistic, "TANH": tanh, "HARD_SWISH": hard_swish, "LEAKY_RELU": leaky_relu,
          "RELU": relu, "RELU6": relu6}
