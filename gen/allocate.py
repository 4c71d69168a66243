"""Lines of the activation memory: program and homes below, activations by liveness above."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from random import Random

from gen.lower.steps import Lowered
from hw.config import CoreConfig

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
    """

    tensors: tuple[int, ...]
    lines: int
    first: int
    last: int

    def meets(self, other: "Buffer") -> bool:
        """Whether both are live at some time."""
        return self.first <= other.last and other.first <= self.last


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


def find_buffers(lowered: Lowered, graph_input: int, config: CoreConfig) -> tuple[Buffer, ...]:
    """Buffers of a lowered network with the layers during which they live."""
    layers, output = lowered.layers, lowered.roots[lowered.output]
    first, last = {graph_input: -1}, {graph_input: -1}
    chains: dict[int, list[int]] = {graph_input: [graph_input]}
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
    return tuple(Buffer(tensors=tuple(chain), first=first[chain[0]],
                        last=max(last[tensor] for tensor in chain),
                        lines=max(lowered.storages[tensor].lines(config) for tensor in chain))
                 for chain in chains.values())


def peak(buffers: Sequence[Buffer]) -> int:
    """Lines that are live at the busiest time: no placement needs fewer."""
    times = {buffer.first for buffer in buffers}
    return max(sum(buffer.lines for buffer in buffers if buffer.first <= time <= buffer.last)
               for time in times)


def place(buffers: Sequence[Buffer]) -> Placed:
    """Place buffers so that those live together never overlap, in few lines.

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
    keys = (lambda b: (-b.lines, b.first), lambda b: (b.first, -b.lines),
            lambda b: (b.first - b.last, -b.lines), lambda b: -b.lines * (b.last - b.first + 1))
    for key in keys:
        yield sorted(buffers, key=key)
    random = Random(0)
    for _ in range(TRIES):
        yield random.sample(buffers, len(buffers))


def _first_fit(order: Sequence[Buffer]) -> Placed:
    placed: list[tuple[Buffer, int]] = []
    for buffer in order:
        line = 0
        for other, begin in sorted((p for p in placed if p[0].meets(buffer)), key=lambda p: p[1]):
            if begin - line >= buffer.lines:
                break
            line = max(line, begin + other.lines)
        placed.append((buffer, line))
    return Placed(buffers=tuple(placed),
                  lines=max(line + buffer.lines for buffer, line in placed))
