"""Which layers leave weight rows out that are zero."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from gen.activity import assumed_cycles
from gen.lower.steps import Lowered, Step
from gen.masks import pack
from gen.pages import rows_needed
from hw.config import CoreConfig
from hw.layout import DESCRIPTOR, Opcode
from hw.prefetch import Prefetch


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A step that can be packed: where it is, how it is then, and what that saves."""

    layer: int
    number: int
    step: Step
    cycles: int
    rows: int

    @property
    def words(self) -> int:
        """Words of row masks, of all lanes each."""
        assert self.step.masks is not None
        return self.step.masks.size // self.step.masks.shape[-1]


def packing(lowered: Lowered, config: CoreConfig, always: bool) -> Lowered:
    """The network without the weight rows that are zero, where that saves cycles or memory.

    Those steps come first that save the most cycles, until the masks fill their memory; the rest
    stay dense. All do if the weights are too many for the banks even so, as pages are dense.

    Parameters
    ----------
    always : bool
        Pack also what saves nothing.
    """
    found = [candidate for candidate in _candidates(lowered, config)
             if always or (candidate.cycles, candidate.rows) > (0, 0)]
    layers, room = [list(layer.steps) for layer in lowered.layers], config.row_mask_words
    for candidate in sorted(found, key=lambda x: (x.cycles, x.rows), reverse=True):
        if candidate.words <= room:
            room -= candidate.words
            layers[candidate.layer][candidate.number] = candidate.step
    packed = tuple(replace(layer, steps=tuple(steps))
                   for layer, steps in zip(lowered.layers, layers, strict=True))
    fits = rows_needed(packed, config) <= config.weight_rows
    return replace(lowered, layers=packed) if fits else lowered


def _candidates(lowered, config) -> Iterator[Candidate]:
    for number, layer in enumerate(lowered.layers):
        for index, step in enumerate(layer.steps):
            if step.op == Opcode.CONV and step.written is None:
                packed, stored = pack(step, config)
                yield Candidate(
                    layer=number, number=index, step=packed,
                    cycles=_cycles(config, step, None) - _cycles(config, packed, stored),
                    rows=(step.weights.size - packed.weights.size) // config.row_bytes)


def _cycles(config, step, stored):
    """In which lanes issue rows, at least as many as reading their windows takes."""
    windows = -(-min(step.rows(config), config.patch_lines * config.rows_per_line)
                // config.window_rows)
    fields = dict.fromkeys(DESCRIPTOR, 0) | step.fields | {"in_start": step.in_offset}
    costs = assumed_cycles(config, fields, stored)
    costs = np.maximum(costs, windows + Prefetch.OVERHEAD)
    return int(np.broadcast_to(costs, (*costs.shape[:2], step.groups)).sum())
