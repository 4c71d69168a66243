"""Fine-tuning: the weights that stay make up for those that went."""

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import torch

from models.checks import require
from models.fashion.data import augment
from models.graph import Graph
from models.prune.layers import Layer
from models.prune.network import Network

SMOOTHING = 0.05   # of labels
WARMUP = 0.05      # of all steps, until the rate is at its peak
OTHER = "prune without --data"


def fine_tune(graph: Graph, masks: Mapping[str, np.ndarray], images: np.ndarray,
              labels: np.ndarray, *, epochs: int, batch: int, rate: float, seed: int,
              progress: Callable[[Sequence[int]], Iterable[int]] = iter) -> tuple[Layer, ...]:
    """Train a pruned network: Adam, one cosine cycle, smoothed labels, fresh augmentation.

    Parameters
    ----------
    graph : Graph
        A classifier; its weights are where training starts.
    masks : dict of str to numpy.ndarray
        As `Network` takes them.
    images, labels : numpy.ndarray
        float32 [N, H, W, C] in 0..1 and uint8 [N].
    epochs, batch : int
        At least 1.
    rate : float
        Peak of the learning rate.
    seed : int
    progress : callable
        Wraps the sequence of steps; draws a bar, for example.

    Returns
    -------
    tuple of Layer

    Raises
    ------
    ModelError
        An operator cannot be trained, or the network is for other images or fewer classes.
    """
    want, classes = graph.tensors[graph.input].shape[1:], int(labels.max()) + 1
    require(want == images.shape[1:], f"{graph.name}: input", f"images of {images.shape[1:]}",
            want, OTHER)
    require(graph.tensors[graph.output].size >= classes, f"{graph.name}: outputs",
            f"at least {classes} classes", graph.tensors[graph.output].size, OTHER)
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    network = Network(graph, masks)
    steps = -(-len(images) // batch)
    optimizer = torch.optim.Adam(network.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, rate, total_steps=epochs * steps, pct_start=WARMUP, cycle_momentum=False)
    for step in progress(range(epochs * steps)):
        begin = step % steps * batch
        if not begin:
            order = rng.permutation(len(images))
            fresh, wanted = augment(images[order], rng), labels[order].astype(np.int64)
        loss = torch.nn.functional.cross_entropy(
            network(torch.from_numpy(fresh[begin:begin + batch])),
            torch.from_numpy(wanted[begin:begin + batch]), label_smoothing=SMOOTHING)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return network.layers()
