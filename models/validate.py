"""Structural rules a graph must obey before anything computes with it."""

from math import inf

import numpy as np

from models.graph import Graph, ModelError, Op, Tensor

MAX_RANK = 8
MAX_ELEMENTS = 1 << 31
MAX_RATIO = 2.0**30  # a larger requantization ratio would shift a 32-bit sum out of its word
QUANTIZE = ("quantize it to int8 with a representative dataset "
            "(converter.target_spec.supported_ops = [TFLITE_BUILTINS_INT8])")
AGAIN = "export the model again"


def require(condition, field, rule, value, remedy):
    """Raise a ModelError in the project's wording unless condition holds."""
    if not condition:
        raise ModelError(f"{field} must be {rule}, not {value!r}; {remedy}")


def validate(graph: Graph):
    """Check shapes, types, constants and quantization parameters of every operator we know.

    Operators of other kinds are only required not to compute in floating point.

    Raises
    ------
    ModelError
        Names the first operator that breaks a rule.
    """
    require(graph.ops, "operators", "at least one", 0, AGAIN)
    for op in graph.ops:
        for i in (*op.inputs, *op.outputs):
            tensor = graph.tensors[i]
            if i >= 0 and tensor.data is None and op.kind not in ("QUANTIZE", "DEQUANTIZE"):
                require(not tensor.dtype.startswith("float"), f"{op.name} activations", "int8",
                        tensor.dtype, QUANTIZE)
        if op.kind in RULES:
            RULES[op.kind](graph, op)
    first = graph.tensors[graph.input]
    require(len(first.shape) > 0 and first.shape[0] == 1, "input batch", "1", first.shape,
            "export the model for batch 1")


def _operands(graph, op, inputs) -> list[Tensor]:
    """The first input tensors and the output tensor, none of them absent."""
    require(len(op.inputs) >= inputs, f"{op.name} inputs", f"{inputs}", len(op.inputs), AGAIN)
    require(len(op.outputs) == 1, f"{op.name} outputs", "one", len(op.outputs), AGAIN)
    indices = (*op.inputs[:inputs], *op.outputs)
    require(min(indices) >= 0, f"{op.name} inputs", "present", indices, AGAIN)
    return [graph.tensors[i] for i in indices]


def _activation(op: Op, role, tensor: Tensor, rank=None):
    """An int8 tensor with one scale and one zero point."""
    field = f"{op.name} {role}"
    require(tensor.dtype == "int8", f"{field} dtype", "int8", tensor.dtype, QUANTIZE)
    require(rank is None or len(tensor.shape) == rank, f"{field} rank", f"{rank}",
            len(tensor.shape), AGAIN)
    require(tensor.shape and 0 < tensor.size < MAX_ELEMENTS, f"{field} size",
            f"in 1..{MAX_ELEMENTS - 1}", tensor.shape, AGAIN)
    require(len(tensor.scale) == 1, f"{field} scales", "one", len(tensor.scale), QUANTIZE)
    _positive(f"{field} scale", tensor.scale)
    require(-128 <= tensor.zero_point <= 127, f"{field} zero point", "in -128..127",
            tensor.zero_point, AGAIN)


def _positive(field, scales):
    for scale in scales:
        require(0 < scale < inf, field, "positive and finite", scale, AGAIN)


def _weights(op, weights, channels, rank, x, y):
    """Constant symmetric weights and their scales, one for each output channel or one for all."""
    field = f"{op.name} weights"
    require(weights.data is not None, field, "constant", "computed",
            "freeze the weights and convert again")
    require(weights.dtype == "int8", f"{field} dtype", "int8", weights.dtype, QUANTIZE)
    require(len(weights.shape) == rank and min(weights.shape) > 0, f"{field} shape",
            f"{rank} positive dimensions", weights.shape, AGAIN)
    require(weights.zero_point == 0, f"{field} zero point", "0", weights.zero_point,
            "quantize weights symmetrically")
    count = weights.shape[channels]
    require(len(weights.scale) in (1, count), f"{field} scales", f"1 or {count}",
            len(weights.scale), QUANTIZE)
    _positive(f"{field} scale", weights.scale)
    ratio = x.scale[0] * max(weights.scale) / y.scale[0]
    require(ratio < MAX_RATIO, f"{op.name} scale ratio", f"below {MAX_RATIO:.0f}", ratio,
            "quantize with a representative dataset")
    require(y.shape[-1] == count, f"{op.name} output channels", f"{count}", y.shape[-1], AGAIN)


def _bias(graph, op, y):
    """An absent bias, or one int32 constant per output channel."""
    require(len(op.inputs) == 3, f"{op.name} inputs", "3", len(op.inputs), AGAIN)
    if op.inputs[2] < 0:
        return
    bias = graph.tensors[op.inputs[2]]
    require(bias.data is not None and bias.dtype == "int32", f"{op.name} bias",
            "constant int32", bias.dtype, QUANTIZE)
    require(bias.size == y.shape[-1], f"{op.name} bias size", f"{y.shape[-1]}", bias.size, AGAIN)


def _window(op, x, y, kernel):
    """The output's height and width follow from kernel, stride, dilation and padding."""
    expect = tuple((x.shape[1 + i] + sum(op.padding[i]) - (kernel[i] - 1) * op.dilation[i] - 1)
                   // op.stride[i] + 1 for i in range(2))
    require(y.shape[1:3] == expect and y.shape[0] == x.shape[0], f"{op.name} output shape",
            f"{[x.shape[0], *expect, '...']}", y.shape, AGAIN)


def _conv(graph, op):
    x, weights, y = _operands(graph, op, 2)
    _activation(op, "input", x, 4)
    _activation(op, "output", y, 4)
    depthwise = op.kind == "DEPTHWISE_CONV_2D"
    _weights(op, weights, 3 if depthwise else 0, 4, x, y)
    _bias(graph, op, y)
    if depthwise:
        require(weights.shape[0] == 1 and weights.shape[3] % x.shape[3] == 0,
                f"{op.name} weights shape", f"[1, y, x, multiple of {x.shape[3]}]", weights.shape,
                AGAIN)
    else:
        require(weights.shape[3] == x.shape[3], f"{op.name} weights channels", f"{x.shape[3]}",
                weights.shape[3], "export without grouped convolution")
    _window(op, x, y, weights.shape[1:3])


def _fully_connected(graph, op):
    x, weights, y = _operands(graph, op, 2)
    _activation(op, "input", x)
    _activation(op, "output", y)
    _weights(op, weights, 0, 2, x, y)
    _bias(graph, op, y)
    count, depth = weights.shape
    require(x.size % depth == 0, f"{op.name} input size", f"a multiple of {depth}", x.size, AGAIN)
    require(y.size == x.size // depth * count, f"{op.name} output size",
            f"{x.size // depth * count}", y.size, AGAIN)


def _add(graph, op):
    a, b, y = _operands(graph, op, 2)
    for role, tensor in (("input 0", a), ("input 1", b), ("output", y)):
        _activation(op, role, tensor)
    try:
        shape = np.broadcast_shapes(a.shape, b.shape)
    except ValueError:
        shape = None
    require(y.shape == shape, f"{op.name} output shape", f"{shape}", y.shape, AGAIN)
    ratio = 2 * max(a.scale[0], b.scale[0]) / y.scale[0]
    require(ratio < 2**20, f"{op.name} scale ratio", f"below {2**20}", ratio,
            "quantize with a representative dataset")


def _pool(graph, op):
    x, y = _operands(graph, op, 1)
    _activation(op, "input", x, 4)
    _activation(op, "output", y, 4)
    require(y.shape[3] == x.shape[3], f"{op.name} output channels", f"{x.shape[3]}", y.shape[3],
            AGAIN)
    require(y.zero_point == x.zero_point, f"{op.name} output zero point", f"{x.zero_point}",
            y.zero_point, AGAIN)
    require(abs(y.scale[0] - x.scale[0]) <= 1e-6, f"{op.name} output scale", f"{x.scale[0]!r}",
            y.scale[0], AGAIN)
    _window(op, x, y, op.kernel)


def _reshape(graph, op):
    x, y = _operands(graph, op, 1)
    _activation(op, "input", x)
    _activation(op, "output", y)
    require(x.size == y.size, f"{op.name} output size", f"{x.size}", y.size, AGAIN)


def _softmax(graph, op):
    x, y = _operands(graph, op, 1)
    _activation(op, "input", x)
    _activation(op, "output", y)
    require(x.shape == y.shape, f"{op.name} output shape", f"{x.shape}", y.shape, AGAIN)
    require(abs(y.scale[0] * 256 - 1) < 1e-3 and y.zero_point == -128,
            f"{op.name} output quantization", "scale 1/256, zero point -128",
            (y.scale[0], y.zero_point), AGAIN)
    slope = op.beta * x.scale[0]
    require(2.0**-26 < slope < inf, f"{op.name} beta times scale", "above 2**-26 and finite",
            slope, AGAIN)


RULES = {"CONV_2D": _conv, "DEPTHWISE_CONV_2D": _conv, "FULLY_CONNECTED": _fully_connected,
         "ADD": _add, "AVERAGE_POOL_2D": _pool, "MAX_POOL_2D": _pool, "RESHAPE": _reshape,
         "SOFTMAX": _softmax}
