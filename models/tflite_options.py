"""Attributes of TFLite operators: options tables resolved into the fields of Op."""

from dataclasses import replace

import numpy as np
import tflite

from models.checks import require
from models.graph import Op

AGAIN = "copy or export the file again"
ACTIVATIONS = {code: name for name, code in vars(tflite.ActivationFunctionType).items()
               if isinstance(code, int)}
MAX_REACH = 256  # of a window beyond its input: SAME would pad without bound
PADDINGS = {code: name for name, code in vars(tflite.Padding).items() if isinstance(code, int)}


def attributes(op: Op, raw, tensors) -> Op:
    """The operator with the fields of its options table filled in.

    Parameters
    ----------
    op : Op
        Index, kind, inputs and outputs are set.
    raw : tflite.Operator
    tensors : sequence of Tensor

    Returns
    -------
    Op
        The same operator if its kind has no options this project needs.

    Raises
    ------
    ModelError
        The options are of another kind, or hold a value that has no meaning or is not supported.
    """
    if op.kind not in READERS:
        return op
    name, reader = READERS[op.kind]
    if name is None:
        return replace(op, **reader(op, tensors))
    got = raw.BuiltinOptionsType()
    require(got == getattr(tflite.BuiltinOptions, name), f"{op.name} options", name, got, AGAIN)
    options = getattr(tflite, name)()
    table = raw.BuiltinOptions()
    options.Init(table.Bytes, table.Pos)
    return replace(op, **reader(op, options, tensors))


def window_padding(same, size, kernel, stride, dilation):
    """TFLite's padding of one axis as (before, after); the odd one goes after."""
    if not same:
        return 0, 0
    out = -(-size // stride)
    total = max(0, (out - 1) * stride + (kernel - 1) * dilation + 1 - size)
    return total // 2, total - total // 2


def _activation(op, options):
    code = options.FusedActivationFunction()
    allowed = ("NONE", "RELU", "RELU6", "RELU_N1_TO_1")
    name = ACTIVATIONS.get(code, code)
    require(name in allowed, f"{op.name} activation", f"one of {', '.join(allowed)}", name,
            "replace the activation and convert again")
    return name


def _window(op, options, tensors, kernel, dilation=(1, 1)):
    """Stride, resolved padding and activation of everything that slides a window."""
    require(op.inputs and op.inputs[0] >= 0 and len(tensors[op.inputs[0]].shape) == 4,
            f"{op.name} input rank", "4", op.inputs and len(tensors[op.inputs[0]].shape), AGAIN)
    size = tensors[op.inputs[0]].shape[1:3]
    stride = options.StrideH(), options.StrideW()
    code = options.Padding()
    require(code in PADDINGS, f"{op.name} padding", "SAME or VALID", code, AGAIN)
    for field, values in (("stride", stride), ("dilation", dilation), ("kernel", kernel)):
        require(min(values) > 0, f"{op.name} {field}", "positive", values, AGAIN)
    for i in range(2):
        reach = (kernel[i] - 1) * dilation[i] + 1
        most = max(size[i], MAX_REACH)
        require(reach <= most, f"{op.name} kernel times dilation", f"at most {most}", reach, AGAIN)
    vertical, horizontal = (
        window_padding(PADDINGS[code] == "SAME", size[i], kernel[i], stride[i], dilation[i])
        for i in range(2))
    return {"stride": stride, "dilation": dilation, "padding": (vertical, horizontal),
            "activation": _activation(op, options)}


def _conv(op, options, tensors):
    require(len(op.inputs) > 1 and op.inputs[1] >= 0, f"{op.name} inputs", "at least 2",
            len(op.inputs), AGAIN)
    weights = tensors[op.inputs[1]].shape
    require(len(weights) == 4, f"{op.name} weights rank", "4", len(weights), AGAIN)
    dilation = options.DilationHFactor(), options.DilationWFactor()
    inputs = op.inputs if len(op.inputs) > 2 else (*op.inputs, -1)
    return {"inputs": inputs, **_window(op, options, tensors, weights[1:3], dilation)}


def _pool(op, options, tensors):
    kernel = options.FilterHeight(), options.FilterWidth()
    return {"kernel": kernel, **_window(op, options, tensors, kernel)}


def _fully_connected(op, options, _tensors):
    require(options.WeightsFormat() == 0, f"{op.name} weights format", "DEFAULT",
            options.WeightsFormat(), "convert again without shuffled weights")
    inputs = op.inputs if len(op.inputs) > 2 else op.inputs + (-1,) * (3 - len(op.inputs))
    return {"inputs": inputs, "activation": _activation(op, options)}


def _binary(op, options, _tensors):
    return {"activation": _activation(op, options)}


def _concatenation(op, options, tensors):
    require(_activation(op, options) == "NONE", f"{op.name} activation", "NONE",
            _activation(op, options), "replace the activation and convert again")
    last = len(tensors[op.outputs[0]].shape) - 1
    require(options.Axis() in (-1, last), f"{op.name} axis", f"that of the channels, {last}",
            options.Axis(), "concatenate channels")
    return {}


def _pad(op, tensors):
    """PAD and PADV2 keep one input: what the others hold are attributes."""
    pads = _constant(op, 1, "paddings", "int32", tensors)
    require(pads.shape == (4, 2) and pads.min() >= 0 and not pads[0].any(), f"{op.name} paddings",
            "[[0, 0], [top, bottom], [left, right], [before, after]]", pads[:4].tolist(),
            "pad height, width and channels of one image")
    rows, cols, channels = (tuple(pair) for pair in pads[1:].tolist())
    out = tensors[op.outputs[0]]
    fill = out.zero_point
    if len(op.inputs) > 2:
        value, data = tensors[op.inputs[2]], _constant(op, 2, "value", "int8", tensors)
        require(data.size == 1, f"{op.name} value", "one number", data.size, AGAIN)
        require((value.scale, value.zero_point) == (out.scale, out.zero_point),
                f"{op.name} value quantization", f"the output's {out.scale, out.zero_point}",
                (value.scale, value.zero_point), "quantize both with one scale and zero point")
        fill = int(data.flat[0])
    return {"inputs": op.inputs[:1], "padding": (rows, cols), "channel_padding": channels,
            "fill": fill}


def _mean(op, tensors):
    """MEAN keeps one input; its output's shape tells whether it keeps dimensions."""
    axes = _constant(op, 1, "axes", "int32", tensors)
    rank = len(tensors[op.inputs[0]].shape)
    found = sorted({int(axis) % rank if rank else axis for axis in axes.flat[:rank]})
    require(rank == 4 and found == [1, 2] and axes.min() >= -4 and axes.max() < 4,
            f"{op.name} axes", "height and width of [1, H, W, C]", axes.flat[:4].tolist(),
            "take the mean over height and width")
    return {"inputs": op.inputs[:1]}


def _constant(op, i, role, dtype, tensors) -> np.ndarray:
    """The array of a constant input."""
    require(len(op.inputs) > i and min(op.inputs) >= 0, f"{op.name} inputs", f"at least {i + 1}",
            len(op.inputs), AGAIN)
    tensor = tensors[op.inputs[i]]
    data = np.empty(0) if tensor.data is None else tensor.data
    require(data.size > 0 and tensor.dtype == dtype, f"{op.name} {role}", f"constant {dtype}",
            tensor.dtype if data.size else "computed", "export the model with static shapes")
    return data


def _leaky_relu(_op, options, _tensors):
    return {"alpha": float(options.Alpha())}


def _softmax(_op, options, _tensors):
    return {"beta": float(options.Beta())}


READERS = {
    "CONV_2D": ("Conv2DOptions", _conv),
    "DEPTHWISE_CONV_2D": ("DepthwiseConv2DOptions", _conv),
    "FULLY_CONNECTED": ("FullyConnectedOptions", _fully_connected),
    "ADD": ("AddOptions", _binary),
    "MUL": ("MulOptions", _binary),
    "CONCATENATION": ("ConcatenationOptions", _concatenation),
    "PAD": (None, _pad),
    "PADV2": (None, _pad),
    "MEAN": (None, _mean),
    "LEAKY_RELU": ("LeakyReluOptions", _leaky_relu),
    "AVERAGE_POOL_2D": ("Pool2DOptions", _pool),
    "MAX_POOL_2D": ("Pool2DOptions", _pool),
    "SOFTMAX": ("SoftmaxOptions", _softmax),
}
