"""The compiler's multiplier arithmetic: ratios, activation ranges, tables."""

import math
from functools import cache

import numpy as np

from models.graph import ModelError

ADD_SHIFT = 20           # TFLM shifts the operands of ADD left by this much
POOL_WEIGHT = 64         # weight of average pooling: its sums gain 6 bits, so that ties stay exact
MAX_STAGE = (0, 1 << 30, 18)  # bias, multiplier, shift that undo the << 19 of a maximum


def quantize_ratio(ratio: float) -> tuple[int, int]:
    """TFLM's quantized multiplier of a real ratio > 0: 31-bit q and exponent e."""
    mantissa, exponent = math.frexp(ratio)
    q = math.floor(mantissa * (1 << 31) + 0.5)
    if q == 1 << 31:
        q, exponent = q // 2, exponent + 1
    return (0, 0) if exponent < -31 else (q, exponent)


def encode_ratio(ratio: float, field: str) -> tuple[int, int]:
    """A ratio as the core's multiplier (32 bit) and right shift; one left shift at most.

    Raises
    ------
    ModelError
        The ratio is 2 or more.
    """
    q, exponent = quantize_ratio(ratio)
    if exponent > 1:
        raise ModelError(f"{field} scale ratio must be below 2, not {ratio:.6g}; "
                         f"quantize with a representative dataset")
    return (2 * q, 0) if exponent == 1 else (q, -exponent)


def requantize(acc: np.ndarray, multiplier: int, shift: int) -> np.ndarray:
    """The core's requantization of int32 sums, before zero point and clamp."""
    high = (acc.astype(np.int64) * np.int64(multiplier) + (1 << 30)) >> 31
    if shift == 0:
        return high
    return (high + (1 << (shift - 1)) - (high < 0)) >> shift


def activation_range(activation: str, scale: float, zero_point: int) -> tuple[int, int]:
    """Lowest and highest byte that a fused activation leaves (float32 division, as TFLM)."""
    def step(real):
        value = float(np.float32(real) / np.float32(scale))
        nearest = math.floor(min(abs(value), 2.0 ** 20) + 0.5)
        return zero_point + (nearest if value >= 0 else -nearest)

    low, high = -128, 127
    if activation in ("RELU", "RELU6"):
        low = max(low, zero_point)
    if activation == "RELU6":
        high = min(high, step(6))
    if activation == "RELU_N1_TO_1":
        low, high = max(low, step(-1)), min(high, step(1))
    return low, high


def add_table(ratio: float, zero_point: int) -> np.ndarray:
    """The rescaled operand of ADD for each of its bytes as unsigned: 256 int32."""
    q, exponent = quantize_ratio(ratio)
    values = np.arange(256)
    signed = np.where(values < 128, values, values - 256)
    raw = (signed - zero_point).astype(np.int64) << ADD_SHIFT
    return requantize(raw, q, -exponent).astype(np.int32)


@cache
def pool_ratio(count: int) -> tuple[int, int]:
    """Multiplier and shift that turn 64 * sum into TFLM's rounded mean of ``count`` bytes.

    Checked for every sum that ``count`` bytes can have.

    Raises
    ------
    ModelError
        No exact pair exists or the window is too large.
    """
    field = "average pooling window"
    if count > 1 << 16:
        raise ModelError(f"{field} must be at most 65536 values, not {count}; "
                         f"pool in two steps")
    # the largest shift whose multiplier has 32 bits: most bits of quotient before rounding
    shift = min(31, (2 * POOL_WEIGHT * count - 1).bit_length() - 1)
    unit = 1 << (31 + shift)
    multiplier = (2 * unit + POOL_WEIGHT * count) // (2 * POOL_WEIGHT * count)
    sums = np.arange(-128 * count, 127 * count + 1, dtype=np.int64)
    mean = (np.abs(sums) + count // 2) // count
    if multiplier >= 1 << 32 or not np.array_equal(
            requantize(sums * POOL_WEIGHT, multiplier, shift), np.where(sums > 0, mean, -mean)):
        raise ModelError(f"{field} must have an exact reciprocal, not {count} values; "
                         f"choose another window")
    return multiplier, shift
