"""What the feeder must do, written with plain loops from docs/core.md; and random layers for it."""

from dataclasses import dataclass
from random import Random

from hw.config import CoreConfig, align_up
from hw.layout import Opcode


@dataclass(frozen=True)
class Segment:
    """Contiguous bytes: address, column, whether the row exists, end of the patch, in one line.

    ``count``: those in the first line.
    """

    addr: int
    col: int
    inside: bool
    last: bool
    one: bool
    count: int


@dataclass(frozen=True)
class Command:
    """One line of the activation memory on its way into a patch; ``rotate`` None: any."""

    addr: int
    mask: int          # a bit for each byte of the line that lies in the tensor
    rotate: int | None
    position: int
    end: int
    write: bool
    commit: bool
    last: bool


@dataclass(frozen=True)
class Filled:
    """One patch buffer: its bytes, and what its commit says."""

    data: bytes
    rows: int
    last: bool


def pixels(d: dict, config: CoreConfig, index: int) -> list[tuple[int, int]]:
    """Output pixels (x, y) of a cluster in order."""
    every = [(x, y) for y in range(d["out_h"]) for x in range(d["out_w"])]
    if d["split"]:
        return every
    if d.get("strip"):
        return [(x, y) for x, y in every if y % config.P == index]
    return every[index::config.P]


def groups(d: dict, config: CoreConfig, index: int) -> list[int]:
    """Column groups of a cluster in order."""
    return list(range(d["groups"]))[index::config.P] if d["split"] else list(range(d["groups"]))


def passes(d: dict, config: CoreConfig, index: int) -> list[tuple[int, int, int]]:
    """Pixel and group (x, y, g) of every pass of a cluster in order."""
    mine, found = groups(d, config, index), pixels(d, config, index)
    if not d.get("strip"):
        return [(x, y, g) for x, y in found for g in mine]
    rows = dict.fromkeys(y for _, y in found)
    return [(x, y, g) for y in rows for g in mine for x in range(d["out_w"])]


def window(d: dict, x: int) -> list[tuple[int, int]]:
    """Kernel row and first byte column of every segment of pixel x's patch."""
    numbers, rows = range(d["segments"]), range(d["kernel_h"])
    if not d.get("strip"):
        return [(ky, d["x_start"] + x * d["x_step"] + s * d["segment_pitch"])
                for ky in rows for s in numbers]
    fresh = numbers if x == 0 else numbers[-d["strip"]:]
    return [(ky, d["x_start"] + (x * d["strip"] + s) * d["segment_pitch"])
            for s in fresh for ky in rows]


def per_channel(d: dict) -> bool:
    """Whether each group has a patch of its own lines."""
    return d["op"] in (Opcode.CHANNEL, Opcode.MAX)


def walk(d: dict, config: CoreConfig, index: int):
    """Yield pixel and byte shift of every patch: one a pixel, or one a pixel and group."""
    mine = groups(d, config, index)
    for x, y, g in passes(d, config, index):
        if per_channel(d):
            yield x, y, g // config.groups_per_line * config.V
        elif d["chunked"] or g == mine[0]:
            yield x, y, 0


def touched(d: dict, config: CoreConfig):
    """Yield, pass by pass of a core with one cluster, the lines read and the lines written."""
    for x, y, g in passes(d, config, 0):
        lines, shift = set(), g // config.groups_per_line * config.V if per_channel(d) else 0
        fetches = per_channel(d) or d["chunked"] or g == 0
        for ky, column in window(d, x) if fetches else ():
            low, high = max(column, 0), min(column + d["segment_bytes"], d["row_bytes"])
            if low < high and 0 <= d["y_start"] + y * d["stride_h"] + ky < d["in_h"]:
                start = d["in_start"] + y * d["y_step"] + ky * d["row_bytes"] + shift
                lines |= {*range((start + low) // config.V, (start + high - 1) // config.V + 1)}
        first = (d["out_base"] + y * d["out_row"] + x * d["out_pitch"]
                 + g // config.groups_per_line)
        yield lines, range(first, first + 1 + d.get("twin", 0))


def overwritten(d: dict, config: CoreConfig) -> set[int]:
    """Lines that a pass reads after another has written its output there."""
    lost, written = set(), set()
    for lines, outputs in touched(d, config):
        lost |= lines & written
        written |= {*outputs}
    return lost


def patches(d: dict, config: CoreConfig, index: int, memory: bytes) -> list[bytes]:
    """The patches of a cluster, byte by byte."""
    found = []
    for x, y, shift in walk(d, config, index):
        patch = bytearray()
        for ky, column in window(d, x):
            row = d["y_start"] + y * d["stride_h"] + ky
            address = d["in_start"] + y * d["y_step"] + ky * d["row_bytes"]
            for c in range(column, column + d["segment_bytes"]):
                real = 0 <= c < d["row_bytes"] and 0 <= row < d["in_h"]
                patch.append(memory[address + c + shift] if real else d["fill"] & 255)
        found.append(bytes(patch))
    return found


def buffers(d: dict, config: CoreConfig, found: list[bytes]) -> list[Filled]:
    """Patches cut into patch buffers."""
    size, result = config.patch_lines * config.V, []
    unit = config.V if per_channel(d) else config.L
    for patch in found:
        for begin in range(0, len(patch), size):
            data = patch[begin:begin + size]
            result.append(Filled(data, -(-len(data) // unit), begin + size >= len(patch)))
    return result


def segments(d: dict, config: CoreConfig, index: int) -> list[Segment]:
    """Kernel rows of all patches; addresses modulo twice the memory."""
    found = []
    for x, y, shift in walk(d, config, index):
        pieces = window(d, x)
        for number, (ky, column) in enumerate(pieces):
            row = d["y_start"] + y * d["stride_h"] + ky
            address = d["in_start"] + y * d["y_step"] + ky * d["row_bytes"] + shift
            begin = address + column
            found.append(Segment(begin % (2 << config.byte_addr_bits), column,
                                 0 <= row < d["in_h"], number == len(pieces) - 1,
                                 begin % config.V + d["segment_bytes"] <= config.V,
                                 min(d["segment_bytes"], config.V - begin % config.V)))
    return found


def commands(d: dict, config: CoreConfig, found: list[Segment]) -> list[Command]:
    """Segments cut at line boundaries, one command a line, and one where a patch spills."""
    result, position, line = [], 0, 0

    def emit(addr, mask, rotate, filled, ends):
        nonlocal line
        write = ends or filled >= config.V
        commit = ends or (write and line == config.patch_lines - 1)
        result.append(Command(addr, mask, rotate, position, filled % config.V, write, commit, ends))
        line = 0 if commit else line + write

    for segment in found:
        done = 0
        while done < d["segment_bytes"]:
            addr, low = divmod(segment.addr + done, config.V)
            count = min(d["segment_bytes"] - done, config.V - low)
            first = segment.col + done - low
            mask = sum(1 << b for b in range(config.V)
                       if segment.inside and 0 <= first + b < d["row_bytes"])
            done += count
            final = segment.last and done == d["segment_bytes"]
            filled = position + count
            emit(addr % (2 << config.act_addr_bits), mask, (position - low) % config.V, filled,
                 final and filled <= config.V)
            position = filled % config.V
            if final and filled > config.V:
                emit(0, 0, None, position, True)
            if final:
                position = 0
    return result


KINDS = ("dense", "ragged", "chunked", "channel", "strip", "max", "chunked", "conv")


def random_layer(random: Random, config: CoreConfig, kind: str | None = None) -> dict:
    """A descriptor whose feeder part is like what the compiler makes, and the corners around it."""
    kind = kind or random.choice(KINDS)
    kind = "channel" if kind == "strip" and not config.strips else kind
    while True:
        d = _draw(random, config, kind)
        size = d["kernel_h"] * d["segments"] * d["segment_bytes"]
        room = config.patch_lines * config.V
        fits = size <= 3 * room if d["chunked"] else size <= room
        memory = config.act_lines * config.V
        base = d["in_start"] - d["y_start"] * d["row_bytes"]
        if fits and d["in_h"] * d["row_bytes"] + base <= memory:
            return d


def _draw(random: Random, config: CoreConfig, kind: str) -> dict:
    v, a = config.V, config.align
    kernel_h, kernel_w = random.randint(1, 3), random.randint(1, 4)
    in_h, in_w = random.randint(1, 5), random.randint(1, 6)
    stride_h, stride_w = random.randint(1, 3), random.randint(1, 3)
    count = random.randint(1, 5)
    split = random.random() < 0.4
    chunked = kind == "chunked" or (kind in ("channel", "max") and random.random() < 0.2)
    lanes = kind in ("channel", "max", "strip")
    if lanes:
        pixel = align_up(count * config.C, v)
    elif kind == "dense":
        pixel = a * random.randint(1, v // a)
    else:
        pixel = v * random.randint(1, 3)
    if kind == "chunked":
        kernel_h, kernel_w, pixel = random.randint(2, 6), random.randint(3, 6), 2 * pixel
        pixel -= random.choice([0, a, a * random.randrange(pixel // a)])  # buffers end anywhere
    number, size, pitch = 1, kernel_w * pixel, 0
    if lanes:
        number, size, pitch = kernel_w, v, pixel
    elif kind == "ragged" or random.random() < 0.2:
        number, size, pitch = kernel_w, a * random.randint(1, pixel // a), pixel
    out_w, out_h = random.randint(1, 4), random.randint(1, 3)
    if config.P == 2 and not split and out_w == 1:
        out_h = 1
    top, left = random.randint(-1, kernel_h), random.randint(-1, kernel_w + 1)
    row = in_w * pixel
    base = random.choice([0, random.randrange(config.act_lines)]) * v
    if kind == "dense":
        base += a * random.randrange(v // a)  # rows start anywhere in a line
        in_h += kernel_h
    op = {"channel": Opcode.CHANNEL, "strip": Opcode.CHANNEL, "max": Opcode.MAX}.get(
        kind, Opcode.CONV)
    strip = random.randint(1, min(3, kernel_w)) if kind == "strip" else 0
    return {
        "op": int(op), "split": int(split), "chunked": int(chunked), "groups": count,
        "fill": random.randint(-128, 127), "in_start": base - top * row, "kernel_h": kernel_h,
        "row_bytes": row, "segment_bytes": size, "y_step": stride_h * row, "segments": number,
        "x_start": -left * pixel,
        "x_step": 0 if strip else stride_w * pixel, "strip": strip, "segment_pitch": pitch,
        "in_h": in_h, "out_w": out_w, "out_h": out_h, "y_start": -top, "stride_h": stride_h}
