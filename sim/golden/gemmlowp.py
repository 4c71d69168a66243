"""Transcendental functions in gemmlowp's fixed point: integers only, no floating point.

A value with k integer bits is an int32 raw / 2**(31 - k), called Qk here.

Source
------
gemmlowp, fixedpoint.h: exp_on_negative_values, one_over_one_plus_x_for_x_in_0_1,
one_minus_x_over_one_plus_x_for_x_in_0_1, logistic, tanh.
"""

import numpy as np

from sim.golden.arithmetic import rdbpot, srdhm

ONE = 2**31 - 1  # 1.0 in Q0
HALF = 1 << 30  # 1/2 in Q0
EXP_EIGHTH = 1895147668  # exp(-1/8) in Q0
THIRD = 715827883  # 1/3 in Q0
# exp(-2**k) in Q0 for the bits k of the remainder
EXP_POWERS = {-2: 1672461947, -1: 1302514674, 0: 790015084, 1: 290630308, 2: 39332535, 3: 720401,
              4: 242}


def exp_of_negative(a: np.ndarray, bits: int) -> np.ndarray:
    """exp of a value of at most 0 with 1..5 integer bits, in Q0."""
    quarter = 1 << (29 - bits)
    low = (a & (quarter - 1)) - quarter
    remainder = low - a
    x = (low << bits) + (1 << 28)  # Q0, around -1/8
    x2 = srdhm(x, x)
    x3, x4 = srdhm(x2, x), srdhm(x2, x2)
    tail = rdbpot(srdhm(rdbpot(x4, 2) + x3, THIRD) + x2, 1)
    result = EXP_EIGHTH + srdhm(EXP_EIGHTH, x + tail)
    for power, factor in EXP_POWERS.items():
        if power < bits:
            bit = (remainder >> (31 - bits + power)) & 1
            result = np.where(bit, srdhm(result, factor), result)
    return np.where(a == 0, ONE, result)


def one_over_one_plus(x: np.ndarray) -> np.ndarray:
    """1 / (1 + x) in Q0 for x in Q0, 0..1."""
    return np.clip(_two_over_one_plus(x) << 1, -(2**31), ONE)


def logistic(a: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-a)) in Q0 for a in Q4."""
    above = one_over_one_plus(exp_of_negative(-np.abs(a), 4))
    return np.where(a == 0, HALF, np.where(a > 0, above, ONE - above))


def tanh(a: np.ndarray) -> np.ndarray:
    """Hyperbolic tangent in Q0 for a in Q4: (1 - x) / (1 + x) with x = exp(-2 |a|)."""
    x = exp_of_negative(-np.abs(a), 5)  # the raw value of a, read as Q5, is 2 a
    above = np.clip((_two_over_one_plus(x) - (1 << 29)) << 2, -(2**31), ONE)
    return np.where(a == 0, 0, np.where(a > 0, above, -above))


def _two_over_one_plus(x):
    """2 / (1 + x) in Q2 for x in Q0: three Newton steps from 48/17 - 32/17 * (1 + x) / 2."""
    half = rdbpot(x + ONE, 1)
    y = 1515870810 + srdhm(half, -1010580540)
    for _ in range(3):
        y = y + (srdhm(y, (1 << 29) - srdhm(half, y)) << 2)
    return y
