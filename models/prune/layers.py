"""Layers as pruning sees them: their real weights, and back to the int8 of a .tflite file."""

from dataclasses import dataclass

import numpy as np

from models.graph import Graph, ModelError, Op
from models.tflite_writer import Constant

KINDS = ("CONV_2D", "FULLY_CONNECTED")
INT8_MAX = 127
INT32_MAX = (1 << 31) - 1


@dataclass(frozen=True, kw_only=True)
class Layer:
    """A layer with weights, in real values.

    Parameters
    ----------
    op : Op
    weights : numpy.ndarray
        float32 [out channels, positions]: the positions of a window row by row, pixel by pixel,
        channel by channel, as the core's patches have them where the channels of a pixel are a
        multiple of its lanes.
    bias : numpy.ndarray or None
        float32 [out channels].
    """

    op: Op
    weights: np.ndarray
    bias: np.ndarray | None


def read_layers(graph: Graph) -> tuple[Layer, ...]:
    """All layers of the KINDS, in order."""
    return tuple(_read(graph, op) for op in graph.ops if op.kind in KINDS)


def _read(graph, op):
    weights = _real(graph.tensors[op.inputs[1]])
    index = bias_index(op)
    return Layer(op=op, weights=weights.reshape(len(weights), -1),
                 bias=None if index is None else _real(graph.tensors[index]))


def _real(tensor):
    """Values of a constant whose first axis is output channels: float32."""
    assert tensor.data is not None  # as models.validate checked
    scale = np.reshape(tensor.scale, (-1, *(1,) * (tensor.data.ndim - 1)))
    return (tensor.data * scale).astype(np.float32)


def bias_index(op: Op) -> int | None:
    """Tensor index of an operator's bias, if it has one."""
    return op.inputs[2] if len(op.inputs) > 2 and op.inputs[2] >= 0 else None


def prunable(graph: Graph) -> tuple[Layer, ...]:
    """The layers to prune: without the first and the last one, which are small and matter most.

    Raises
    ------
    ModelError
        There is no other.
    """
    layers = read_layers(graph)
    if len(layers) < 3:
        raise ModelError(f"{graph.name}: layers of {' and '.join(KINDS)} must number at least 3, "
                         f"as the first and the last one stay dense, not {len(layers)}; give a "
                         f"deeper network")
    return layers[1:-1]


def quantize(graph: Graph, layer: Layer) -> list[Constant]:
    """Return weights and bias of a layer as its file holds them.

    Weights are symmetric: 0 stays 0, the largest of each scale becomes 127. A channel without
    weights keeps its scale.
    """
    source, weights = (graph.tensors[i] for i in layer.op.inputs[:2])
    axis = 1 if len(weights.scale) > 1 else None
    largest = np.abs(layer.weights).max(axis=axis).reshape(-1)
    scale = np.where(largest > 0, largest / INT8_MAX, weights.scale).astype(np.float32)
    data = np.rint(layer.weights / scale[:, None]).astype(np.int8)
    constants = [Constant(tensor=layer.op.inputs[1], data=data, scale=scale)]
    index = bias_index(layer.op)
    if index is not None and layer.bias is not None:
        sums = np.float32(source.scale[0]) * scale
        bias = np.rint(layer.bias / sums.astype(np.float64)).clip(-INT32_MAX, INT32_MAX)
        constants.append(Constant(tensor=index, data=bias.astype(np.int32), scale=sums))
    return constants
