"""Outputs that may lie over the input of their layer, and how far below it they must begin.

With one cluster, passes run one after the other. A pass writes when its psums are complete, so
after its own patch was read; later patches may be fetched ahead of that, or not. Its line must lie
below all that later passes read. The output may therefore overlap an input that nothing else reads
if it begins lower by the *skew*: the most lines by which the writes lead the first line that is
still to be read. Two clusters are not in step: one may write before the other has read, so their
outputs lie beside their inputs; so do those of several descriptors, as each reads the input anew.

Source: Blacker, Bridges, Hadfield, "Diagonal Memory Optimisation for Machine Learning on
Micro-controllers", arXiv:2010.01668, 2020.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from gen.lower.steps import WALKS, Layer, Step
from gen.pages import Plan
from hw.config import CoreConfig
from hw.layout import DESCRIPTOR, Opcode


def find_skews(layers: Sequence[Layer], plan: Plan, config: CoreConfig) -> dict[int, int]:
    """Skew of every output (its root tensor) that may overlap its layer's input, if that dies."""
    descriptors = Counter(command.layer for command in plan.commands if command.step is not None)
    return {layer.output: skew(layer.steps[0], config) for i, layer in enumerate(layers)
            if config.P == 1 and descriptors[i] == 1 and _alone(layer)}


def skew(step: Step, config: CoreConfig) -> int:
    """Lines from an output's first line to that of its input, at least, where they overlap.

    A pixel's groups share its patch (CONV), so nothing reads it again when the first of them is
    written; elsewhere each group reads it, and in a strip the row, where ``x_step`` is 0.
    """
    f = dict.fromkeys(DESCRIPTOR, 0) | step.fields
    y, x = np.ix_(np.arange(f["out_h"]), np.arange(f["out_w"]))
    above = np.maximum(-(f["y_start"] + y * f["stride_h"]), 0)    # kernel rows outside the input
    column = np.maximum(f["x_start"] + x * f["x_step"], 0)
    first = step.in_offset + y * f["y_step"] + above * f["row_bytes"] + column
    lines = -(-step.groups // config.groups_per_line) + f["twin"]
    end = step.out_offset + y * f["out_row"] + x * f["out_pitch"] + lines
    written = np.maximum.accumulate(end.ravel())
    needed = np.minimum.accumulate(first.ravel()[::-1])[::-1] // config.V
    if step.op == Opcode.CONV and not f["chunked"]:
        written, needed = written[:-1], needed[1:]
    return int((written - needed).max(initial=0))


def _alone(layer):
    """Whether a layer reads one tensor, once, and writes another."""
    step = layer.steps[0]
    others = (step.residual, step.first, step.written, layer.scratch, layer.in_place)
    return (len(layer.steps) == 1 and step.op in WALKS and layer.inputs == (step.source,)
            and all(tensor is None for tensor in others))
