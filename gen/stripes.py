"""Maps that do not fit: which chain of layers to compute in stripes, and in how many.

`gen.lower.stripes` says what a chain is and how it becomes one layer.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace

from gen.allocate import Buffer, demand, find_buffers
from gen.cycles import descriptor_cycles, least_cycles
from gen.draft import Draft, first_paging, lay_out, least_homes, program_lines
from gen.lower.steps import Lowered
from gen.lower.stripes import Chain, cut, scratch_lines, stripe, walks_rows
from gen.overlap import find_skews
from gen.pages import Paging, make_plan
from gen.targets import FitError, Target
from hw.config import CoreConfig
from hw.layout import DESCRIPTOR, Opcode, Space
from models.graph import Graph

STEP_CYCLES = 100   # about what a descriptor costs besides its passes


def striped_draft(graph: Graph, target: Target, lowered: Lowered,
                  paging: Paging | None = None) -> Draft:
    """The draft that fits with the least work done twice; ``paging`` as in `gen.draft.draft`.

    Raises
    ------
    FitError
        None was found.
    """
    config = target.config
    plan = make_plan(lowered.layers, config, first_paging(config, paging))
    skews = find_skews(lowered.layers, plan, config)
    buffers = find_buffers(lowered, graph.input, config, skews)
    most = config.act_lines - (least_homes(plan) if paging else plan.home_lines)
    able = [(cost(lowered, chain, config), least, number, chain)
            for number, chain in enumerate(chains(lowered, config))
            if (least := least_lines(lowered, chain, buffers, config)) <= most]
    for _, least, _, chain in sorted(able):
        if least > most:
            continue
        with suppress(FitError):
            found = lay_out(stripe(lowered, chain, config), graph.input, config, paging)
            if found.lines <= config.act_lines:
                return replace(found, whole_cycles=_whole_cycles(plan, chain, config))
        most = least - 1      # what needs more would hardly fit either
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


def _whole_cycles(plan, chain, config):
    """Predicted cycles of a chain's layers in a plan without stripes, but for pages."""
    total = 0
    for command in plan.commands:
        if command.layer in chain.layers and command.fields["op"] != Opcode.WAIT:
            start = command.step.in_offset if command.step is not None else 0
            fields = dict.fromkeys(DESCRIPTOR, 0) | command.fields | {"in_start": start}
            masks = plan.sections.get(Space.MASK, b"")
            total += descriptor_cycles(config, fields, masks=masks)[0].total
    return total
