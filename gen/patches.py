"""What a cluster works on in a descriptor: patch buffers in the order in which they are filled."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate, pairwise

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
        Rows that the lanes issue of it, once a pass.
    passes : int
        Passes that end with it; 0 for a chunk of a patch before the last.
    """

    reads: bytes
    rows: int
    passes: int


def fillings(config: CoreConfig, d: dict[str, int], cluster: int) -> list[Filling]:
    """The fillings of a cluster's patch buffers, see *A pass* in docs/core.md.

    Parameters
    ----------
    config : CoreConfig
    d : dict
        Fields of a descriptor of CONV, CHANNEL or MAX, as `hw.layout.decode` gives them.
    cluster : int
    """
    groups = len(share(config, range(d["groups"]), cluster, d["split"]))
    row = _Row(config, d)
    rows = [row.patches(y) for y in range(d["out_h"])]
    if d["strip"]:
        return [Filling(reads=reads, rows=len(reads), passes=1)
                for patches in share(config, rows, cluster, not d["split"])
                for _ in range(groups) for reads in patches]
    pixels = share(config, [reads for patches in rows for reads in patches], cluster,
                   not d["split"])
    if d["op"] == Opcode.CONV and not d["chunked"]:
        count = -(-row.patch_bytes // config.L)
        return [Filling(reads=reads, rows=count, passes=groups) for reads in pixels]
    chunks = cache(row.chunks)
    return [chunk for reads in pixels for _ in range(groups) for chunk in chunks(reads)]


def share(config: CoreConfig, work: Sequence, cluster: int, turns: int | bool) -> Sequence:
    """What a cluster does of the work: every P-th piece if the clusters take turns, or all."""
    return work[cluster::config.P] if turns else work


class _Row:
    """The patches of rows of windows, as ``Filling.reads``."""

    def __init__(self, config, d):
        self.config, self.d = config, d
        self.patch_bytes = d["kernel_h"] * d["segments"] * d["segment_bytes"]
        self._windows = cache(self._strip if d["strip"] else self._whole)

    def patches(self, y: int) -> list[bytes]:
        """Of every output column in order."""
        d = self.d
        base, top = d["in_start"] + y * d["y_step"], d["y_start"] + y * d["stride_h"]
        return self._windows(tuple(
            (0 <= top + ky < d["in_h"], (base + ky * d["row_bytes"]) % self.config.V)
            for ky in range(d["kernel_h"])))

    def chunks(self, reads: bytes) -> tuple[Filling, ...]:
        """A patch cut into buffers; these share its cycles by their bytes."""
        config, size = self.config, self.patch_bytes
        room, unit = config.patch_lines * config.V, config.L
        if self.d["op"] != Opcode.CONV:
            unit = config.V
        parts = [min(room, size - start) for start in range(0, size, room)]
        ends = [-(-len(reads) * end // size) for end in accumulate(parts, initial=0)]
        return tuple(Filling(reads=reads[begin:end], rows=-(-part // unit), passes=end == ends[-1])
                     for part, (begin, end) in zip(parts, pairwise(ends), strict=True))

    def _whole(self, kernel_rows):
        """Kernel row after kernel row; of each inside or not, and its first byte in its line."""
        d, v = self.d, self.config.V
        patches = []
        for x in range(d["out_w"]):
            reads, final = bytearray(), 0
            for inside, start in kernel_rows:
                for segment in range(d["segments"]):
                    column = d["x_start"] + x * d["x_step"] + segment * d["segment_pitch"]
                    end = column + d["segment_bytes"]
                    lines = range(column - (start + column) % v, end, v)
                    reads += bytes(inside and -v < line < d["row_bytes"] for line in lines)
                    final = end - max(lines[-1], column)   # bytes that the last line gives
            spills = (self.patch_bytes - final) % v + final > v
            patches.append(bytes(reads) + bytes(spills))
        return patches

    def _strip(self, kernel_rows):
        """Column after column of lines: of a row's first window all, then the fresh ones."""
        d = self.d
        ends = [0, *range(d["segments"], d["segments"] + d["strip"] * d["out_w"], d["strip"])]
        return [bytes(inside and 0 <= d["x_start"] + column * d["segment_pitch"] < d["row_bytes"]
                      for column in range(begin, end) for inside, _ in kernel_rows)
                for begin, end in pairwise(ends)]
