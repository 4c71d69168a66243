"""Structural rules a graph must obey before anything computes with it."""

from models.checks import AGAIN, QUANTIZE, activation, below, operands, positive, require
from models.elements import ELEMENTS
from models.graph import Graph

MAX_RANK = 8


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
    positive(f"{field} scale", weights.scale)
    below(op, x.scale[0] * max(weights.scale) / y.scale[0])
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
    x, weights, y = operands(graph, op, 2)
    activation(op, "input", x, 4)
    activation(op, "output", y, 4)
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
    x, weights, y = operands(graph, op, 2)
    activation(op, "input", x)
    activation(op, "output", y)
    _weights(op, weights, 0, 2, x, y)
    _bias(graph, op, y)
    count, depth = weights.shape
    require(x.size % depth == 0, f"{op.name} input size", f"a multiple of {depth}", x.size, AGAIN)
    require(y.size == x.size // depth * count, f"{op.name} output size",
            f"{x.size // depth * count}", y.size, AGAIN)


def _pool(graph, op):
    x, y = operands(graph, op, 1)
    activation(op, "input", x, 4)
    activation(op, "output", y, 4)
    require(y.shape[3] == x.shape[3], f"{op.name} output channels", f"{x.shape[3]}", y.shape[3],
            AGAIN)
    require(y.zero_point == x.zero_point, f"{op.name} output zero point", f"{x.zero_point}",
            y.zero_point, AGAIN)
    require(abs(y.scale[0] - x.scale[0]) <= 1e-6, f"{op.name} output scale", f"{x.scale[0]!r}",
            y.scale[0], AGAIN)
    _window(op, x, y, op.kernel)


RULES = {"CONV_2D": _conv, "DEPTHWISE_CONV_2D": _conv, "FULLY_CONNECTED": _fully_connected,
         "AVERAGE_POOL_2D": _pool, "MAX_POOL_2D": _pool, **ELEMENTS}
