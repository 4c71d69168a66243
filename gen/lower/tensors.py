"""Where activations lie: roots behind reshapes, shapes as pixels, and the input's layout."""

from math import prod

from gen.lower.steps import Storage
from hw.config import CoreConfig, align_up
from models.graph import Graph, ModelError, Op


def pixel_shape(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Height, width and channels of an activation; without four dimensions, pixels in one row."""
    if len(shape) == 4 and shape[0] == 1:
        return shape[1], shape[2], shape[3]
    return 1, prod(shape[:-1]), shape[-1]


def find_roots(graph: Graph) -> dict[int, int]:
    """Each activation and the tensor whose bytes it shares: reshapes copy nothing."""
    roots = {graph.input: graph.input}
    for op in graph.ops:
        for tensor in op.outputs:
            roots[tensor] = roots[op.inputs[0]] if op.kind == "RESHAPE" else tensor
    return roots


def aliases(roots: dict[int, int], root: int) -> tuple[int, ...]:
    """Tensors that lie in a root's memory."""
    return tuple(tensor for tensor, owner in roots.items() if owner == root)


def core_storage(graph: Graph, tensor: int, config: CoreConfig) -> Storage:
    """The layout of a tensor that the core writes: a pixel takes whole lines."""
    height, width, channels = pixel_shape(graph.tensors[tensor].shape)
    return Storage(height=height, width=width, channels=channels,
                   pixel_bytes=align_up(channels, config.V))


def view(storage: Storage, shape: tuple[int, ...], op: Op, config: CoreConfig) -> Storage:
    """The same bytes seen in another shape.

    Raises
    ------
    ModelError
        The padding between pixels would have to move.
    """
    height, width, channels = pixel_shape(shape)
    if any(storage.margin):      # all its readers see it as it is
        assert (height, width + sum(storage.margin), channels) == (
            storage.height, storage.width, storage.channels)
        return storage
    if channels == storage.channels:
        return Storage(height=height, width=width, channels=channels,
                       pixel_bytes=storage.pixel_bytes)
    if storage.contiguous:
        return Storage(height=height, width=width, channels=channels, pixel_bytes=channels)
    raise ModelError(
        f"{op.name} RESHAPE before it must keep {storage.channels} channels, which take "
        f"{storage.pixel_bytes} bytes a pixel, not make them {channels}; use channels that are a "
        f"multiple of {config.V}, or flatten only before FULLY_CONNECTED")
