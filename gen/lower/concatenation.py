"""CONCATENATION of channels: whole lines are copied, shared ones put together byte by byte.

An operand's bytes of a line that it shares are a convolution with ones, whose other bytes are the
zero point. The first operand in a line writes it; each further one adds the line as it is:
(c - z) + (r - z) + z with c or r = z for every byte, so nothing is rounded or saturates.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from gen.lower.add import Sum, fuse
from gen.lower.arith import MAX_STAGE
from gen.lower.channels import operand_offset
from gen.lower.conv import weight_rows
from gen.lower.copies import copy
from gen.lower.pool import geometry
from gen.lower.steps import Step, Storage, param_words, uniform_words
from hw.config import CoreConfig, align_up
from hw.layout import Opcode
from models.graph import Graph, Op

ONE = (1 << 31, 0)       # multiplier and shift that keep a sum as it is


def lower_concatenation(graph: Graph, op: Op, parts: Sequence[Storage], whole: Storage,
                        config: CoreConfig, sources: Sequence[int],
                        output: int) -> tuple[Step, ...]:
    """The steps of CONCATENATION of channels, operand by operand.

    Parameters
    ----------
    parts, sources : sequence of Storage, of int
        Operands, whose pixels take whole lines, and their root tensors.
    whole : Storage
        Of the output.
    """
    point, steps, begin = graph.tensors[op.outputs[0]].zero_point, [], 0
    for part, source in zip(parts, sources, strict=True):
        end = begin + part.channels
        first, last = -(-begin // config.V), end // config.V       # lines of its own
        if end == whole.channels and begin % config.V == 0:
            last = -(-end // config.V)                             # what fills them up is free
        if last > first and (first * config.V - begin) % config.align == 0:
            steps.append(_lines(op, part, whole, config, source, output, begin, first, last))
        else:
            last = first
        for line in (*range(begin // config.V, first), *range(last, -(-end // config.V))):
            steps.append(_line(op, part, whole, config, source, output, begin, line, point))
        begin = end
    return tuple(steps)


def _lines(op, part, whole, config, source, output, begin, first, last):
    """The step that copies lines ``first`` .. ``last`` - 1 of each pixel: an operand's own."""
    pitch = whole.pixel_bytes // config.V
    step = copy(op, part, (whole.height, whole.width), config, source, output,
                out_pitch=pitch, out_row=whole.width * pitch)
    groups = min(step.groups, (last - first) * config.groups_per_line)
    return replace(step, groups=groups, in_offset=first * config.V - begin, out_offset=first)


def _line(op, part, whole, config, source, output, begin, line, point):
    """The step that writes an operand's bytes of one line of each pixel, or adds them to it."""
    low = max(line * config.V - begin, 0)
    high = min((line + 1) * config.V - begin, part.channels)
    start = low // config.align * config.align
    own = np.arange(low, high)
    kernel = np.zeros((config.V, align_up(high, config.align) - start), np.int8)
    kernel[begin + own - line * config.V, own - start] = 1
    rows, offset = -(-kernel.shape[1] // config.L), operand_offset(point, config)
    pitch = whole.pixel_bytes // config.V
    fields = geometry(op, part, config, (1, 1), whole.height, whole.width) | {
        "segment_bytes": kernel.shape[1], "segment_pitch": 0, "in_h": part.height,
        "group_rows": rows, "out_pitch": pitch, "out_row": whole.width * pitch, "fill": point,
        "offset": offset, "zero_point": point, "low": -128, "high": 127}
    bias = (offset - point) * kernel.sum(axis=1, dtype=np.int64)
    multiplier, shift = ONE
    step = Step(op=Opcode.CONV, fields=fields, groups=config.groups_per_line,
                weights=weight_rows(kernel, rows, config), source=source, output=output,
                params=param_words(config, bias, [multiplier] * config.V, [shift] * config.V),
                in_offset=start, out_offset=line)
    shared = line * config.V < begin
    return fuse(step, _joined(point, config), output, output) if shared else step


def _joined(point, config):
    """The sum of two bytes of which one is the zero point: the other."""
    fields = {"table_first": 1, "z_other": point, "add_zero_point": point, "add_low": -128,
              "add_high": 127}
    bytes_ = np.arange(256).astype(np.int8).astype(np.int32)
    return Sum(fields=fields, table=(bytes_ - point) << 19,
               params=uniform_words(config, *MAX_STAGE))
