"""SOFTMAX as TensorFlow Lite Micro computes it: gemmlowp fixed point, no floating point.

A value with k integer bits is an int32 raw / 2**(31 - k), called Qk here.

Source
------
TFLite, reference_ops::Softmax; gemmlowp, fixedpoint.h (exp_on_negative_values,
one_over_one_plus_x_for_x_in_0_1).
"""

from math import floor

import numpy as np

from sim.golden.arithmetic import quantize_multiplier, rdbpot, srdhm, wrap32

DIFF_BITS = 5  # integer bits of a scaled difference
SUM_BITS = 12  # integer bits of the sum of exponentials
ONE = 2**31 - 1  # 1.0 in Q0
EXP_EIGHTH = 1895147668  # exp(-1/8) in Q0
THIRD = 715827883  # 1/3 in Q0
# exp(-2**k) in Q0 for the bits k of the remainder
EXP_POWERS = {-2: 1672461947, -1: 1302514674, 0: 790015084, 1: 290630308, 2: 39332535, 3: 720401,
              4: 242}


def softmax(x: np.ndarray, scale: float, beta: float) -> np.ndarray:
    """Softmax over the last axis.

    Parameters
    ----------
    x : numpy.ndarray
        int8.
    scale, beta : float
        Of the input; of the operator.

    Returns
    -------
    numpy.ndarray
        int8 with scale 1/256 and zero point -128.
    """
    exps = _exponentials(scale, beta)
    diff = x.max(axis=-1, keepdims=True).astype(np.int64) - x
    each = exps[diff]
    total = wrap32(rdbpot(each, SUM_BITS).sum(axis=-1, keepdims=True))
    reciprocal, over = _reciprocal(total)
    out = rdbpot(srdhm(reciprocal, each), over + 31 - 8) - 128
    return np.where(each < 0, -128, np.clip(out, -128, 127)).astype(np.int8)


def _exponentials(scale, beta):
    """exp(-scale * beta * d) in Q0 for d = 0..255; -1 where the reference outputs zero."""
    real = min(beta * scale * 2.0 ** (31 - DIFF_BITS), 2.0**31 - 1)
    q, shift = quantize_multiplier(real)
    diff = -np.arange(256, dtype=np.int64)
    radius = floor((2**DIFF_BITS - 1) * 2.0 ** (31 - DIFF_BITS) / 2.0**shift)
    within = diff >= -radius
    return np.where(within, _exp(srdhm(np.where(within, diff, 0) << shift, q)), -1)


def _exp(a):
    """exp of a Q5 value in -32..0, in Q0."""
    quarter = 1 << 24
    low = (a & (quarter - 1)) - quarter
    remainder = low - a
    x = (low << DIFF_BITS) + (1 << 28)  # Q0, around -1/8
    x2 = srdhm(x, x)
    x3, x4 = srdhm(x2, x), srdhm(x2, x2)
    tail = rdbpot(srdhm(rdbpot(x4, 2) + x3, THIRD) + x2, 1)
    result = EXP_EIGHTH + srdhm(EXP_EIGHTH, x + tail)
    for power, factor in EXP_POWERS.items():
        bit = (remainder >> (31 - DIFF_BITS + power)) & 1
        result = np.where(bit, srdhm(result, factor), result)
    return np.where(a == 0, ONE, result)


def _reciprocal(total):
    """1 / total as (Q0 mantissa, exponent); total is in Q12 and at least 1."""
    zeros = 32 - np.frexp(total.astype(np.float64))[1].astype(np.int64)
    fraction = (total << zeros) - (1 << 31)  # total = (1 + fraction) * 2**(12 - zeros)
    half = _half_sum(fraction, ONE)
    x = 1515870810 + srdhm(half, -1010580540)  # Q2: 48/17 - 32/17 * half, then Newton steps
    for _ in range(3):
        x = x + (srdhm(x, (1 << 29) - srdhm(half, x)) << 2)
    return np.clip(x << 1, -(2**31), ONE), SUM_BITS - zeros


def _half_sum(a, b):
    """(a + b) / 2 rounded, ties away from zero."""
    return rdbpot(a + b, 1)
