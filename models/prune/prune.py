"""A pruned .tflite file from a dense one."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from models.graph import Graph
from models.prune.layers import Layer, prunable, quantize
from models.tflite_reader import parse
from models.tflite_writer import rewrite

Mask = Callable[[np.ndarray], np.ndarray]
Tune = Callable[[Graph, Mapping[str, np.ndarray]], Sequence[Layer]]


def prune(content: bytes, name: str, mask: Mask, tune: Tune | None = None) -> bytes:
    """Return a .tflite file with zeros where a mask says so.

    Parameters
    ----------
    content : bytes
        An int8 network.
    name : str
        What errors call it.
    mask : callable
        From real weights [out channels, positions] to bool of what stays: see
        `models.prune.masks`.
    tune : callable, optional
        From the Graph and the masks, by names of operators, to trained layers; without it the other
        weights stay as they are.

    Raises
    ------
    ModelError
        The file cannot be read, has too few layers, or has layers that cannot be trained.
    """
    graph = parse(content, name)
    masks = {layer.op.name: mask(layer.weights) for layer in prunable(graph)}
    layers = tune(graph, masks) if tune else [
        replace(layer, weights=layer.weights * masks[layer.op.name]) for layer in prunable(graph)]
    return rewrite(content, [each for layer in layers for each in quantize(graph, layer)], name)


def zeros(graph: Graph) -> float:
    """Part of the weights of the pruned layers that are zero, 0..1."""
    return float(np.mean(np.concatenate([layer.weights.ravel() for layer in prunable(graph)]) == 0))
