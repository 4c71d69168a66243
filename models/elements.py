"""Rules of the operators without weights or windows: element by element, and data movement."""

from math import inf

import numpy as np

from models.checks import AGAIN, QUANTIZE, activation, below, operands, require

ONE_SCALE = "quantize both with one scale and zero point"


def _add(graph, op):
    a, b, y = _broadcast(graph, op)
    below(op, 2 * max(a.scale[0], b.scale[0]) / y.scale[0], 2**20)


def _mul(graph, op):
    a, b, y = _broadcast(graph, op)
    below(op, a.scale[0] * b.scale[0] / y.scale[0])


def _broadcast(graph, op):
    """Two operands that numpy's rules spread to the output's shape."""
    a, b, y = operands(graph, op, 2)
    for role, tensor in (("input 0", a), ("input 1", b), ("output", y)):
        activation(op, role, tensor)
    try:
        shape = np.broadcast_shapes(a.shape, b.shape)
    except ValueError:
        shape = None
    require(y.shape == shape, f"{op.name} output shape", f"{shape}", y.shape, AGAIN)
    return a, b, y


def _reshape(graph, op):
    x, y = operands(graph, op, 1)
    activation(op, "input", x)
    activation(op, "output", y)
    require(x.size == y.size, f"{op.name} output size", f"{x.size}", y.size, AGAIN)


def _pad(graph, op):
    x, y = operands(graph, op, 1)
    activation(op, "input", x, 4)
    activation(op, "output", y, 4)
    _same_quantization(op, "input", x, y)
    expect = (x.shape[0], *(size + sum(pads) for size, pads in zip(
        x.shape[1:], (*op.padding, op.channel_padding), strict=True)))
    require(y.shape == expect, f"{op.name} output shape", f"{expect}", y.shape, AGAIN)


def _mean(graph, op):
    x, y = operands(graph, op, 1)
    activation(op, "input", x, 4)
    activation(op, "output", y)
    batch, *_, channels = x.shape
    expect = (batch, channels), (batch, 1, 1, channels)
    require(y.shape in expect, f"{op.name} output shape", f"{expect[0]} or {expect[1]}", y.shape,
            AGAIN)
    below(op, x.scale[0] / y.scale[0])


def _concatenation(graph, op):
    *parts, y = operands(graph, op, max(1, len(op.inputs)))
    activation(op, "output", y)
    for i, x in enumerate(parts):
        activation(op, f"input {i}", x, len(y.shape))
        _same_quantization(op, f"input {i}", x, y)
        require(x.shape[:-1] == y.shape[:-1], f"{op.name} input {i} shape",
                f"{[*y.shape[:-1], '...']}", x.shape, AGAIN)
    channels = sum(x.shape[-1] for x in parts)
    require(y.shape[-1] == channels, f"{op.name} output channels", f"{channels}", y.shape[-1],
            AGAIN)


def _same_quantization(op, role, x, y):
    """TFLite's int8 kernel copies bytes."""
    require((x.scale, x.zero_point) == (y.scale, y.zero_point), f"{op.name} {role} quantization",
            f"the output's {y.scale[0], y.zero_point}", (x.scale[0], x.zero_point), ONE_SCALE)


def _map(graph, op):
    """An operator of one byte at a time: input and output of one shape."""
    x, y = operands(graph, op, 1)
    activation(op, "input", x)
    activation(op, "output", y)
    require(x.shape == y.shape, f"{op.name} output shape", f"{x.shape}", y.shape, AGAIN)
    return x, y


def _output(op, y, steps, zero_point):
    """The one quantization of the output that TFLite's kernel knows: scale 1/steps."""
    require(abs(y.scale[0] * steps - 1) < 1e-3 and y.zero_point == zero_point,
            f"{op.name} output quantization", f"scale 1/{steps}, zero point {zero_point}",
            (y.scale[0], y.zero_point), AGAIN)


def _softmax(graph, op):
    x, y = _map(graph, op)
    _output(op, y, 256, -128)
    slope = op.beta * x.scale[0]
    require(2.0**-26 < slope < inf, f"{op.name} beta times scale", "above 2**-26 and finite",
            slope, AGAIN)


def _logistic(graph, op):
    x, y = _map(graph, op)
    _output(op, y, 256, -128)
    _between(op, "input scale", x.scale[0], -26, 30)


def _tanh(graph, op):
    x, y = _map(graph, op)
    _output(op, y, 128, 0)
    _between(op, "input scale", x.scale[0], -26, 30)


def _hard_swish(graph, op):
    x, y = _map(graph, op)
    _between(op, "input scale", x.scale[0], -22, 24)
    _between(op, "scale ratio", x.scale[0] / y.scale[0], -9, 7)  # TFLM refuses more than 2**7


def _between(op, field, value, low, high):
    require(2.0**low <= value < 2.0**high, f"{op.name} {field}", f"in 2**{low}..2**{high}", value,
            QUANTIZE)


def _leaky_relu(graph, op):
    x, y = _map(graph, op)
    require(abs(op.alpha) <= 2**16, f"{op.name} alpha", "in -65536..65536", op.alpha, AGAIN)
    below(op, max(1, abs(op.alpha)) * x.scale[0] / y.scale[0])


def _relu(graph, op):
    x, y = _map(graph, op)
    below(op, x.scale[0] / y.scale[0])


def _relu6(graph, op):
    _same_quantization(op, "input", *_map(graph, op))


ELEMENTS = {"ADD": _add, "MUL": _mul, "RESHAPE": _reshape, "PAD": _pad, "PADV2": _pad,
            "MEAN": _mean, "CONCATENATION": _concatenation, "SOFTMAX": _softmax,
            "LOGISTIC": _logistic, "TANH": _tanh, "HARD_SWISH": _hard_swish,
            "LEAKY_RELU": _leaky_relu, "RELU": _relu, "RELU6": _relu6}
