"""Real activations for the cycle model: what lies in the memory when a layer begins."""

from collections.abc import Iterator

import numpy as np

from gen.activity import skips, visit_cycles
from gen.cycles import descriptors
from gen.image import Placement, Program, pack_input
from gen.masks import stored_rows
from hw.layout import Opcode


def visit_costs(program: Program, golden: dict[int, np.ndarray], row: int,
                x: np.ndarray) -> list[np.ndarray | None]:
    """What `gen.cycles.predict` needs to know of one input.

    Parameters
    ----------
    program : Program
    golden : dict of int to numpy.ndarray
        What `sim.golden.run` computed for a batch.
    row : int
        The input's place in that batch.
    x : numpy.ndarray
        The input.

    Returns
    -------
    list of numpy.ndarray or None
        Of every descriptor that passes over zeros, `gen.activity.visit_cycles`.
    """
    costs: list[np.ndarray | None] = [None] * program.descriptors
    for _, n, d, memory in convolutions(program, golden, row, x):
        if skips(d):
            stored = stored_rows(program.core_config, d, program.masks) if d["packed"] else None
            costs[n] = visit_cycles(program.core_config, d, memory, stored)
    return costs


def convolutions(program: Program, golden: dict[int, np.ndarray], row: int,
                 x: np.ndarray) -> Iterator[tuple[int, int, dict[str, int], np.ndarray]]:
    """Every CONV: numbers of its layer and descriptor, its fields, the memory when it begins."""
    config = program.core_config
    memory = np.zeros(config.act_lines * config.V, np.int8)
    line, data = pack_input(program, x)
    memory[line * config.V:line * config.V + len(data)] = np.frombuffer(data, np.int8)
    kept = {tensor.tensor: list(tensor.kept) for tensor in program.folded}
    fields = descriptors(program)
    for number, layer in enumerate(program.layers):
        for n in range(layer.first, layer.first + layer.count):
            if fields[n]["op"] == Opcode.CONV:
                yield number, n, fields[n], memory
        values = golden[layer.output.tensor][row]
        if layer.output.tensor in kept:
            values = values[..., kept[layer.output.tensor]]
        _store(memory, layer.output, values, config.V)


def _store(memory, place: Placement, values, line_bytes):
    """Put a tensor where the core has it; bytes behind a pixel's channels are not used."""
    pixels = place.pack(values)
    start = place.line * line_bytes
    memory[start:start + pixels.size] = pixels.reshape(-1)
