"""One point of the curve: a network's zeros, its accuracy, and its cycles on a simulated core."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from gen.compile import compile_model
from gen.targets import Target
from models.graph import Graph
from sim.accuracy import accuracy, golden_classifier
from sim.simulate import simulate
from sim.sparsity import sparsity


@dataclass(frozen=True, kw_only=True)
class Point:
    """What was measured of a network.

    Parameters
    ----------
    model, target : str
    zero_weights : float
        Part of the MACs whose weight is zero, 0..1.
    zero_rows : float
        Part of the MACs whose row of C weights is all zero on the target, 0..1; rows that fill up
        lanes included.
    accuracy : float
        Part of the images that the golden model gets right, 0..1.
    images : int
    cycles, dense_cycles : float
        Of the core, with and without passing over zeros; means over the inputs.
    inputs : int
    mismatches : int
        Values of the core that are not the golden model's, over all layers and inputs.
    """

    model: str
    target: str
    zero_weights: float
    zero_rows: float
    accuracy: float
    images: int
    cycles: float
    dense_cycles: float
    inputs: int
    mismatches: int


def measure(graph: Graph, target: Target, images: np.ndarray, labels: np.ndarray, inputs: int,
            stage: Callable[[str], None] = lambda text: None,
            progress: Callable[[Sequence], Iterable] = iter) -> Point:
    """Measure a classifier.

    Parameters
    ----------
    graph : Graph
    target : Target
    images : numpy.ndarray
        int8 [N, H, W, C], N at least 1.
    labels : numpy.ndarray
        [N].
    inputs : int
        Of the images, how many are simulated.
    stage : callable
        Told what begins.
    progress : callable
        Wraps the sequence of batches whose accuracy is measured.

    Raises
    ------
    ModelError
        The network does not fit the target.
    ToolError, DeviceError
        The simulator cannot be built, or the core did not finish.
    """
    few = images[:inputs]
    runs = [simulate(graph, compile_model(graph, target, skip=skip), few, stage=stage)
            for skip in ("auto", "off")]
    stage("accuracy")
    layers = [layer for layer in sparsity(graph, target, few) if layer.macs]
    return Point(
        model=graph.name, target=target.name, zero_weights=zero_weights(graph),
        zero_rows=float(np.average([layer.weight_rows for layer in layers],
                                   weights=[layer.macs for layer in layers])),
        accuracy=accuracy(golden_classifier(graph), images, labels, progress), images=len(images),
        cycles=float(np.mean(runs[0].cycles)), dense_cycles=float(np.mean(runs[1].cycles)),
        inputs=len(few), mismatches=sum(run.mismatches for run in runs))


def zero_weights(graph: Graph) -> float:
    """Part of a network's MACs whose weight is zero, 0..1."""
    work = [(graph.macs(op), graph.tensors[op.inputs[1]].data) for op in graph.ops
            if graph.macs(op)]
    return float(np.average([np.mean(data == 0) for _, data in work],
                            weights=[macs for macs, _ in work]))
