"""Constant folding: remove from a graph what exporters leave and the core need not compute."""

from dataclasses import replace

from models.graph import Graph, Op

NO_PADDING = ((0, 0), (0, 0))


def fold(graph: Graph) -> Graph:
    """The same network with less in it.

    - RESHAPE loses its second input: shapes are static, its output's shape says it all.
    - RESHAPE and TRANSPOSE of constants become constants.
    - QUANTIZE of the input, and DEQUANTIZE or QUANTIZE to the output, go if int8 lies on their
      inner side and the real values stay the same: input and output become int8 tensors.
    - PAD of height and width with the zero point becomes the padding of the convolution behind
      it, if that has none of its own (VALID) and nothing else reads the padded tensor.
    - Operators whose results nothing reads go: SHAPE, STRIDED_SLICE and PACK before RESHAPE.

    Tensor indices and ``Op.index`` keep their values. A pure function.
    """
    graph = _fold_constants(graph)
    graph = _drop_input_quantize(graph)
    graph = _drop_output_dequantize(graph)
    graph = replace(graph, ops=tuple(_fold_pad(graph, op) for op in graph.ops))
    return _drop_dead(graph)


def _fold_constants(graph):
    tensors, ops = list(graph.tensors), []
    for op in graph.ops:
        constants = [tensors[i].data if i >= 0 else None for i in op.inputs]
        result = None
        if op.outputs and constants and all(value is not None for value in constants):
            result = _evaluate(op, constants, tensors[op.outputs[0]].shape)
        if result is not None:
            tensors[op.outputs[0]] = replace(tensors[op.outputs[0]], data=result)
        elif op.kind == "RESHAPE":
            ops.append(replace(op, inputs=op.inputs[:1]))
        else:
            ops.append(op)
    return replace(graph, tensors=tuple(tensors), ops=tuple(ops))


def _evaluate(op: Op, constants, shape):
    """Value of an operator on constants; None if it is not one that folds."""
    if op.kind == "RESHAPE" and len(op.outputs) == 1:
        return constants[0].reshape(shape)
    if op.kind == "TRANSPOSE" and len(op.outputs) == 1 and len(constants) == 2:
        return constants[0].transpose(constants[1].tolist()).reshape(shape)
    return None


def _same_reals(outer, inner):
    """Whether int8 tensor inner holds the real values of outer, up to rounding of a float."""
    if inner.dtype != "int8":
        return False
    if outer.dtype == "uint8":
        return outer.scale == inner.scale and outer.zero_point == inner.zero_point + 128
    return outer.dtype == "float32"


def _drop_input_quantize(graph):
    readers = graph.consumers(graph.input)
    if len(readers) != 1 or readers[0].kind != "QUANTIZE" or len(readers[0].outputs) != 1:
        return graph
    inner = readers[0].outputs[0]
    if inner == graph.output or not _same_reals(graph.tensors[graph.input], graph.tensors[inner]):
        return graph
    return replace(graph, input=inner, ops=tuple(op for op in graph.ops if op is not readers[0]))


def _drop_output_dequantize(graph):
    last = graph.producer(graph.output)
    if last is None or last.kind not in ("DEQUANTIZE", "QUANTIZE") or len(last.inputs) != 1:
        return graph
    inner = last.inputs[0]
    if inner < 0 or inner == graph.input or graph.consumers(graph.output) or not _same_reals(
            graph.tensors[graph.output], graph.tensors[inner]):
        return graph
    return replace(graph, output=inner, ops=tuple(op for op in graph.ops if op is not last))


def _fold_pad(graph, op):
    """A convolution with the PAD before it as its padding; any other operator as it is."""
    bare = op.kind in ("CONV_2D", "DEPTHWISE_CONV_2D") and op.padding == NO_PADDING
    pad = graph.producer(op.inputs[0]) if bare else None
    if pad is None or pad.kind not in ("PAD", "PADV2") or not _pads_with_zero(graph, pad) \
            or pad.outputs[0] == graph.output or len(graph.consumers(pad.outputs[0])) > 1:
        return op
    return replace(op, inputs=(pad.inputs[0], *op.inputs[1:]), padding=pad.padding)


def _pads_with_zero(graph, pad):
    """Whether a PAD writes what a convolution takes: the real value 0, around the image."""
    x, y = graph.tensors[pad.inputs[0]], graph.tensors[pad.outputs[0]]
    return (x.scale, x.zero_point) == (y.scale, y.zero_point) and pad.fill == y.zero_point \
        and pad.channel_padding == (0, 0)


def _drop_dead(graph):
    needed, ops = {graph.output}, []
    for op in reversed(graph.ops):
        if needed.intersection(op.outputs):
            needed.update(op.inputs)
            ops.append(op)
    return replace(graph, ops=tuple(reversed(ops)))
