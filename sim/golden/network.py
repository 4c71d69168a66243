"""Run a whole graph in the golden model."""

from math import prod

import numpy as np

from models.graph import Graph, ModelError, Tensor
from sim.golden.operators import KINDS

CHUNK_ELEMENTS = 1 << 20  # of the largest intermediate array: keeps a big batch inside the cache


def run(graph: Graph, x: np.ndarray) -> dict[int, np.ndarray]:
    """Compute every activation of a network.

    Parameters
    ----------
    graph : Graph
        As `models.tflite_reader.load` returns it: checked.
    x : numpy.ndarray
        int8, of the input tensor's shape with any batch N in place of the leading 1.

    Returns
    -------
    dict of int to numpy.ndarray
        Tensor index to int8 array, its leading dimension times N: the input, and every
        operator's output up to and including ``graph.output``.

    Raises
    ------
    ModelError
        An operator has no golden model.
    ValueError
        x has another type or shape.
    """
    shape = graph.tensors[graph.input].shape
    if x.dtype != np.int8 or x.shape[1:] != shape[1:] or x.ndim != len(shape) or not len(x):
        raise ValueError(f"x must be int8 of shape {['N', *shape[1:]]}, not "
                         f"{f'{x.dtype} {list(x.shape)}'!r}; quantize or reshape it")
    for op in graph.ops:
        if op.kind not in KINDS:
            raise ModelError(f"{op.name} kind must be one of {', '.join(sorted(KINDS))}, not "
                             f"{op.kind!r}; replace the operator")
    step = max(1, CHUNK_ELEMENTS // _largest(graph))
    parts = [_run_chunk(graph, x[i:i + step]) for i in range(0, len(x), step)]
    return {i: np.concatenate([part[i] for part in parts]) for i in parts[0]}


def quantize(tensor: Tensor, reals) -> np.ndarray:
    """Real values as the int8 of a tensor's scale and zero point, saturated."""
    steps = np.asarray(reals, np.float64) / tensor.scale[0]
    nearest = np.copysign(np.floor(np.abs(steps) + 0.5), steps)
    return np.clip(nearest + tensor.zero_point, -128, 127).astype(np.int8)


def dequantize(tensor: Tensor, values: np.ndarray) -> np.ndarray:
    """The real values of a tensor's int8, as float32."""
    scale = np.float32(tensor.scale[0])
    return (values.astype(np.float32) - np.float32(tensor.zero_point)) * scale


def _largest(graph):
    """Elements of the largest array an operator builds for one image."""
    sizes = [graph.tensors[graph.input].size]
    for op in graph.ops:
        size = graph.tensors[op.outputs[0]].size
        if op.kind == "CONV_2D":
            weights = graph.tensors[op.inputs[1]].shape
            size = size // weights[0] * max(weights[0], prod(weights[1:]))
        sizes.append(size)
    return max(sizes)


def _run_chunk(graph, x):
    """`run` for a batch small enough to hold at once."""
    values = {graph.input: x}
    for op in graph.ops:
        tensors = [graph.tensors[i] for i in op.inputs if i >= 0]
        arrays = [values[i] if i in values else graph.tensors[i].data for i in op.inputs if i >= 0]
        out = graph.tensors[op.outputs[0]]
        y = KINDS[op.kind](op, tensors, out, *arrays)
        values[op.outputs[0]] = y.reshape(out.shape[0] * len(x), *out.shape[1:])
    return values
