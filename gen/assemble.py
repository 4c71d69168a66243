"""From a draft to a program: descriptors with their addresses, sections, and what lies where."""

import zlib

import numpy as np

from gen.allocate import twin
from gen.cycles import least_cycles
from gen.draft import Draft
from gen.image import LayerInfo, Placement, Program, Section, Twin
from gen.lower.steps import Storage
from gen.masks import kept_rows
from gen.pages import Command, groups_needed, rows_needed
from gen.stream import stream
from gen.targets import Target
from hw.config import PROGRAM_VERSION, align_up, slot_bytes
from hw.layout import DESCRIPTOR_WORDS, MAGIC, Opcode, Space, encode
from models.graph import Graph, ModelError

PROGRAM_LINE = 0


def assemble(graph: Graph, found: Draft, target: Target) -> Program:
    """The program of a draft that fits."""
    config, plan = target.config, found.plan
    home = found.program_lines
    places = {tensor: home + plan.home_lines + line for buffer, line in found.placed.buffers
              for tensor in buffer.tensors}
    commands = _descriptors(found, places, config)
    constants = plan.sections | {Space.STORE: stream(plan.pages, config, home)}
    identity = zlib.crc32(b"".join((commands, plan.homes, *constants.values())))
    image = (_header(config, len(plan.commands)) + commands
             + _slot([0] * DESCRIPTOR_WORDS, config, identity) + plan.homes)
    sections = [Section(space=Space.ACT, offset=PROGRAM_LINE * config.V // 4, data=image)]
    sections += [Section(space=space, offset=0, data=data)
                 for space, data in constants.items() if data]
    return Program(
        model=graph.name, target=target.name, config=config.items(), config_hash=config.hash,
        program_line=PROGRAM_LINE, descriptors=len(plan.commands), sections=tuple(sections),
        input=_placement(graph, graph.input, graph.input, found, places),
        output=_output(graph, found, places),
        layers=_layers(graph, found, places, config),
        memory=_memory(found, config, len(constants[Space.STORE])),
        host=found.lowered.host,
        twin=_twin(graph, found, places, commands, config) if found.lowered.double else None)


def _descriptors(found, places, config):
    """Bytes of all descriptors but END, with room for counters."""
    data = bytearray()
    for command in found.plan.commands:
        try:
            words = encode(config, **_addresses(command, places, found.program_lines, config))
        except OverflowError as error:
            name = found.lowered.layers[command.layer].name
            raise ModelError(f"{name}: {error}; use smaller layers") from None
        data += _slot(words, config)
    return bytes(data)


def _twin(graph, found, places, commands, config):
    """Second places of input and output, and what differs in the descriptors then."""
    others = places | {twin(tensor): line for tensor, line in places.items()
                       if twin(tensor) in places}
    pair = (commands, _descriptors(found, others, config))
    first, second = (np.frombuffer(data, "<u4") for data in pair)
    start = (PROGRAM_LINE * config.V + len(_header(config, 0))) // 4
    words = tuple((start + int(n), int(first[n]), int(second[n]))
                  for n in np.flatnonzero(first != second))
    return Twin(input=_placement(graph, graph.input, graph.input, found, others),
                output=_output(graph, found, others), words=words)


def _output(graph, found, places):
    output = found.lowered.output
    return _placement(graph, output, found.lowered.roots[output], found, places)


def _header(config, count):
    words = (MAGIC, PROGRAM_VERSION, config.hash, count)
    data = b"".join(word.to_bytes(4, "little") for word in words)
    return data.ljust(align_up(16, config.V), b"\0")


def _slot(words, config, behind=0):
    """A descriptor, and the first word in the place of its counters."""
    data = b"".join(word.to_bytes(4, "little") for word in words)
    data = data.ljust(align_up(len(data), config.V), b"\0") + behind.to_bytes(4, "little")
    return data.ljust(slot_bytes(config), b"\0")


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
                     pixel_bytes=storage.pixel_bytes, margin=storage.margin,
                     fill=graph.tensors[tensor].zero_point)


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
