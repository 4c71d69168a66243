"""The feeder's Verilog and its three parts against byte strings made with plain loops."""

import random
from collections import deque

import cocotb

from hw.packer import Packer, patch_write
from hw.ports import read_latency
from hw.segments import segment_shape
from hw.words import command_shape, word_shape
from tb.drive import Part, configs, descriptor, start
from tb.patch_model import (
    KINDS,
    buffers,
    commands,
    patches,
    per_channel,
    random_layer,
    segments,
)

LAYERS = 16
LIMIT = 20_000  # cycles of one layer


class Collector:
    """Takes patch writes, compares each committed buffer with what is expected."""

    def __init__(self, config, expected):
        self.config, self.expected = config, deque(expected)
        self.buffer, self.lines = 0, []

    def take(self, raw: int) -> int | None:
        """One write; returns the number of the buffer that it commits."""
        write, config = patch_write(self.config).from_bits(raw), self.config
        if not write.valid:
            assert not write.commit
            return None
        line, buffer = write.addr % config.patch_lines, write.addr // config.patch_lines
        assert self.expected, "a line after the last patch"
        assert (line, buffer) == (len(self.lines), self.buffer), "order of lines and buffers"
        self.lines.append(write.line.to_bytes(config.V, "little"))
        wanted = self.expected[0]
        whole = -(-len(wanted.data) // config.V)
        assert bool(write.commit) == (len(self.lines) == whole), "commit with the last line only"
        if not write.commit:
            return None
        assert b"".join(self.lines)[:len(wanted.data)] == wanted.data
        assert (write.rows, bool(write.last)) == (wanted.rows, wanted.last)
        self.expected.popleft()
        self.lines, self.buffer = [], (self.buffer + 1) % config.patch_buffers
        return buffer


class FeederBench:
    """A feeder, the memory that it reads, and patch buffers that empty at random times."""

    def __init__(self, part: Part, config, index: int):
        self.part, self.config, self.index = part, config, index
        self.memory = random.randbytes(config.act_lines * config.V)
        self.answers = deque([None] * read_latency(config))
        self.every, self.buffer = (1 << config.patch_buffers) - 1, 0

    def line(self, number: int | None) -> int:
        """The line as the port returns it; garbage where none was asked for."""
        if number is None:
            return random.getrandbits(8 * self.config.V)
        v = self.config.V
        return int.from_bytes(self.memory[number * v:number * v + v], "little")

    async def cycle(self, stall: float, free: int, **pins: int) -> tuple[int, int]:
        """Drive one cycle; returns ``taken`` and ``patch``."""
        part = self.part
        ready = random.random() >= stall
        part.set(r__ready=ready, r__data=self.line(self.answers.popleft()), free=free, **pins)
        await part.settled()
        wanted = part.get("r__valid")
        number = part.get("r__addr")
        accepted = wanted and ready
        assert not accepted or number < self.config.act_lines, f"line {number} is not there"
        self.answers.append(number if accepted else None)
        found = part.get("taken"), part.get("patch")
        await part.edge()
        return found

    async def layer(self, d: dict, stall: float, hold: float) -> int:
        """Run a layer and compare; returns cycles from start to the last line."""
        expected = buffers(d, self.config,
                           patches(d, self.config, self.index, self.memory))
        collector = Collector(self.config, expected)
        collector.buffer = self.buffer
        free, full, next_taken, cycles = self.every, deque(), self.buffer, 0
        await self.cycle(stall, free, d=descriptor(self.config, d), start=1)
        while collector.expected:
            if full and random.random() >= hold:
                free |= 1 << full.popleft()
            taken, patch = await self.cycle(stall, self.every if hold < 0 else free, start=0)
            cycles += 1
            if taken:
                assert taken == 1 << next_taken, "buffers in turn"
                assert hold < 0 or taken & free, "a buffer that is not free"
                free &= ~taken
                next_taken = (next_taken + 1) % self.config.patch_buffers
            committed = collector.take(patch)
            if committed is not None:
                assert hold < 0 or not free >> committed & 1
                full.append(committed)
            assert cycles < LIMIT, f"no end: {d}"
        last = cycles
        for _ in range(12):
            taken, patch = await self.cycle(stall, self.every, start=0)
            assert not taken and not patch & 1, "a line after the last patch"
        self.buffer = collector.buffer  # the next layer goes on with the next buffer
        return last

    def lower_bound(self, d: dict) -> int:
        """Commands: one for each line of each segment, one for each spill."""
        return len(commands(d, self.config, segments(d, self.config, self.index)))

    def latency(self) -> int:
        """Cycles from the start to the first line, less the one that the line itself takes."""
        config = self.config
        return 3 + 2 * config.pipelined + read_latency(config) + Packer.latency(config)


def feeders(dut) -> list[FeederBench]:
    """All feeders of the bundle."""
    benches = []
    for name, config in configs().items():
        for index in range(config.P):
            benches.append(FeederBench(Part(dut, f"feeder_{name}{index}"), config, index))
    return benches


async def together(dut, benches, body):
    """Run the body on all benches side by side."""
    await start(dut)
    tasks = [cocotb.start_soon(body(bench)) for bench in benches]
    for task in tasks:
        await task


@cocotb.test(timeout_time=10, timeout_unit="ms")
async def feeder_packs_random_layers_despite_stalls(dut):
    async def body(bench):
        await bench.cycle(0, 0, start=0, clear=0, r__done=0)
        for number in range(LAYERS):
            d = random_layer(random, bench.config, KINDS[number % len(KINDS)])
            stall, hold = random.choice([(0, 0), (0.3, 0.5), (0.7, 0.9), (0.5, 0)])
            await bench.layer(d, stall, hold)
    await together(dut, feeders(dut), body)


@cocotb.test(timeout_time=10, timeout_unit="ms")
async def feeder_reads_a_line_every_cycle(dut):
    """Without stalls a layer takes as many cycles as it has lines, and the latency."""
    async def body(bench):
        await bench.cycle(0, 0, start=0, clear=0, r__done=0)
        for number in range(LAYERS):
            d = random_layer(random, bench.config, KINDS[number % len(KINDS)])
            work = bench.lower_bound(d)
            cycles = await bench.layer(d, 0, -1)
            assert cycles == (work + bench.latency() if work else 0), f"{cycles}, {work}: {d}"
    await together(dut, feeders(dut), body)


@cocotb.test(timeout_time=10, timeout_unit="ms")
async def feeder_forgets_everything_at_clear(dut):
    """Struck anywhere, the next layer is whole and takes exactly its own cycles."""
    async def body(bench):
        await bench.cycle(0, 0, start=0, clear=0, r__done=0)
        for _ in range(LAYERS):
            d = random_layer(random, bench.config)
            await bench.cycle(0.3, bench.every, d=descriptor(bench.config, d), start=1)
            for _ in range(random.randint(0, 2 * bench.lower_bound(d) // 2 + 8)):
                await bench.cycle(0.3, bench.every, start=0)
            await bench.cycle(0.3, bench.every, clear=1, start=0)
            bench.buffer = 0
            for _ in range(random.randint(0, 3)):
                _, patch = await bench.cycle(0.3, bench.every, clear=0)
                assert not patch & 1, "a line after clear"
            bench.part.set(clear=0)
            d = random_layer(random, bench.config)
            work = bench.lower_bound(d)
            cycles = await bench.layer(d, 0, -1)
            assert cycles == (work + bench.latency() if work else 0)
    await together(dut, feeders(dut), body)


@cocotb.test(timeout_time=10, timeout_unit="ms")
async def segments_follow_each_other_as_described(dut):
    """Every field of every segment; a stalled segment stays; one a cycle without stalls."""
    async def body(bench):
        part, config, index = bench
        shape = segment_shape(config)
        part.set(start=0, clear=0, o__ready=0)
        for number in range(LAYERS):
            d = random_layer(random, config, KINDS[number % len(KINDS)])
            expected, cycles, stall = segments(d, config, index), 0, (number % 3) * 0.4
            part.set(d=descriptor(config, d), start=1)
            await part.edge()
            part.set(start=0)
            kept = None
            for wanted in expected:
                while True:
                    ready = random.random() >= stall
                    part.set(o__ready=ready)
                    await part.settled()
                    valid, raw = part.get("o__valid"), part.get("o__payload")
                    assert kept is None or (valid, raw) == (1, kept), "moved before its transfer"
                    kept = raw if valid and not ready else None
                    await part.edge()
                    cycles += 1
                    assert cycles < LIMIT
                    if valid and ready:
                        break
                got = shape.from_bits(raw)
                flags = bool(got.inside), bool(got.last), bool(got.one)
                assert (got.addr, got.col, got.count, flags) == (
                    wanted.addr, wanted.col, wanted.count,
                    (wanted.inside, wanted.last, wanted.one)), (wanted, d)
            if not stall and expected:
                assert cycles == len(expected) + 1 + config.pipelined, "one a cycle"
            for _ in range(3):
                part.set(o__ready=1)
                await part.settled()
                assert not part.get("o__valid"), "a segment too many"
                await part.edge()
    parts = [(Part(dut, f"segments_{name}{index}"), config, index)
             for name, config in configs().items() for index in range(config.P)]
    await together(dut, parts, body)


@cocotb.test(timeout_time=10, timeout_unit="ms")
async def words_cut_segments_at_lines(dut):
    """Every field of every command; it waits for ``ready`` and for a free buffer."""
    async def body(bench):
        part, config = bench
        shape, given, every = command_shape(config), segment_shape(config), (
            1 << config.patch_buffers) - 1
        part.set(clear=1, i__valid=0, o__ready=0, free=0)
        await part.edge()
        part.set(clear=0)
        for number in range(LAYERS):
            d = random_layer(random, config, KINDS[number % len(KINDS)])
            todo = deque(segments(d, config, 0))
            expected, cycles = commands(d, config, list(todo)), 0
            calm = number % 3 == 0
            part.set(d=descriptor(config, d))
            offered, kept = False, None
            for wanted in expected:
                while True:
                    go, free = (1, every) if calm else (random.random() < 0.6,
                                                        random.getrandbits(config.patch_buffers))
                    offered = bool(todo) and (offered or calm or random.random() < 0.6)
                    if offered:
                        head = todo[0]
                        part.set(i__payload=given.const({
                            "addr": head.addr, "col": head.col, "inside": head.inside,
                            "last": head.last, "one": head.one, "count": head.count}).as_bits())
                    part.set(i__valid=offered, o__ready=go, free=free)
                    await part.settled()
                    if offered and part.get("i__ready"):
                        todo.popleft()
                        offered = False
                    assert not part.get("taken") & ~free, "a buffer that is not free"
                    now = part.get("o__valid"), part.get("o__payload")
                    assert kept is None or now == kept, "moved before go"
                    kept = now if now[0] and not go else None
                    await part.edge()
                    cycles += 1
                    assert cycles < LIMIT
                    if now[0] and go:
                        break
                command = shape.from_bits(now[1])
                o = command.word
                mask = sum(1 << b for b in range(config.V) if o.low <= b < o.high)
                assert mask == wanted.mask and bool(command.read) == bool(mask), f"{wanted} of {d}"
                assert not mask or command.addr == wanted.addr
                assert wanted.rotate is None or o.rotate == wanted.rotate
                assert [o.position, o.end, o.write, o.commit, o.last] == [
                    wanted.position, wanted.end, wanted.write, wanted.commit, wanted.last]
            if calm:
                assert cycles == len(expected) + 2, "one line a cycle"
    parts = [(Part(dut, f"words_{name}"), config) for name, config in configs().items()]
    await together(dut, parts, body)


@cocotb.test(timeout_time=10, timeout_unit="ms")
async def packer_merges_lines_into_patches(dut):
    """Commands with random gaps give the patches' bytes; latency as promised."""
    async def body(bench):
        part, config = bench
        shape = word_shape(config)
        memory = random.randbytes(config.act_lines * config.V)
        part.set(clear=1, i_valid=0)
        await part.edge()
        part.set(clear=0)
        buffer = 0
        for number in range(LAYERS):
            d = random_layer(random, config, KINDS[number % len(KINDS)])
            todo = deque(commands(d, config, segments(d, config, 0)))
            collector = Collector(config, buffers(d, config, patches(d, config, 0, memory)))
            collector.buffer = buffer
            part.set(fill=d["fill"], by_line=per_channel(d))
            due = deque([False] * Packer.latency(config))
            while todo or any(due):
                valid = bool(todo) and random.random() >= (number % 2) * 0.5
                word, line = random.getrandbits(shape.size), random.getrandbits(8 * config.V)
                if valid:
                    c = todo.popleft()
                    low = (c.mask & -c.mask).bit_length() - 1 if c.mask else config.V
                    rotate = random.randrange(config.V) if c.rotate is None else c.rotate
                    word = shape.const({
                        "low": low, "high": c.mask.bit_length(), "rotate": rotate,
                        "position": c.position, "end": c.end, "write": c.write,
                        "commit": c.commit, "last": c.last}).as_bits()
                    if c.mask:
                        at = c.addr * config.V
                        line = int.from_bytes(memory[at:at + config.V], "little")
                due.append(valid and c.write)
                part.set(i_valid=valid, i=word, line=line)
                await part.settled()
                raw = part.get("o")
                assert bool(raw & 1) == due.popleft(), "latency"
                collector.take(raw)
                await part.edge()
            assert not collector.expected
            buffer = collector.buffer
    parts = [(Part(dut, f"packer_{name}"), config) for name, config in configs().items()]
    await together(dut, parts, body)
