"""The int8 operators, each a pure function of (op, input tensors, output tensor, input arrays).

Arrays are int8 with a batch in front, [N, H, W, C] or [N, C].
"""

import numpy as np

from models.graph import Op, Tensor
from sim.golden.arithmetic import mbqm, quantize_multiplier, quantize_multipliers, wrap32
from sim.golden.softmax import softmax as softmax_int8
from sim.golden.tables import TABLES, lookup_table

INT8 = (-128, 127)
ADD_LEFT_SHIFT = 20
FLOAT32_EXACT = 1 << 24


def conv_2d(op: Op, inputs, out: Tensor, x, weights, bias=None):
    """CONV_2D: im2col, one exact matrix product, requantize per channel."""
    count, rows, cols, depth = weights.shape
    bound = 255 * int(np.abs(weights.astype(np.int32)).sum(axis=(1, 2, 3)).max())
    dtype = np.float32 if bound < FLOAT32_EXACT else np.float64  # either way the sums are exact
    patches = _windows(op, x.astype(dtype) - dtype(inputs[0].zero_point), (rows, cols), 0)
    n, height, width = patches.shape[:3]
    left = patches.transpose(0, 1, 2, 4, 5, 3).reshape(-1, rows * cols * depth)
    acc = left @ weights.reshape(count, -1).T.astype(dtype)
    return _requantize(op, _ratios(inputs, out), out, acc.reshape(n, height, width, count),
                       bias)


def depthwise_conv_2d(op: Op, inputs, out: Tensor, x, weights, bias=None):
    """DEPTHWISE_CONV_2D: output channel c reads input channel c // depth_multiplier."""
    _, rows, cols, count = weights.shape
    spread = np.repeat(x.astype(np.int32) - inputs[0].zero_point, count // x.shape[3], axis=3)
    windows = _windows(op, spread, (rows, cols), 0)
    acc = np.zeros(windows.shape[:4], np.int32)
    for row, col in np.ndindex(rows, cols):
        acc += windows[..., row, col] * weights[0, row, col].astype(np.int32)
    return _requantize(op, _ratios(inputs, out), out, acc, bias)


def fully_connected(op: Op, inputs, out: Tensor, x, weights, bias=None):
    """FULLY_CONNECTED over the last axis of the flattened input."""
    left = x.reshape(-1, weights.shape[1]).astype(np.float64) - inputs[0].zero_point
    acc = left @ weights.T.astype(np.float64)
    return _requantize(op, _ratios(inputs, out), out, acc, bias)


def add(op: Op, inputs, out: Tensor, a, b):
    """ADD, with numpy's broadcasting."""
    twice = 2 * max(inputs[0].scale[0], inputs[1].scale[0])
    total = 0
    for tensor, values in zip(inputs, (a, b), strict=True):
        raw = _centred(tensor, values, out) << ADD_LEFT_SHIFT
        total = total + mbqm(raw, *quantize_multipliers([tensor.scale[0] / twice]))
    ratio = twice / (2**ADD_LEFT_SHIFT * out.scale[0])
    return _requantize(op, [ratio], out, total)


def mul(op: Op, inputs, out: Tensor, a, b):
    """MUL, with numpy's broadcasting."""
    product = _centred(inputs[0], a, out) * _centred(inputs[1], b, out)
    return _requantize(op, [inputs[0].scale[0] * inputs[1].scale[0] / out.scale[0]], out, product)


def mean(op: Op, inputs, out: Tensor, x):
    """MEAN over height and width: their size divides the multiplier, truncated.

    Source: TFLite, reference_ops::QuantizedMeanOrSum.
    """
    count = x.shape[1] * x.shape[2]
    q, e = quantize_multiplier(inputs[0].scale[0] / out.scale[0])
    shift = min(count.bit_length() - 1, 32, 31 + e)
    total = wrap32(x.sum(axis=(1, 2), dtype=np.int64) - inputs[0].zero_point * count)
    return _clamp(op, out, mbqm(total, (q << shift) // count, e - shift) + out.zero_point)


def average_pool_2d(op: Op, _inputs, out: Tensor, x):
    """AVERAGE_POOL_2D of raw values over the part of the window inside the input."""
    windows = _windows(op, x.astype(np.int32), op.kernel, 0)
    inside = _windows(op, np.ones((1, *x.shape[1:3], 1), np.int32), op.kernel, 0)
    total, count = _reduce(np.add, windows), _reduce(np.add, inside)
    mean = (np.abs(total) + count // 2) // count
    return _clamp(op, out, np.where(total > 0, mean, -mean))


def max_pool_2d(op: Op, _inputs, out: Tensor, x):
    """MAX_POOL_2D over the part of the window inside the input."""
    return _clamp(op, out, _reduce(np.maximum, _windows(op, x, op.kernel, -128)))


def reshape(_op: Op, _inputs, _out: Tensor, x):
    """RESHAPE: the same bytes; `sim.golden.network` gives them the output's shape."""
    return x


def pad(op: Op, _inputs, _out: Tensor, x):
    """PAD and PADV2 of height, width and channels."""
    return np.pad(x, ((0, 0), *op.padding, op.channel_padding), constant_values=op.fill)


def concatenation(_op: Op, _inputs, _out: Tensor, *arrays):
    """CONCATENATION of channels: bytes are copied. Constants have no batch."""
    batch = max(map(len, arrays))
    return np.concatenate([np.broadcast_to(x, (batch, *x.shape[1:])) for x in arrays], axis=-1)


def lookup(op: Op, inputs, out: Tensor, x):
    """An operator of `sim.golden.tables`."""
    return lookup_table(op, inputs[0], out)[x.astype(np.int16) + 128]


def softmax(op: Op, inputs, _out: Tensor, x):
    """SOFTMAX over the last axis."""
    return softmax_int8(x, inputs[0].scale[0], op.beta)


def _centred(tensor, values, out):
    """Values without their zero point, with the output's rank: a batch stays in front."""
    if tensor.data is None:
        missing = len(out.shape) - values.ndim
        values = values.reshape(len(values), *(1,) * missing, *values.shape[1:])
    return values.astype(np.int64) - tensor.zero_point


def activation_range(op: Op, out: Tensor) -> tuple[int, int]:
    """Lowest and highest output value the fused activation leaves.

    Source: TFLite, CalculateActivationRangeQuantized; the division is in float32.
    """
    def step(real):
        with np.errstate(over="ignore"):
            return out.zero_point + _round(np.float32(real) / np.float32(out.scale[0]))

    low, high = {"NONE": INT8, "RELU": (step(0), 127), "RELU6": (step(0), step(6)),
                 "RELU_N1_TO_1": (step(-1), step(1))}[op.activation]
    return max(low, -128), min(high, 127)


def _round(value):
    """Nearest integer, ties away from zero, within a range far beyond int8."""
    return int(np.copysign(np.floor(min(abs(float(value)), 2.0**20) + 0.5), value))


def _ratios(inputs, out):
    """s_in * s_w[c] / s_out in double precision; Python floats hold the float32 scales.

    FULLY_CONNECTED too: its product is not rounded to float32 first. Sums beside a rounding
    boundary tell the two apart (tb/test_golden_tflm.py, "boundary").
    """
    return [inputs[0].scale[0] * scale / out.scale[0] for scale in inputs[1].scale]


def _requantize(op, ratios, out, acc, bias=None):
    """int32 sums to int8: bias, multiplier, zero point, activation; all sums wrap."""
    acc = acc.astype(np.int64)
    if bias is not None:
        acc = acc + bias.reshape(-1)
    y = mbqm(wrap32(acc), *quantize_multipliers(ratios))
    return _clamp(op, out, wrap32(y + out.zero_point))


def _clamp(op, out, y):
    return np.clip(y, *activation_range(op, out)).astype(np.int8)


def _windows(op, x, kernel, fill):
    """A view [N, OH, OW, C, rows, cols] of all windows; padding holds fill."""
    rows, cols = ((size - 1) * step + 1 for size, step in zip(kernel, op.dilation, strict=True))
    vertical, horizontal = op.padding
    if any(vertical + horizontal):
        x = np.pad(x, ((0, 0), vertical, horizontal, (0, 0)), constant_values=fill)
    view = np.lib.stride_tricks.sliding_window_view(x, (rows, cols), axis=(1, 2))
    return view[:, ::op.stride[0], ::op.stride[1], :, ::op.dilation[0], ::op.dilation[1]]


def _reduce(function, windows):
    """A binary function over the taps of every window."""
    taps = [windows[..., row, col] for row, col in np.ndindex(windows.shape[4:])]
    total = taps[0].copy()
    for tap in taps[1:]:
        function(total, tap, out=total)
    return total


KINDS = {"CONV_2D": conv_2d, "DEPTHWISE_CONV_2D": depthwise_conv_2d,
         "FULLY_CONNECTED": fully_connected, "ADD": add, "MUL": mul, "MEAN": mean,
         "AVERAGE_POOL_2D": average_pool_2d, "MAX_POOL_2D": max_pool_2d, "RESHAPE": reshape,
         "PAD": pad, "PADV2": pad, "CONCATENATION": concatenation, "SOFTMAX": softmax,
         **dict.fromkeys(TABLES, lookup)}
