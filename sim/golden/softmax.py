"""SOFTMAX as TensorFlow Lite Micro computes it: gemmlowp fixed point, no floating point.

Source
------
TFLite, reference_ops::Softmax. Formats Qk as in `sim.golden.gemmlowp`.
"""

from math import floor

import numpy as np

from sim.golden.arithmetic import quantize_multiplier, rdbpot, srdhm, wrap32
from sim.golden.gemmlowp import exp_of_negative, one_over_one_plus

DIFF_BITS = 5  # integer bits of a scaled difference
SUM_BITS = 12  # integer bits of the sum of exponentials


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
    scaled = srdhm(np.where(within, diff, 0) << shift, q)
    return np.where(within, exp_of_negative(scaled, DIFF_BITS), -1)


def _reciprocal(total):
    """1 / total as (Q0 mantissa, exponent); total is in Q12 and at least 1."""
    zeros = 32 - np.frexp(total.astype(np.float64))[1].astype(np.int64)
    fraction = (total << zeros) - (1 << 31)  # total = (1 + fraction) * 2**(12 - zeros)
    return one_over_one_plus(fraction), SUM_BITS - zeros
