"""The Verilog of operand selection and column pairs, every cycle, against plain arithmetic."""

import random
from collections import deque

import cocotb
from cocotb.triggers import Timer

from hw.columns import ColumnPair
from hw.issue import issue_shape
from hw.operands import Operands
from hw.packer import patch_write
from tb.drive import Part, configs, start

CYCLES = 700
BYTES = (-128, -128, 127, 127, -1, 0, 1)


def byte() -> int:
    """An int8, corners more often."""
    return random.choice((*BYTES, random.randint(-128, 127), random.randint(-128, 127)))


def array(values, width: int) -> int:
    """Neighbouring elements of ``width`` bits, the first one lowest."""
    return sum((value & (1 << width) - 1) << width * n for n, value in enumerate(values))


def elements(bits: int, width: int, count: int, signed: bool = True) -> list[int]:
    """The inverse of ``array``."""
    found = [bits >> width * n & (1 << width) - 1 for n in range(count)]
    return [v - (signed and v >> width - 1 << width) for v in found]


def wrapped(value: int) -> int:
    """int32."""
    return (value + (1 << 31)) % (1 << 32) - (1 << 31)


async def together(dut, kind: str, body):
    """Run the body on the component of every configuration, side by side."""
    await start(dut)
    tasks = [cocotb.start_soon(body(Part(dut, f"{kind}_{name}"), config))
             for name, config in configs().items()]
    for task in tasks:
        await task


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def operands_are_the_bytes_of_the_issued_rows(dut):
    """Random rows a lane, buffers, parts, offsets, both modes; writes at the same time."""
    async def body(part, config):
        shape, given = issue_shape(config), patch_write(config)
        lines, buffers = config.patch_lines, config.patch_buffers
        memory = [[byte() for _ in range(config.V)] for _ in range(lines * buffers)]
        part.set(patch=0, issue=0, channel=0, offset=0, start=0, delay=0)
        for address, line in enumerate(memory):
            part.set(patch=given.const({
                "valid": 1, "addr": address, "line": array(line, 8)}).as_bits())
            await part.edge()
        part.set(patch=0)
        width = config.operand_width
        early, late = Operands.part_latency(config), Operands.latency(config)
        parts, acts = deque([None] * early), deque([None] * late)
        for offset in (-128, 127, 0, random.randint(-128, 127)):
            for channel in (0, 1):
                delay = random.choice([0, 1, 2, 15])
                part.set(offset=offset, channel=channel, delay=delay, start=1)
                for _ in range(config.L):
                    await part.edge()
                    part.set(start=0)
                former = None
                before = 0            # the part of a row comes with the next one
                issued = []           # what lane 0 took; the others take it later
                for _ in range(CYCLES // 8):
                    buffer = random.randrange(buffers)
                    rows = lines * (1 if channel else config.rows_per_line)
                    row = random.choice([0, 1, rows - 1, random.randrange(rows)])
                    each = [row if channel else random.choice([row, random.randrange(rows)])
                            for _ in range(config.L)]
                    used = random.getrandbits(config.L) if config.skips and not channel else -1
                    group = random.randrange(config.groups_per_line)
                    other = random.randrange(lines * buffers)
                    line = [byte() for _ in range(config.V)]
                    if other // lines in (buffer, former):
                        other = None  # the packer never writes what the lanes read
                    former = buffer
                    valid = random.random() < 0.8
                    part.set(
                        issue=shape.const({
                            "valid": valid, "buffer": buffer, "rows": each,
                            "lanes": used % (1 << config.L),
                            "part": before if config.pipelined else group,
                            "weights": [0] * config.L}).as_bits(),
                        patch=0 if other is None else given.const({
                            "valid": 1, "addr": other, "line": array(line, 8)}).as_bits())
                    before = group
                    taken = memory[buffer * lines + row][group * config.C:][:config.C] \
                        if channel else None
                    if taken and valid:
                        issued.append(taken)
                    elif not valid:
                        taken = None
                    parts.append(taken)
                    picked = [memory[buffer * lines + r // config.rows_per_line][
                        r % config.rows_per_line * config.L + lane] for lane, r in enumerate(each)]
                    lanes = [issued[-1 - lane * (delay + 1)] for lane in
                             range(Operands.channel_lanes(config))
                             if lane * (delay + 1) < len(issued)] if taken else None
                    if config.skips:      # a lane without a row adds nothing
                        zero = -128 if config.narrow else offset
                        picked = [x if used >> lane & 1 else zero for lane, x in enumerate(picked)]
                    acts.append((offset, picked if not channel else None, lanes))
                    if other is not None:
                        memory[other] = line
                    await part.settled()
                    wanted = parts.popleft()
                    if wanted:
                        assert elements(part.get("part"), 8, config.C) == wanted
                    check(part, config, width, acts.popleft(), offset)
                    await part.edge()
                for _ in range(late):
                    part.set(issue=shape.const({"part": before}).as_bits(), patch=0)
                    await part.settled()
                    check(part, config, width, acts.popleft(), offset)
                    await part.edge()
                parts, acts = deque([None] * early), deque([None] * late)

    def check(part, config, width, wanted, now):
        if wanted is None:
            return
        offset, picked, lanes = wanted
        assert offset == now, "the offset holds for a layer"
        signed = not config.narrow
        zero = -128 if config.narrow else offset
        if picked is not None:
            found = elements(part.get("acts"), width, config.L * config.C, signed)
            wanted = [x - zero for x in picked for _ in range(config.C)]
            assert found == wanted, (config, found, wanted)
        if lanes is not None:
            found = elements(part.get("acts"), width, config.L * config.C, signed)
            for lane, taken in enumerate(lanes):
                acts = found[lane * config.C:][:config.C]
                assert acts == [x + 128 * config.narrow for x in taken], "CHANNEL has no offset"
    await together(dut, "operands", body)


class Columns:
    """Two psums that follow what enters the multipliers."""

    def __init__(self, config):
        self.config, self.psums = config, [0, 0]
        self.known = False
        self.late = deque([None] * ColumnPair.latency(config))

    def push(self, acts, weights, valid: bool, first: bool):
        """One cycle's operands."""
        if valid:
            self.known |= first
            self.psums = [wrapped((0 if first else psum) + sum(a * w for a, w in zip(
                *pair, strict=True))) for psum, pair in zip(
                    self.psums, zip(acts, weights, strict=True), strict=True)]
        self.late.append(tuple(self.psums) if self.known else None)
        return self.late.popleft()


async def drive(part, config, columns: Columns, acts, weights, valid, first):
    """One cycle of a column pair: compare what leaves, then what enters moves on."""
    part.set(acts0=array(acts[0], config.operand_width), acts1=array(acts[1], config.operand_width),
             weights0=array(weights[0], 8), weights1=array(weights[1], 8), valid=valid, first=first)
    wanted = columns.push(acts, weights, valid, first)
    await part.settled()
    if wanted is not None:
        found = tuple(elements(part.get(f"psum{n}"), 32, 1)[0] for n in range(2))
        assert found == wanted
    await part.edge()


def operand(config) -> int:
    """What Operands can put out; corners more often."""
    if config.narrow:
        return byte() + 128
    return byte() - random.choice((-128, 127, byte()))


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def columns_add_products_with_gaps(dut):
    """Random operands, gaps and new psums, in every cycle, after exactly the latency."""
    async def body(part, config):
        columns = Columns(config)
        for _ in range(CYCLES):
            acts = [[operand(config) for _ in range(config.L)] for _ in range(2)]
            weights = [[byte() for _ in range(config.L)] for _ in range(2)]
            await drive(part, config, columns, acts, weights,
                        random.random() < 0.7, random.random() < 0.15)
    await together(dut, "columns", body)


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def columns_wrap_at_32_bits(dut):
    """The largest products, until both psums have passed the ends of int32.

    A psum grows by at most 255 * 128 * L a cycle: most cycles go by without a comparison.
    """
    async def body(part, config):
        far = 255 if config.narrow else -255
        acts = [[255] * config.L, [far] * config.L]
        weights = [[-128] * config.L, [127 if config.narrow else -128] * config.L]
        step = [sum(a * w for a, w in zip(*pair, strict=True))
                for pair in zip(acts, weights, strict=True)]
        columns = Columns(config)
        await drive(part, config, columns, acts, weights, True, True)
        many = (1 << 31) // max(map(abs, step)) - 40
        part.set(first=0)
        await Timer(10 * many, "ns")
        columns.psums = [psum + many * change
                         for psum, change in zip(columns.psums, step, strict=True)]
        columns.late = deque([None] * len(columns.late))
        signs = set()
        for _ in range(400):
            await drive(part, config, columns, acts, weights, True, False)
            signs |= {(n, psum < 0) for n, psum in enumerate(columns.psums)}
        assert len(signs) == 4, "both psums must wrap"
    await together(dut, "columns", body)
