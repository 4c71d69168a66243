"""Lines of the activation memory: program and homes below, activations by liveness above."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random

from gen.lower.steps import Lowered
from hw.config import CoreConfig

TWIN = -(1 << 30)
TRIES = 300  # random orders tried when the simple ones leave gaps


@dataclass(frozen=True, kw_only=True)
class Buffer:
    """Memory that one tensor, or several that overwrite each other in place, need.

    Parameters
    ----------
    tensors : tuple of int
        Root tensors, in the order in which they are written.
    lines : int
    first, last : int
        Layers during which it is live, both included; -1 is before the first layer.
    over : int or None
        The tensor from which its first one is computed, if it may overlap that when that dies.
    skew : int
        Lines by which it must then begin below.
    """

    tensors: tuple[int, ...]
    lines: int
    first: int
    last: int
    over: int | None = None
    skew: int = 0

    def meets(self, other: "Buffer") -> bool:
        """Whether both are live at some time."""
        return self.first <= other.last and other.first <= self.last

    def gap(self, upper: "Buffer") -> int:
        """Lines from its first one to the first one of a buffer above that it meets, at least."""
        follows = self.over in upper.tensors and upper.last == self.first
        return min(self.skew, self.lines) if follows else self.lines


@dataclass(frozen=True, kw_only=True)
class Placed:
    """Buffers with their lines.

    Parameters
    ----------
    buffers : tuple of (Buffer, int)
        Each with its first line, counted from the start of the activations.
    lines : int
        Lines that all of them take.
    """

    buffers: tuple[tuple[Buffer, int], ...]
    lines: int

    def line(self, tensor: int) -> int:
        """First line of a root tensor."""
        return next(line for buffer, line in self.buffers if tensor in buffer.tensors)

    @property
    def overlapped(self) -> frozenset[int]:
        """Root tensors that lie partly over the tensor from which they are computed."""
        return frozenset(
            low.tensors[0] for low, line in self.buffers for upper, above in self.buffers
            if low.over in upper.tensors and line <= above < line + low.lines)


def find_buffers(lowered: Lowered, graph_input: int, config: CoreConfig,
                 skews: Mapping[int, int]) -> tuple[Buffer, ...]:
    """Buffers of a lowered network with the layers during which they live.

    Parameters
    ----------
    skews : mapping of int to int
        By root tensor, what `gen.overlap.find_skews` returned.

    Returns
    -------
    tuple of Buffer
        Where ``lowered.double``, the network's input and output are live all the time, and so are
        second ones of them, whose tensors are `twin`.
    """
    layers, output = lowered.layers, lowered.roots[lowered.output]
    first, last = {graph_input: -1}, {graph_input: -1}
    chains: dict[int, list[int]] = {graph_input: [graph_input]}
    over = {layer.output: layer.inputs[0] for layer in layers if layer.output in skews}
    for i, layer in enumerate(layers):
        first[layer.output] = last[layer.output] = i
        for tensor in layer.inputs:
            last[tensor] = i
        if layer.scratch is not None:
            first[layer.scratch] = last[layer.scratch] = i
            chains[layer.scratch] = [layer.scratch]
        if layer.in_place is None:
            chains[layer.output] = [layer.output]
        else:
            head = next(head for head, chain in chains.items() if layer.in_place in chain)
            chains[head].append(layer.output)
    last[output] = len(layers)
    buffers = tuple(Buffer(tensors=tuple(chain), first=first[chain[0]],
                           last=max(last[tensor] for tensor in chain),
                           lines=max(lowered.storages[tensor].lines(config) for tensor in chain),
                           over=over.get(chain[0]), skew=skews.get(chain[0], 0))
                    for chain in chains.values())
    return _doubled(buffers, {graph_input, output}, len(layers)) if lowered.double else buffers


def twin(tensor: int) -> int:
    """What stands for the second place of a tensor, and back; scratch tensors are below 0, too."""
    return TWIN - tensor


def _doubled(buffers, ends, layers):
    """Buffers of which those with the network's ends are there twice, all the time."""
    inner = [buffer for buffer in buffers if not ends & set(buffer.tensors)]
    outer = [replace(buffer, first=-1, last=layers, over=None)
             for buffer in buffers if ends & set(buffer.tensors)]
    twins = [replace(buffer, tensors=tuple(map(twin, buffer.tensors))) for buffer in outer]
    return (*inner, *outer, *twins)


def peak(buffers: Sequence[Buffer]) -> int:
    """Lines that are live at the busiest time: no placement needs fewer."""
    return max((demand(buffers, buffer.first) for buffer in buffers), default=0)


def demand(buffers: Sequence[Buffer], time: int) -> int:
    """Lines that are live during a layer."""
    live = [buffer for buffer in buffers if buffer.first <= time <= buffer.last]
    shared = (min(low.lines - low.gap(upper), upper.lines)
              for low in live for upper in live if low.over in upper.tensors)
    return sum(buffer.lines for buffer in live) - max(shared, default=0)


def place(buffers: Sequence[Buffer]) -> Placed:
    """Place buffers so that those live together never overlap, in few lines.

    Only a buffer and the one from which it is computed may, by `Buffer.gap`.
    Each order of placing takes for every buffer the lowest gap; the best of several orders
    wins, and a random search (always the same) goes on until the peak is reached or given up.
    """
    bound = peak(buffers)
    best: Placed | None = None
    for order in _orders(buffers):
        found = _first_fit(order)
        if best is None or found.lines < best.lines:
            best = found
        if best.lines == bound:
            break
    assert best is not None  # there is at least one order
    return best


def _orders(buffers: Sequence[Buffer]) -> Iterable[Sequence[Buffer]]:
    keys = [lambda b: (-b.lines, b.first), lambda b: (b.first, -b.lines),
            lambda b: (b.first - b.last, -b.lines), lambda b: -b.lines * (b.last - b.first + 1)]
    if any(buffer.over is not None for buffer in buffers):  # an output before its input, below it
        keys += [lambda b: -b.first, lambda b: (-b.lines, -b.first)]
    for key in keys:
        yield sorted(buffers, key=key)
    random = Random(0)
    for _ in range(TRIES):
        yield random.sample(buffers, len(buffers))


def _first_fit(order: Sequence[Buffer]) -> Placed:
    placed: list[tuple[Buffer, int]] = []
    for buffer in order:
        taken = sorted((begin - buffer.gap(other), begin + other.gap(buffer))
                       for other, begin in placed if other.meets(buffer))
        line = 0
        for low, high in taken:     # it may begin at low or below, at high or above
            if line <= low:
                break
            line = max(line, high)
        placed.append((buffer, line))
    return Placed(buffers=tuple(placed),
                  lines=max(line + buffer.lines for buffer, line in placed))
