"""Operators of one byte as tables: LOGISTIC, TANH, HARD_SWISH and the activations alone."""

from collections.abc import Callable
from math import exp, floor

import numpy as np

from gen.lower.arith import activation_range, quantize_ratio
from models.graph import Graph, Op, Tensor

ONE = (1 << 31) - 1              # of values in units of 2^-31
EXP_EIGHTH = round(exp(-1 / 8) * 2**31)
THIRD = round(2**31 / 3)
NEWTON = round(48 / 17 * 2**29), round(-32 / 17 * 2**29)  # first guess of 1 / x for x in 1/2..1
INPUT_BITS = 4                   # integer bits of what LOGISTIC and TANH work on


def byte_table(graph: Graph, op: Op) -> np.ndarray:
    """Outputs of an operator of one byte.

    Parameters
    ----------
    op : Op
        Of a kind in ``FUNCTIONS``.

    Returns
    -------
    numpy.ndarray
        int64 [256], indexed by the input's byte as unsigned.

    Source
    ------
    docs/arithmetic.md, "Operators of one byte".
    """
    x, y = graph.tensors[op.inputs[0]], graph.tensors[op.outputs[0]]
    function = FUNCTIONS[op.kind](op, x, y)
    bytes_ = [*range(128), *range(-128, 0)]
    return np.array([_saturate(function(byte - x.zero_point), 8) for byte in bytes_])


def difference_table(outputs: np.ndarray) -> np.ndarray:
    """What MAX adds to a maximum to make ``byte_table``'s output of it: int32 [256]."""
    bytes_ = np.arange(256).astype(np.int8).astype(np.int64)
    return ((outputs - bytes_) << 19).astype(np.int32)


# --- operators: (op, input, output) -> function of the input without its zero point ------------
def _relu(_op, x: Tensor, y: Tensor):
    scale = _scaler(x.scale[0] / y.scale[0])
    return lambda d: max(scale(d), 0) + y.zero_point


def _relu6(_op, x: Tensor, _y):
    low, high = activation_range("RELU6", x.scale[0], x.zero_point)
    return lambda d: min(max(d + x.zero_point, low), high)


def _leaky_relu(op: Op, x: Tensor, y: Tensor):
    above, below = (_scaler(ratio) for ratio in (
        x.scale[0] / y.scale[0], x.scale[0] * op.alpha / y.scale[0]))
    return lambda d: (above(d) if d >= 0 else below(d)) + y.zero_point


def _logistic(_op, x: Tensor, _y):
    return _bounded(x, lambda a: _shift(_sigmoid(a), 23) - 128)


def _tanh(_op, x: Tensor, _y):
    return _bounded(x, lambda a: _shift(_hyperbolic(a), 24))


def _bounded(x: Tensor, function: Callable[[int], int]):
    """A function of INPUT_BITS integer bits, and int8's ends beyond them."""
    real = x.scale[0] * 2.0 ** (31 - INPUT_BITS)
    radius = floor(15 * 2.0 ** (31 - INPUT_BITS - quantize_ratio(real)[1]))
    scale = _scaler(real)
    return lambda d: -128 if d <= -radius else 127 if d >= radius else function(scale(d))


def _hard_swish(_op, x: Tensor, y: Tensor):
    (slope, down), (width, up) = (_quantize16(x.scale[0] / 128 / unit)
                                  for unit in (y.scale[0], 3 / 2**15))

    def function(d):
        fine = d << 7
        if up > 0:
            gate = _saturate(2 * _high16(_saturate(fine << up - 1, 16), width), 16)
        else:
            gate = _shift(_high16(fine, width), -up)
        product = (gate + 2**15 >> 1) * _high16(fine, slope)
        truncated = product >> 15 if product >= 0 else -(-product >> 15)
        return _shift(truncated, -down) + y.zero_point
    return function


FUNCTIONS = {"LOGISTIC": _logistic, "TANH": _tanh, "HARD_SWISH": _hard_swish,
             "LEAKY_RELU": _leaky_relu, "RELU": _relu, "RELU6": _relu6}


# --- fixed point ---------------------------------------------------------------------------------
def _scaler(ratio: float) -> Callable[[int], int]:
    """TFLM's product with a ratio: a left shift that wraps, or a right shift that rounds again."""
    q, exponent = quantize_ratio(ratio)
    left, right = max(exponent, 0), max(-exponent, 0)
    return lambda value: _shift(_high(((value << left) + 2**31) % 2**32 - 2**31, q), right)


def _high(a: int, b: int) -> int:
    return a * b + (1 << 30) >> 31


def _shift(value: int, count: int) -> int:
    return value + (1 << count >> 1) - (value < 0 < count) >> count


def _saturate(value: int, bits: int) -> int:
    return min(max(value, -1 << bits - 1), (1 << bits - 1) - 1)


def _quantize16(ratio: float) -> tuple[int, int]:
    q, exponent = quantize_ratio(ratio)
    return min(q + 2**15 >> 16, 2**15 - 1), exponent


def _high16(a: int, b: int) -> int:
    return a * b + 2**14 >> 15


def _exp(a: int, bits: int) -> int:
    """exp of a <= 0, which has ``bits`` integer bits, in units of 2^-31."""
    if a == 0:
        return ONE
    quarter = 1 << 29 - bits
    rest = a % quarter - quarter
    x = (rest << bits) + (1 << 28)         # around -1/8
    square = _high(x, x)
    cube, fourth = _high(square, x), _high(square, square)
    tail = _shift(_high(_shift(fourth, 2) + cube, THIRD) + square, 1)
    result = EXP_EIGHTH + _high(EXP_EIGHTH, x + tail)
    for k in range(-2, bits):
        if rest - a >> 31 - bits + k & 1:
            result = _high(result, round(exp(-2.0**k) * 2**31))
    return result


def _reciprocal(x: int) -> int:
    """2 / (1 + x) for x in 0..1, in units of 2^-29."""
    half = _shift(x + ONE, 1)
    y = NEWTON[0] + _high(half, NEWTON[1])
    for _ in range(3):
        y += _high(y, (1 << 29) - _high(half, y)) << 2
    return y


def _sigmoid(a: int) -> int:
    if a == 0:
        return 1 << 30
    above = min(_reciprocal(_exp(-abs(a), INPUT_BITS)) << 1, ONE)
    return above if a > 0 else ONE - above


def _hyperbolic(a: int) -> int:
    if a == 0:
        return 0
    above = min(_reciprocal(_exp(-abs(a), INPUT_BITS + 1)) - (1 << 29) << 2, ONE)  # a as 2 a
    return above if a > 0 else -above
