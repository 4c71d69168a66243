"""Constant-channel folding: what a channel without weights computes moves into later biases."""

from dataclasses import dataclass, replace

import numpy as np

from gen.constants import (
    DENSE,
    VARIES,
    bias_of,
    dense_weights,
    exact_shares,
    find_constants,
    followed,
)
from models.graph import Graph, Op

INT32 = np.iinfo(np.int32)


@dataclass(frozen=True, kw_only=True)
class FoldedTensor:
    """A tensor that lost channels.

    Parameters
    ----------
    tensor : int
        Index, the same in the original and the folded graph.
    name : str
        Of the operator that writes it.
    kept : tuple of int
        The original channels of those that are left, in order.
    constants : tuple of int or None
        The byte of every channel that is gone, in order; None where it varies but nothing
        reads it.
    """

    tensor: int
    name: str
    kept: tuple[int, ...]
    constants: tuple[int | None, ...]

    @property
    def removed(self) -> tuple[int, ...]:
        """The original channels that are gone, in order."""
        return tuple(sorted(set(range(len(self.kept) + len(self.constants))) - set(self.kept)))


@dataclass(frozen=True, kw_only=True)
class Folded:
    """A folded graph, what its tensors lost, and how many MACs that saves."""

    graph: Graph
    tensors: tuple[FoldedTensor, ...] = ()
    macs: int = 0


def fold_channels(graph: Graph) -> Folded:
    """The same network without the channels that need not be computed, bit for bit.

    A channel goes if every operator that reads it either has no weights on it, or sees the same
    constant at every tap, which moves into the operator's bias. Input, output and what operators
    of unknown kinds read or write keep their channels, and every tensor keeps one. Activations
    keep their indices; weights and biases that change become new tensors. A pure function.
    """
    known = find_constants(graph)
    gone = _find_removable(graph, known)
    tensors, ops, folded = list(graph.tensors), [], []
    for op in graph.ops:
        ops.append(_without(graph, op, known, gone, tensors))
        for i in op.outputs:
            if gone[i].any():
                kept = np.flatnonzero(~gone[i])
                tensors[i] = replace(tensors[i], shape=(*tensors[i].shape[:-1], len(kept)))
                folded.append(FoldedTensor(
                    tensor=i, name=op.name, kept=tuple(kept.tolist()),
                    constants=tuple(None if value == VARIES else int(value)
                                    for value in known[i][gone[i]])))
    if not folded:
        return Folded(graph=graph)
    smaller = replace(graph, tensors=tuple(tensors), ops=tuple(ops))
    macs = sum(map(graph.macs, graph.ops)) - sum(map(smaller.macs, smaller.ops))
    return Folded(graph=smaller, tensors=tuple(folded), macs=macs)


def _find_removable(graph, known):
    """The largest set of channels without which every operator computes the same: bool each."""
    written = {i for op in graph.ops for i in op.outputs} - {graph.input, graph.output}
    gone = {i: np.full(len(values), i in written) for i, values in known.items()}
    while True:
        _settle(graph, known, gone)
        empty = [mask for i, mask in gone.items() if i in written and mask.all()]
        if not empty:
            return gone
        for mask in empty:
            mask[0] = False


def _settle(graph, known, gone):
    """Keep ever more channels until every operator agrees."""
    count = -1
    while count != (count := sum(int(mask.sum()) for mask in gone.values())):
        for op in reversed(graph.ops):
            if not followed(graph, op):
                for i in {*op.inputs, *op.outputs} & set(gone):
                    gone[i][:] = False
            elif op.kind in DENSE:
                _keep_read(graph, op, known, gone)
            else:
                _keep_alike(op, gone)


def _keep_read(graph, op, known, gone):
    """Keep channels whose share of a sum is no constant, or not one that the bias can take."""
    x, left = gone[op.inputs[0]], ~gone[op.outputs[0]]
    read = dense_weights(graph, op)[left].any(axis=(0, 1))
    exact, _ = exact_shares(graph, op, known)
    x &= ~read | exact
    bias = _folded_bias(graph, op, known, x)[left]
    if len(bias) and not INT32.min <= bias.min() <= bias.max() <= INT32.max:
        x &= ~read


def _keep_alike(op, gone):
    """Keep the same channels in inputs and output of an operator that computes each alone."""
    y = gone[op.outputs[0]]
    inputs = [gone[i] for i in op.inputs if i in gone]
    times = len(y) // len(inputs[0])
    parts = y.reshape(-1, times) if op.kind == "DEPTHWISE_CONV_2D" else y.reshape(times, -1).T
    alike = np.all([*inputs, parts.all(axis=1)], axis=0)
    for mask in inputs:
        mask[:] = alike
    parts[:] = alike[:, None]


def _folded_bias(graph, op, known, gone):
    """Bias that takes in the constants of the input's channels that are gone: int64 [out]."""
    _, share = exact_shares(graph, op, known)
    sums = dense_weights(graph, op)[..., gone].sum(axis=1, dtype=np.int64)
    return bias_of(graph, op) + sums @ share[gone]


def _without(graph, op, known, gone, tensors) -> Op:
    """The operator without channels that are gone; its new weights and bias join the tensors."""
    if op.kind not in (*DENSE, "DEPTHWISE_CONV_2D"):
        return op
    x, left = gone[op.inputs[0]], ~gone[op.outputs[0]]
    if left.all() and not x.any():
        return op
    weights, bias = graph.tensors[op.inputs[1]], bias_of(graph, op)
    assert weights.data is not None
    if op.kind == "DEPTHWISE_CONV_2D":
        data = weights.data[..., left]
    else:
        bias = _folded_bias(graph, op, known, x)
        data = dense_weights(graph, op)[left][..., ~x]
        window = weights.shape[1:3] if op.kind == "CONV_2D" else ()
        data = data.reshape(len(data), *window, -1)
    inputs = [op.inputs[0], len(tensors)]
    scale = _selected(weights.scale, left)
    tensors.append(replace(weights, shape=data.shape, scale=scale, data=data))
    if len(op.inputs) > 2 and op.inputs[2] >= 0:
        old = graph.tensors[op.inputs[2]]
        inputs.append(len(tensors))
        tensors.append(replace(old, shape=(len(bias[left]),), scale=_selected(old.scale, left),
                               data=bias[left].astype(np.int32)))
    elif bias[left].any():
        inputs.append(len(tensors))
        tensors.append(replace(weights, name=f"{op.name}/bias", shape=(len(bias[left]),),
                               dtype="int32", scale=(), data=bias[left].astype(np.int32)))
    return replace(op, inputs=tuple(inputs) if len(inputs) == 3 else (*inputs, *op.inputs[2:]))


def _selected(scale, left):
    """Scales of the channels that are left; one for all stays."""
    return scale if len(scale) <= 1 else tuple(np.array(scale)[left].tolist())
