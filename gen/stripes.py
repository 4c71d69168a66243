"""Maps that do not fit: a chain of layers, computed in stripes of its last output's rows.

For each stripe every layer of the chain computes the rows that the next one needs; those at the
border of two stripes, the halo, are computed twice. The chain's input and output are whole in
memory, the rows between its layers lie in turns at both ends of one scratch tensor. Rows outside
a map stay padding: a stripe's buffer holds every row of the map that its windows see.

Source: Lin, Chen, Cai, Gan, Han, "MCUNetV2: Memory-Efficient Patch-based Inference for Tiny Deep
Learning", NeurIPS 2021.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from gen.allocate import Buffer, demand, find_buffers
from gen.cycles import descriptor_cycles, least_cycles
from gen.draft import Draft, lay_out, program_lines
from gen.lower import lower
from gen.lower.steps import Layer, Lowered, Step, Storage, choose_split, choose_turns
from gen.overlap import WALKS, find_skews
from gen.targets import FitError, Target
from hw.config import CoreConfig
from hw.layout import DESCRIPTOR, Opcode
from models.graph import Graph

TRIES = 20             # chains laid out before giving up
STEP_CYCLES = 100      # about what a descriptor costs besides its passes


@dataclass(frozen=True, kw_only=True)
class Chain:
    """Layers ``first .. last`` of a network, to be computed in stripes.

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


def striped_draft(graph: Graph, target: Target, share: int = 0) -> Draft:
    """The draft that fits with the least work done twice; ``share`` as in `gen.draft.draft`.

    Raises
    ------
    FitError
        None was found.
    """
    config, lowered = target.config, lower(graph, target.config)
    whole = lay_out(lowered, graph.input, config, share)
    skews = find_skews(lowered.layers, whole.plan, config)
    buffers = find_buffers(lowered, graph.input, config, skews)
    homes = 0 if share else whole.plan.home_lines
    able = [chain for chain in chains(lowered, config)
            if homes + least_lines(lowered, chain, buffers, config) <= config.act_lines]
    able.sort(key=lambda chain: cost(lowered, chain, config))
    for chain in able[:TRIES]:
        found = lay_out(stripe(lowered, chain, config), graph.input, config, share)
        if found.lines <= config.act_lines:
            return replace(found, whole_cycles=_whole_cycles(whole, chain, config))
    raise FitError(f"{graph.name} must fit {target.name} in stripes of rows, not exceed it; use a "
                   f"larger target")


def chains(lowered: Lowered, config: CoreConfig) -> Iterator[Chain]:
    """Every chain of two layers or more in a row, in any useful number of stripes."""
    for layers in _longest(lowered, config):
        height = lowered.storages[lowered.layers[layers[-1]].output].height
        for count in sorted({-(-height // rows) for rows in range(1, height)}):
            whole = cut(lowered, layers, count, config)
            for begin in range(len(layers) - 1):
                yield Chain(layers=layers[begin:],
                            rows=tuple(rows[begin:] for rows in whole.rows))


def _longest(lowered, config):
    """For each layer the longest chain that ends with it."""
    readers = Counter(tensor for layer in lowered.layers for tensor in layer.inputs)
    readers[lowered.roots[lowered.output]] += 1
    first, before = 0, None     # output of the layer before, if a chain may go on from there
    for last, layer in enumerate(lowered.layers):
        if layer.inputs != (before,):
            first = last
        before = None
        if walks_rows(layer, lowered.storages, config):
            yield range(first, last + 1)
            if readers[layer.output] == 1:
                before = layer.output


def walks_rows(layer: Layer, storages: dict[int, Storage], config: CoreConfig) -> bool:
    """Whether a layer's steps each compute rows of its output from rows of its only input."""
    if len(layer.inputs) != 1 or layer.scratch is not None or layer.in_place is not None:
        return False
    source, output = storages[layer.inputs[0]], storages[layer.output]
    for step in layer.steps:
        f = step.fields
        if step.op not in WALKS or step.residual is not None or not f["stride_h"] \
                or f["row_bytes"] != source.row_bytes \
                or _origin(step, storages) + f["in_h"] != source.height \
                or f.get("out_row", 0) * config.V != output.row_bytes:
            return False
    return True


def cut(lowered: Lowered, layers: range, count: int, config: CoreConfig) -> Chain:
    """A chain in stripes whose last rows are as many or one more."""
    found, storages = [], lowered.storages
    height = storages[lowered.layers[layers[-1]].output].height
    for begin, end in pairwise(height * n // count for n in range(count + 1)):
        rows = [range(begin, end)]
        for index in reversed(layers):
            rows.insert(0, needed(lowered.layers[index], rows[0], storages, config))
        found.append(tuple(rows))
    return Chain(layers=layers, rows=tuple(found))


def needed(layer: Layer, rows: range, storages: dict[int, Storage], config: CoreConfig) -> range:
    """Rows of a layer's input that some rows of its output see; at least one."""
    begin, end, height = [], [], storages[layer.inputs[0]].height
    for step in layer.steps:
        mine = _mine(step, rows, storages, config)
        if mine:
            first = _window(step, mine.start, storages, config)
            last = _window(step, mine.stop - 1, storages, config)
            begin.append(min(max(first, 0), height - 1))
            end.append(max(begin[-1] + 1, min(last + step.fields["kernel_h"], height)))
    return range(min(begin), max(end))


def _top(step, storages, config):
    """Row of the output with which a step begins."""
    return step.out_offset * config.V // storages[step.output].row_bytes


def _mine(step, rows, storages, config):
    """Those of some rows of the output that a step computes."""
    top = _top(step, storages, config)
    return range(max(rows.start, top), min(rows.stop, top + step.fields["out_h"]))


def _origin(step, storages):
    """Row of the input that the step's fields call 0."""
    return (step.in_offset // storages[step.source].row_bytes
            - step.fields.get("y_start", 0))


def _window(step, row, storages, config):
    """Row of the input with which the windows of a row of the output begin."""
    return (step.in_offset // storages[step.source].row_bytes
            + (row - _top(step, storages, config)) * step.fields["stride_h"])


def stripe(lowered: Lowered, chain: Chain, config: CoreConfig) -> Lowered:
    """The network with a chain as one layer, stripe by stripe."""
    storages = lowered.storages
    layers = [lowered.layers[index] for index in chain.layers]
    lines, scratch = scratch_lines(lowered, chain, config), min(0, *storages) - 1
    steps = []
    for rows in chain.rows:
        for number, layer in enumerate(layers):
            first, last = number == 0, layer is layers[-1]
            seen = range(storages[layer.inputs[0]].height) if first else rows[number]
            begin = 0 if last else rows[number + 1].start
            for step in layer.steps:
                mine = _mine(step, rows[number + 1], storages, config)
                if not mine:
                    continue
                part = _part(step, mine, seen, begin, storages, config)
                if not first:
                    line = _line(lowered, chain, number, lines, config)
                    part = replace(part, source=scratch,
                                   in_offset=part.in_offset + line * config.V)
                if not last:
                    line = _line(lowered, chain, number + 1, lines, config)
                    part = replace(part, output=scratch, out_offset=part.out_offset + line)
                steps.append(part)
    again = sum(layer.macs * chain.again(number) // storages[layer.output].height
                for number, layer in enumerate(layers))
    merged = replace(
        layers[-1], name="+".join(layer.name for layer in layers),
        ops=tuple(op for layer in layers for op in layer.ops),
        kind="+".join(layer.kind for layer in layers), inputs=layers[0].inputs,
        macs=sum(layer.macs for layer in layers), steps=tuple(steps), scratch=scratch,
        fused=tuple(tensor for layer in layers[:-1] for tensor in layer.tensors),
        stripes=len(chain.rows), macs_again=again)
    whole = Storage(height=1, width=lines, channels=config.V, pixel_bytes=config.V)
    first, end = chain.layers.start, chain.layers.stop
    return replace(lowered, storages=storages | {scratch: whole},
                   layers=(*lowered.layers[:first], merged, *lowered.layers[end:]))


def _part(step, mine, seen, begin, storages, config) -> Step:
    """Some rows of a step.

    Parameters
    ----------
    mine : range
        Of the output.
    seen : range
        Rows of the input that lie in its buffer.
    begin : int
        Row of the output with which its buffer begins.
    """
    f, size = step.fields, storages[step.source].row_bytes
    lines = storages[step.output].row_bytes // config.V
    row = _window(step, mine.start, storages, config) - seen.start
    skipped = min(max(row, 0), len(seen) - 1)       # y_start has few bits
    split = (choose_turns(config, len(mine), step.groups) if f.get("strip") else
             choose_split(config, f["out_w"], len(mine), step.groups))
    fields = f | {"out_h": len(mine), "y_step": f["y_step"] if len(mine) > 1 else 0,
                  "y_start": min(row - skipped, 1), "in_h": len(seen) - skipped, "split": split}
    return replace(step, fields=fields, in_offset=row * size + step.in_offset % size,
                   out_offset=(mine.start - begin) * lines + step.out_offset % lines)


def scratch_lines(lowered: Lowered, chain: Chain, config: CoreConfig) -> int:
    """Lines that hold a stripe of a layer's input and of its output, at opposite ends."""
    lines = [_lines(lowered, chain, number, config) for number in range(1, len(chain.layers))]
    return max(map(sum, pairwise([*lines, 0])))


def _lines(lowered, chain, number, config):
    """Lines of the stripes of a layer's input, by its place in the chain."""
    tensor = lowered.layers[chain.layers[number]].inputs[0]
    return chain.most(number) * lowered.storages[tensor].row_bytes // config.V


def _line(lowered, chain, number, lines, config):
    """First line of these in the scratch tensor."""
    return 0 if number % 2 else lines - _lines(lowered, chain, number, config)


def least_lines(lowered: Lowered, chain: Chain, buffers: Sequence[Buffer],
                config: CoreConfig) -> int:
    """Lines of activations and program that a chain in stripes cannot do without.

    Parameters
    ----------
    buffers : sequence of Buffer
        Of the network without stripes.
    """
    first, last = chain.layers[0], chain.layers[-1]
    inner = {lowered.layers[index].output for index in chain.layers[:-1]}
    during = sum(buffer.lines for buffer in buffers if buffer.first <= last
                 and buffer.last >= first and not inner & set(buffer.tensors))
    others = (demand(buffers, buffer.first) for buffer in buffers
              if buffer.first not in chain.layers)
    steps = sum(len(layer.steps) for layer in lowered.layers)
    steps += (len(chain.rows) - 1) * len(chain.layers)
    return (max(during + scratch_lines(lowered, chain, config), *others)
            + program_lines(config, steps))


def cost(lowered: Lowered, chain: Chain, config: CoreConfig) -> float:
    """About the cycles that stripes add."""
    total = 0.0
    for number, index in enumerate(chain.layers):
        layer = lowered.layers[index]
        height = lowered.storages[layer.output].height
        more = chain.computed(number) / height - 1
        for step in layer.steps:
            fields = step.fields | {"op": step.op, "groups": step.groups}
            each = STEP_CYCLES
            if not config.host_stores:      # copied again
                each += (step.weights.nbytes + step.params.nbytes) // config.V
            total += more * least_cycles(config, fields) + (len(chain.rows) - 1) * each
    return total


def _whole_cycles(whole, chain, config):
    """Predicted cycles of a chain's layers in a draft without stripes, but for pages."""
    total = 0
    for command in whole.plan.commands:
        if command.layer in chain.layers and command.fields["op"] != Opcode.WAIT:
            start = command.step.in_offset if command.step is not None else 0
            fields = dict.fromkeys(DESCRIPTOR, 0) | command.fields | {"in_start": start}
            total += descriptor_cycles(config, fields).total
    return total
