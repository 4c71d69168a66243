"""Fixed-point arithmetic of TensorFlow Lite Micro: gemmlowp with double rounding.

Every function takes and returns numpy int64 arrays that hold int32 values. Where the reference
overflows 32 bits, so do these: results wrap.
"""

from math import floor, frexp

import numpy as np


def quantize_multiplier(ratio: float) -> tuple[int, int]:
    """A ratio as (q, e): ratio = q * 2**(e - 31), 2**30 <= abs(q) < 2**31.

    Ratios that would need a right shift beyond 31 become (0, 0).
    """
    mantissa, e = frexp(ratio)
    q = floor(mantissa * 2**31 + 0.5)
    if q == 2**31:
        q, e = q // 2, e + 1
    return (q, e) if e >= -31 else (0, 0)


def quantize_multipliers(ratios) -> tuple[np.ndarray, np.ndarray]:
    """`quantize_multiplier` of a sequence, as two arrays."""
    q, e = zip(*(quantize_multiplier(float(ratio)) for ratio in ratios), strict=True)
    return np.array(q, np.int64), np.array(e, np.int64)


def wrap32(x: np.ndarray) -> np.ndarray:
    """An integer array modulo 2**32, as int64 in the range of int32."""
    return x.astype(np.int32).astype(np.int64)


def srdhm(a, b):
    """High 32 bits of 2*a*b, rounded to nearest, ties up; saturates only at (-2**31)**2.

    Source: gemmlowp, SaturatingRoundingDoublingHighMul. Its nudge of 1 - 2**30 and division
    toward zero for negative products equal one floor of the product plus 2**30.
    """
    return np.minimum((np.asarray(a, np.int64) * b + (1 << 30)) >> 31, 2**31 - 1)


def rdbpot(x, exponent):
    """x / 2**exponent rounded to nearest, ties away from zero; exponent 0..31.

    Source: gemmlowp, RoundingDivideByPOT.
    """
    half = (np.int64(1) << exponent) >> 1
    return (x + half - ((x < 0) & (half > 0))) >> exponent


def mbqm(x, q, e):
    """x * q * 2**(e - 31) rounded twice: after the multiply, and after the right shift.

    Parameters
    ----------
    x : numpy.ndarray
        int64 array of int32 values.
    q, e : int or numpy.ndarray
        From `quantize_multiplier`; arrays broadcast along the last axis.

    Source
    ------
    TFLite, MultiplyByQuantizedMultiplier without TFLITE_SINGLE_ROUNDING. The left shift wraps.
    """
    left, right = np.maximum(e, 0), np.maximum(np.negative(e), 0)
    if np.any(left):
        x = wrap32(x << left)
    return rdbpot(srdhm(x, q), right)
