"""What a cluster works on in a descriptor: patch buffers in the order in which they are filled."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import numpy as np

from hw.config import CoreConfig
from hw.layout import Opcode


@dataclass(frozen=True, kw_only=True, slots=True)
class Filling:
    """What fills a patch buffer once.

    Parameters
    ----------
    reads : bytes
        A byte for each cycle that the feeder takes if no port keeps it waiting: 1 if it reads a
        line of the activation memory, 0 if that lies outside the tensor or for a spill.
    rows : int
        Rows of the buffer.
    costs : tuple of int
        Of every visit, one a pass: cycles in which lanes issue them, fewer than rows where zeros
        are passed over.
    ends : bool
        Passes end with it: it is no chunk of a patch before the last.
    """

    reads: bytes
    rows: int
    costs: tuple[int, ...]
    ends: bool = True


def fillings(config: CoreConfig, d: dict[str, int], cluster: int,
             costs: np.ndarray | None = None) -> list[Filling]:
    """The fillings of a cluster's patch buffers, see *A pass* in docs/core.md.

    Parameters
    ----------
    config : CoreConfig
    d : dict
        Fields of a descriptor of CONV, CHANNEL or MAX, as `hw.layout.decode` gives them.
    cluster : int
    costs : numpy.ndarray, optional
        Where lanes pass over zeros: `gen.activity.visit_cycles`.
    """
    mine = share(config, range(d["groups"]), cluster, d["split"])
    row = _Row(config, d)
    rows = [row.patches(y) for y in range(d["out_h"])]
    if d["strip"]:
        return [Filling(reads=reads, rows=len(reads), costs=(len(reads),))
                for patches in share(config, rows, cluster, not d["split"])
                for _ in mine for (reads,) in patches]
    once = d["op"] == Opcode.CONV and not d["chunked"]
    room = config.patch_lines * config.V
    chunks = [min(room, row.patch_bytes - start) for start in range(0, row.patch_bytes, room)]
    counts = [-(-chunk // (config.L if d["op"] == Opcode.CONV else config.V)) for chunk in chunks]
    pixels = [patch for patches in rows for patch in patches]
    costs = np.array(counts)[:, None] if costs is None else costs
    costs = np.broadcast_to(costs, (len(pixels), len(chunks), d["groups"]))[..., list(mine)]
    work = share(config, list(zip(pixels, costs.tolist(), strict=True)), cluster, not d["split"])
    if once:
        return [Filling(reads=reads, rows=counts[0], costs=tuple(own))
                for (reads,), (own,) in work]
    return [Filling(reads=reads, rows=counts[n], costs=(own[n][g],), ends=n == len(chunks) - 1)
            for patch, own in work for g in range(len(mine)) for n, reads in enumerate(patch)]


def share(config: CoreConfig, work: Sequence, cluster: int, turns: int | bool) -> Sequence:
    """What a cluster does of the work: every P-th piece if the clusters take turns, or all."""
    return work[cluster::config.P] if turns else work


class _Row:
    """The patches of rows of windows: of each the ``Filling.reads`` of its buffers."""

    def __init__(self, config, d):
        self.config, self.d = config, d
        self.patch_bytes = d["kernel_h"] * d["segments"] * d["segment_bytes"]
        self._windows = cache(self._strip if d["strip"] else self._whole)

    def patches(self, y: int) -> list[tuple[bytes, ...]]:
        """Of every output column in order."""
        d = self.d
        base, top = d["in_start"] + y * d["y_step"], d["y_start"] + y * d["stride_h"]
        return self._windows(tuple(
            (0 <= top + ky < d["in_h"], (base + ky * d["row_bytes"]) % self.config.V)
            for ky in range(d["kernel_h"])))

    def _whole(self, kernel_rows):
        """Kernel row after kernel row; of each inside or not, and its first byte in its line."""
        d, v, patches = self.d, self.config.V, []
        for x in range(d["out_w"]):
            reads, ends = bytearray(), []     # of each line: bytes of the patch with it
            for inside, start in kernel_rows:
                for segment in range(d["segments"]):
                    column = d["x_start"] + x * d["x_step"] + segment * d["segment_pitch"]
                    before, size = len(ends) and ends[-1], d["segment_bytes"]
                    for line in range(column - (start + column) % v, column + size, v):
                        reads.append(inside and -v < line < d["row_bytes"])
                        ends.append(before + min(line + v - column, size))
            patches.append(self._cut(bytes(reads), [0, *ends]))
        return patches

    def _cut(self, reads, ends):
        """A buffer is left with the line that fills it; what lies beyond at the end spills."""
        size, room = self.patch_bytes, self.config.patch_lines * self.config.V
        if ends[-2] // self.config.V != (size - 1) // self.config.V:
            reads += b"\0"
        cuts = [bisect_left(ends, edge) for edge in range(0, size, room)]
        return tuple(reads[begin:end] for begin, end in pairwise([*cuts, len(reads)]))

    def _strip(self, kernel_rows):
        """Column after column of lines: of a row's first window all, then the fresh ones."""
        d = self.d
        ends = [0, *range(d["segments"], d["segments"] + d["strip"] * d["out_w"], d["strip"])]
        return [(bytes(inside and 0 <= d["x_start"] + column * d["segment_pitch"] < d["row_bytes"]
                       for column in range(begin, end) for inside, _ in kernel_rows),)
                for begin, end in pairwise(ends)]
