"""From a graph to a program: folding, support, lowering, pages, placement, image."""

from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from itertools import product

from gen.cycles import STORE, least_cycles, predict
from gen.draft import Draft, draft, require_fit
from gen.fit import fit_memories
from gen.fold import Folded, fold_channels
from gen.image import LayerInfo, Placement, Program, Section
from gen.lower import lower
from gen.lower.steps import Lowered, Storage
from gen.masks import kept_rows
from gen.pages import Command, Paging, groups_needed, rows_needed
from gen.skip import skipping
from gen.store import Store
from gen.stream import stream
from gen.stripes import striped_draft
from gen.support import require_supported
from gen.targets import FitError, Target
from hw.config import PROGRAM_VERSION, align_up, slot_bytes
from hw.layout import DESCRIPTOR_WORDS, MAGIC, Opcode, Space, encode
from models.graph import Graph, ModelError

PROGRAM_LINE = 0
# What is tried in turn: parts of the memories that never rotate; 1/share of the rest for a page.
KEPT = (Fraction(0), Fraction(1, 2), Fraction(7, 8))
SHARES = (1, 2, 3, 4)


def compile_model(graph: Graph, target: Target, fit: bool = False, fold: bool = True,
                  store: Store = STORE, skip: str = "auto") -> Program:
    """Compile a network for a target.

    Parameters
    ----------
    graph : Graph
        As `models.tflite_reader.load` returns it.
    target : Target
    fit : bool
        Take memory depths that suit the network (`gen.fit.fit_memories`).
    fold : bool
        Leave out channels that need not be computed (`gen.fold.fold_channels`).
    store : Store
        From which pages come if the core's memories are too small.
    skip : str
        See `gen.skip.skipping`.

    Raises
    ------
    ModelError
        An operator is not supported.
    ConfigError
        The core cannot skip as asked.
    FitError
        The network exceeds the target's memories.
    """
    folded = fold_channels(graph) if fold else Folded(graph=graph)
    graph = folded.graph
    if fit:
        target = fit_memories(target, graph, skip)
    program = best_program(graph, target, store, skip)
    return replace(program, folded=folded.tensors, folded_macs=folded.macs)


def best_program(graph: Graph, target: Target, store: Store, skip: str = "auto") -> Program:
    """Everything in the core's memories if it fits; else with pages; else in stripes.

    Of several ways that fit, the one of the fewest cycles.

    Raises
    ------
    FitError
        It does not fit in any way.
    """
    require_supported(graph, target.config)
    lowered = skipping(lower(graph, target.config), target.config, skip)
    try:
        return whole_program(graph, target, store, lowered)
    except FitError:
        fitting = []
        for paging in (None, *_pagings(target)):
            with suppress(FitError):
                found = striped_draft(graph, target, lowered, paging)
                fitting.append(build(graph, found, target))
        if not fitting:
            raise
    return _fastest(fitting, store)


def whole_program(graph: Graph, target: Target, store: Store, lowered: Lowered) -> Program:
    """Whole maps, with pages if need be.

    Raises
    ------
    FitError
        It does not fit either way.
    """
    try:
        found = draft(graph, target.config, lowered=lowered)
        require_fit(graph, found, target)
    except FitError:
        if not target.config.pages:
            raise
    else:
        return build(graph, found, target)
    fitting, direct = [], target.config.host_stores
    for tables in (False, True)[:1 + direct]:     # as pages only if their homes do not fit
        for kept, share in product(KEPT if direct else KEPT[:1], SHARES):
            with suppress(FitError):
                paging = Paging(share=share, kept=kept, tables=tables)
                fitting.append(paged_program(graph, target, paging, lowered))
        if fitting:
            return _fastest(fitting, store)
    return paged_program(graph, target, Paging(share=1, tables=direct), lowered)  # says why not


def _pagings(target):
    """Ways to page that are tried together with stripes."""
    if target.config.pages:
        direct = target.config.host_stores
        yield from (Paging(share=share, tables=tables)
                    for tables in (False, True)[:1 + direct] for share in SHARES[::2])


def _fastest(programs, store):
    return min(programs, key=lambda program: sum(x.total for x in predict(program, store)))


def paged_program(graph: Graph, target: Target, paging: Paging,
                  lowered: Lowered | None = None) -> Program:
    """Weights and parameters as pages; see `gen.draft.draft`."""
    found = draft(graph, target.config, paging, lowered)
    require_fit(graph, found, target)
    return build(graph, found, target)


def build(graph: Graph, found: Draft, target: Target) -> Program:
    """The program of a draft that fits."""
    config, plan = target.config, found.plan
    home = found.program_lines
    places = {tensor: home + plan.home_lines + line for buffer, line in found.placed.buffers
              for tensor in buffer.tensors}
    image = bytearray(_header(config, len(plan.commands)))
    for command in plan.commands:
        try:
            words = encode(config, **_addresses(command, places, home, config))
        except OverflowError as error:
            name = found.lowered.layers[command.layer].name
            raise ModelError(f"{name}: {error}; use smaller layers") from None
        image += _slot(words, config)
    image += _slot([0] * DESCRIPTOR_WORDS, config) + plan.homes
    sections = [Section(space=Space.ACT, offset=PROGRAM_LINE * config.V // 4, data=bytes(image))]
    constants = plan.sections | {Space.STORE: stream(plan.pages, config, home)}
    sections += [Section(space=space, offset=0, data=data)
                 for space, data in constants.items() if data]
    return Program(
        model=graph.name, target=target.name, config=config.items(), config_hash=config.hash,
        program_line=PROGRAM_LINE, descriptors=len(plan.commands), sections=tuple(sections),
        input=_placement(graph, graph.input, graph.input, found, places),
        output=_placement(graph, found.lowered.output,
                          found.lowered.roots[found.lowered.output], found, places),
        layers=_layers(graph, found, places, config),
        memory=_memory(found, config, len(constants[Space.STORE])),
        host=found.lowered.host)


def _header(config, count):
    words = (MAGIC, PROGRAM_VERSION, config.hash, count)
    data = b"".join(word.to_bytes(4, "little") for word in words)
    return data.ljust(align_up(16, config.V), b"\0")


def _slot(words, config):
    return b"".join(word.to_bytes(4, "little") for word in words).ljust(slot_bytes(config), b"\0")


def _addresses(command: Command, places, home, config):
    """All fields of a command."""
    fields, step = dict(command.fields), command.step
    if command.home is not None:
        return fields | {"res_base": home + command.home}
    if step is None:
        return fields
    if fields["op"] == Opcode.LOAD:
        return fields | {"res_base": places[step.written] + fields["res_base"]}
    fields["out_base"] = places[step.output] + step.out_offset
    page = step.out_offset
    if step.source is not None:
        fields["in_start"] = places[step.source] * config.V + step.in_offset
    if step.residual is not None:
        fields["res_base"] = places[step.residual] + page
    if step.first is not None:
        fields["a_base"] = places[step.first] + page
    return fields


def _placement(graph, tensor, root, found, places):
    storage: Storage = found.lowered.storages[root]
    return Placement(tensor=tensor, shape=graph.tensors[tensor].shape, line=places[root],
                     pixels=storage.pixels, channels=storage.channels,
                     pixel_bytes=storage.pixel_bytes)


def _layers(graph, found, places, config):
    layers = []
    for i, layer in enumerate(found.lowered.layers):
        mine = [n for n, command in enumerate(found.plan.commands) if command.layer == i]
        blocks = {s.params.tobytes() for s in layer.steps} | {
            s.add_params.tobytes() for s in layer.steps if s.add_params is not None}
        layers.append(LayerInfo(
            name=layer.name, kind=layer.kind, tensors=layer.tensors, fused=layer.fused,
            output=_placement(graph, layer.output, layer.output, found, places), macs=layer.macs,
            first=mine[0], count=len(mine),
            weight_bytes=sum(map(len, {s.weights.tobytes() for s in layer.steps})),
            param_bytes=sum(map(len, blocks)),
            rows=sum(least_cycles(config, found.plan.commands[n].fields) for n in mine),
            **_zeros(layer, config),
            over_input=layer.output in found.placed.overlapped, stripes=layer.stripes,
            macs_again=layer.macs_again,
            whole_cycles=found.whole_cycles if layer.stripes > 1 else 0))
    return tuple(layers)


def _zeros(layer, config):
    """What a layer passes over."""
    steps = [step for step in layer.steps if step.op == Opcode.CONV]
    blocks = {step.weights.tobytes(): step for step in steps}.values()     # stripes repeat them
    able = any(step.fields.get("skip") for step in steps), any(
        step.masks is not None for step in steps)
    there = [step.groups * step.rows(config) * config.L for step in blocks]
    return {
        "skips": {(0, 0): "off", (1, 0): "act", (0, 1): "weights", (1, 1): "both"}[able],
        "weight_rows": sum(there), "kept_rows": sum(
            rows if step.masks is None else kept_rows(step.masks, config)
            for rows, step in zip(there, blocks, strict=True))}


def _memory(found, config, pages):
    """Bytes used and there, by memory."""
    v, sections = config.V, found.plan.sections
    return {
        "activation": {"there": config.act_lines * v, "used": found.lines * v,
                       "program": found.program_lines * v, "homes": found.plan.home_lines * v,
                       "activations": found.placed.lines * v},
        "weights": {"there": config.weight_rows * config.row_bytes,
                    "used": len(sections.get(Space.WEIGHT, b"")),
                    "needed": rows_needed(found.lowered.layers, config) * config.row_bytes},
        "parameters": {"there": config.param_groups * config.C * 16,
                       "used": len(sections.get(Space.PARAM, b"")),
                       "needed": groups_needed(found.lowered.layers, config) * config.C * 16},
        **({"row masks": {"there": config.row_mask_words * config.L * 4,
                          "used": len(sections.get(Space.MASK, b""))}} if config.row_masks else {}),
        "table": {"there": 1024, "used": len(sections.get(Space.TABLE, b""))},
        "backing store": {"there": pages, "used": pages},
    }
