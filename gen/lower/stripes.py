"""A chain of layers as one layer, computed in stripes of its last output's rows.

For each stripe every layer of the chain computes the rows that the next one needs; those at the
border of two stripes, the halo, are computed twice. The chain's input and output are whole in
memory, the rows between its layers lie in turns at both ends of one scratch tensor. Rows outside
a map stay padding: a stripe's buffer holds every row of the map that its windows see.

Source: Lin, Chen, Cai, Gan, Han, "MCUNetV2: Memory-Efficient Patch-based Inference for Tiny Deep
Learning", NeurIPS 2021.
"""

from dataclasses import dataclass, replace
from itertools import pairwise

from gen.lower.steps import (
    WALKS,
    Layer,
    Lowered,
    Step,
    Storage,
    choose_split,
    choose_turns,
)
from hw.config import CoreConfig


@dataclass(frozen=True, kw_only=True)
class Chain:
    """Layers of a network, each of which reads the one before, to be computed in stripes.

    Parameters
    ----------
    layers : range
    rows : tuple of tuple of range
        Of each stripe: the rows of the chain's input that it reads, then those that each layer
        computes.
    """

    layers: range
    rows: tuple[tuple[range, ...], ...]

    def most(self, number: int) -> int:
        """Rows of the largest stripe of a layer's input, by its place in the chain."""
        return max(len(rows[number]) for rows in self.rows)

    def computed(self, number: int) -> int:
        """Rows that a layer computes in all."""
        return sum(len(rows[number + 1]) for rows in self.rows)

    def again(self, number: int) -> int:
        """Rows that a layer computes besides the first time."""
        return self.computed(number) - len({row for rows in self.rows for row in rows[number + 1]})


@dataclass(frozen=True, kw_only=True)
class Walk:
    """A step that goes through its input row by row.

    Parameters
    ----------
    step : Step
    row_bytes : int
        Of its input.
    row_lines : int
        Of its output.
    """

    step: Step
    row_bytes: int
    row_lines: int

    @classmethod
    def of(cls, step: Step, layer: Layer, storages: dict[int, Storage],
           config: CoreConfig) -> "Walk":
        """A step of a layer that `walks_rows`."""
        return cls(step=step, row_bytes=storages[layer.inputs[0]].row_bytes,
                   row_lines=storages[layer.output].row_bytes // config.V)

    @property
    def top(self) -> int:
        """First row of the output that it computes."""
        return self.step.out_offset // self.row_lines

    def window(self, row: int) -> int:
        """Row of the input, or above it, with which the windows of a row of the output begin."""
        first = self.step.in_offset // self.row_bytes
        return first + (row - self.top) * self.step.fields["stride_h"]

    def among(self, rows: range) -> range:
        """Those of some rows of the output that it computes."""
        end = self.top + self.step.fields["out_h"]
        return range(max(rows.start, self.top), min(rows.stop, end))

    def part(self, rows: range, seen: range, kept: int, config: CoreConfig) -> Step:
        """The step that computes some of its rows.

        Parameters
        ----------
        rows : range
            Of the output.
        seen : range
            Rows of the input that lie in its buffer.
        kept : int
            Row of the output with which its buffer begins.
        """
        step, f = self.step, self.step.fields
        first = self.window(rows.start) - seen.start
        skipped = min(max(first, 0), len(seen) - 1)   # y_start has few bits; below all rows it is 1
        split = (choose_turns(config, len(rows), step.groups) if f.get("strip") else
                 choose_split(config, f["out_w"], len(rows), step.groups))
        fields = f | {"out_h": len(rows), "y_step": f["y_step"] if len(rows) > 1 else 0,
                      "y_start": min(first - skipped, 1), "in_h": len(seen) - skipped,
                      "split": split}
        column, line = step.in_offset % self.row_bytes, step.out_offset % self.row_lines
        return replace(step, fields=fields,
                       in_offset=min(first, skipped) * self.row_bytes + column,
                       out_offset=(rows.start - kept) * self.row_lines + line)


def walks_rows(layer: Layer, storages: dict[int, Storage], config: CoreConfig) -> bool:
    """Whether a layer's steps each compute rows of its output from rows of its only input."""
    if len(layer.inputs) != 1 or layer.scratch is not None or layer.in_place is not None:
        return False
    source, output = storages[layer.inputs[0]], storages[layer.output]
    for step in layer.steps:
        f = step.fields
        if step.op not in WALKS or step.residual is not None or not f["stride_h"]:
            return False
        first = step.in_offset // source.row_bytes - f.get("y_start", 0)
        if f["row_bytes"] != source.row_bytes or first + f["in_h"] != source.height \
                or f.get("out_row", 0) * config.V != output.row_bytes:
            return False
    return True


def cut(lowered: Lowered, layers: range, count: int, config: CoreConfig) -> Chain:
    """A chain in stripes whose last rows are as many, or one more in some."""
    found = []
    height = lowered.storages[lowered.layers[layers[-1]].output].height
    for begin, end in pairwise(height * n // count for n in range(count + 1)):
        rows = [range(begin, end)]
        for index in reversed(layers):
            rows.insert(0, needed(lowered.layers[index], rows[0], lowered.storages, config))
        found.append(tuple(rows))
    return Chain(layers=layers, rows=tuple(found))


def needed(layer: Layer, rows: range, storages: dict[int, Storage], config: CoreConfig) -> range:
    """Rows of a layer's input that some rows of its output see; at least one."""
    height = storages[layer.inputs[0]].height
    begins, ends = [], []
    for step in layer.steps:
        walk = Walk.of(step, layer, storages, config)
        mine = walk.among(rows)
        if mine:
            begins.append(min(max(walk.window(mine[0]), 0), height - 1))
            end = walk.window(mine[-1]) + step.fields["kernel_h"]
            ends.append(max(begins[-1] + 1, min(end, height)))
    return range(min(begins), max(ends))


def stripe(lowered: Lowered, chain: Chain, config: CoreConfig) -> Lowered:
    """The network with a chain as one layer, stripe by stripe."""
    layers = [lowered.layers[index] for index in chain.layers]
    storages, lines = lowered.storages, scratch_lines(lowered, chain, config)
    scratch, steps = min(0, *storages) - 1, []
    for rows in chain.rows:
        for number, layer in enumerate(layers):
            seen, kept, moved = rows[number], rows[number + 1].start, {}
            if number == 0:
                seen = range(storages[layer.inputs[0]].height)
            else:
                moved["source"] = scratch
            if number == len(layers) - 1:
                kept = 0
            else:
                moved["output"] = scratch
            read = _line(lowered, chain, number, lines, config)
            written = _line(lowered, chain, number + 1, lines, config)
            for step in layer.steps:
                walk = Walk.of(step, layer, storages, config)
                mine = walk.among(rows[number + 1])
                if mine:
                    part = walk.part(mine, seen, kept, config)
                    steps.append(replace(part, in_offset=part.in_offset + read * config.V,
                                         out_offset=part.out_offset + written, **moved))
    merged = replace(
        layers[-1], name="+".join(layer.name for layer in layers),
        ops=tuple(op for layer in layers for op in layer.ops),
        kind="+".join(layer.kind for layer in layers), inputs=layers[0].inputs,
        macs=sum(layer.macs for layer in layers), steps=tuple(steps), scratch=scratch,
        fused=tuple(tensor for layer in layers[:-1] for tensor in layer.tensors),
        stripes=len(chain.rows), macs_again=sum(
            layer.macs * chain.again(number) // storages[layer.output].height
            for number, layer in enumerate(layers)))
    whole = Storage(height=1, width=lines, channels=config.V, pixel_bytes=config.V)
    first, end = chain.layers.start, chain.layers.stop
    return replace(lowered, storages=storages | {scratch: whole},
                   layers=(*lowered.layers[:first], merged, *lowered.layers[end:]))


def scratch_lines(lowered: Lowered, chain: Chain, config: CoreConfig) -> int:
    """Lines that hold a stripe of a layer's input and of its output, at opposite ends."""
    lines = [_lines(lowered, chain, number, config) for number in range(1, len(chain.layers))]
    return max(map(sum, pairwise([*lines, 0])))


def _lines(lowered, chain, number, config):
    """Lines of the stripes of a layer's input, by its place in the chain."""
    tensor = lowered.layers[chain.layers[number]].inputs[0]
    return chain.most(number) * lowered.storages[tensor].row_bytes // config.V


def _line(lowered, chain, number, lines, config):
    """First line of these in the scratch tensor; the chain's ends are tensors of their own."""
    if number in (0, len(chain.layers)) or number % 2:
        return 0
    return lines - _lines(lowered, chain, number, config)
