"""Convolutions of which one column group exceeds the weight banks, in portions of their patch.

Each portion is a descriptor with weights of its own; all but the first ``resume`` the psums of the
one before (split-K, as GPUs have it, but one after the other). A descriptor then makes one pass a
cluster: one output pixel and one column group. What the unfinished portions write is overwritten.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from gen.lower.steps import Step, choose_split
from hw.config import CoreConfig, align_up


@dataclass(frozen=True, kw_only=True)
class Portion:
    """Part of a window, contiguous in the patch.

    Parameters
    ----------
    row, rows : int
        Kernel rows.
    column, segments, size : int
        Bytes left of it in its rows; segments of so many bytes.
    first, end : int
        Its bytes in the patch.
    """

    row: int
    rows: int
    column: int
    segments: int
    size: int
    first: int
    end: int


def portions(step: Step, config: CoreConfig) -> Iterator[Portion]:
    """A window in portions that take half the weight banks: one is used, the next one fetched.

    Whole kernel rows if one fits, else whole segments of a row, else bytes of a segment.
    """
    f, room = step.fields, config.weight_rows // (2 * config.P) * config.L
    most = max(config.align, room // config.align * config.align)
    height, count, size = f["kernel_h"], f["segments"], f["segment_bytes"]
    rows = min(height, max(1, most // (count * size)))
    segments = count if rows > 1 else min(count, max(1, most // size))
    cut = size if segments > 1 else min(size, most)
    for row in range(0, height, rows):
        high = min(rows, height - row)
        for segment in range(0, count, segments):
            wide = min(segments, count - segment)
            for byte in range(0, size, cut):
                length = min(cut, size - byte)
                first = (row * count + segment) * size + byte
                yield Portion(row=row, rows=high, column=segment * f["segment_pitch"] + byte,
                              segments=wide, size=length, first=first,
                              end=first + high * wide * length)


def exceeds_banks(rows: int, config: CoreConfig) -> bool:
    """Whether a column group of so many weight rows is more than the banks hold."""
    return rows > config.weight_rows


def split_k(step: Step, config: CoreConfig) -> tuple[Step, ...]:
    """The step itself if the weight banks hold a column group of it, else its portions.

    They need lines that belong to one group each: V = C.
    """
    if not exceeds_banks(step.group_rows, config) or config.groups_per_line > 1:
        return (step,)
    f, parts = step.fields, list(portions(step, config))
    return tuple(
        _part(step, part, x, y, first, config)
        for y in range(f["out_h"]) for x in range(f["out_w"])
        for first in range(0, step.groups, config.P) for part in parts)


def _part(step, part, x, y, group, config):
    """One portion of one pixel's groups, from ``group`` on, one for each cluster."""
    f, count = step.fields, min(config.P, step.groups - group)
    begin, moved = f["x_start"] + x * f["x_step"] + part.column, 0
    if part.rows == 1 and begin > 0:       # x_start has fewer bits than in_start
        moved = min(begin, (f["row_bytes"] - 1) // config.V * config.V)
    size, top = part.end - part.first, f["y_start"] + y * f["stride_h"] + part.row
    skipped = min(max(top, 0), f["in_h"] - 1)    # y_start has few bits; below all rows it is 1
    fields = f | {
        "kernel_h": part.rows, "segments": part.segments, "segment_bytes": part.size,
        "x_start": begin - moved, "row_bytes": f["row_bytes"] - moved, "x_step": 0,
        "y_step": 0, "stride_h": 0,
        "y_start": min(top - skipped, 1), "in_h": f["in_h"] - skipped, "out_w": 1, "out_h": 1,
        "group_rows": -(-size // config.L), "split": choose_split(config, 1, 1, count),
        "chunked": int(size > config.patch_lines * config.V), "resume": int(part.first > 0)}
    down = y * f["y_step"] + part.row * f["row_bytes"]
    return replace(
        step, fields=fields, groups=count, weights=_weights(step, part, group, count, config),
        params=step.params[group:group + count], in_offset=step.in_offset + down + moved,
        out_offset=step.out_offset + y * f["out_row"] + x * f["out_pitch"] + group)


def _weights(step, part, group, count, config):
    """A portion's rows as the banks hold them."""
    bytes_ = step.weights[group:group + count].reshape(count, -1, config.C)   # of the patch
    bytes_ = bytes_[:, part.first:part.end]
    rest = align_up(bytes_.shape[1], config.L) - bytes_.shape[1]
    return np.ascontiguousarray(np.pad(bytes_, ((0, 0), (0, rest), (0, 0)))).reshape(count, -1)
