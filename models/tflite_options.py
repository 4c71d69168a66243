"""Attributes of TFLite operators: options tables resolved into the fields of Op."""

from dataclasses import replace

import tflite

from models.graph import Op
from models.validate import require

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
        The options are of another kind, or hold a value that has no meaning.
    """
    if op.kind not in READERS:
        return op
    name, reader = READERS[op.kind]
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
    inputs = op.inputs if len(op.inputs) > 2 else op.inputs + (-1,)
    return {"inputs": inputs, **_window(op, options, tensors, weights[1:3], dilation)}


def _pool(op, options, tensors):
    kernel = options.FilterHeight(), options.FilterWidth()
    return {"kernel": kernel, **_window(op, options, tensors, kernel)}


def _fully_connected(op, options, _tensors):
    require(options.WeightsFormat() == 0, f"{op.name} weights format", "DEFAULT",
            options.WeightsFormat(), "convert again without shuffled weights")
    inputs = op.inputs if len(op.inputs) > 2 else op.inputs + (-1,) * (3 - len(op.inputs))
    return {"inputs": inputs, "activation": _activation(op, options)}


def _add(op, options, _tensors):
    return {"activation": _activation(op, options)}


def _softmax(_op, options, _tensors):
    return {"beta": float(options.Beta())}


READERS = {
    "CONV_2D": ("Conv2DOptions", _conv),
    "DEPTHWISE_CONV_2D": ("DepthwiseConv2DOptions", _conv),
    "FULLY_CONNECTED": ("FullyConnectedOptions", _fully_connected),
    "ADD": ("AddOptions", _add),
    "AVERAGE_POOL_2D": ("Pool2DOptions", _pool),
    "MAX_POOL_2D": ("Pool2DOptions", _pool),
    "SOFTMAX": ("SoftmaxOptions", _softmax),
}
