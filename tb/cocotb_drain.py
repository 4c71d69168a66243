"""The drain and its parts in Verilog: exact bytes, exact distances, ports that stall."""

import random
from collections import deque

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, ReadOnly

from hw.config import CoreConfig
from hw.drain import Drain
from hw.issue import Issue
from hw.layout import Opcode
from hw.params import ParamMemory
from hw.ports import read_latency
from sim.golden import mbqm
from tb import patch_model
from tb.bench import parameters
from tb.drive import descriptor

LIMIT = 4000   # cycles of the longest wait
MOST_STALL = 3  # cycles that a residual waits for writers and the other cluster


def wrap32(x: int) -> int:
    return (int(x) + 2**31) % 2**32 - 2**31


async def start(dut):
    cocotb.start_soon(Clock(dut.clk, 10, "ns").start())
    dut.rst.value = 1
    for _ in range(3):
        await FallingEdge(dut.clk)
    dut.rst.value = 0
    for _ in range(20):
        await FallingEdge(dut.clk)


def passes(config: CoreConfig, index: int, d: dict) -> list[tuple[int, int]]:
    """Line offset and group of every pass of a cluster, in order."""
    return [(y * d["out_row"] + x * d["out_pitch"] + g // config.groups_per_line, g)
            for x, y, g in patch_model.passes(d, config, index)]


class Model:
    """Memories around a drain and the bytes that its passes must become."""

    def __init__(self, config: CoreConfig, rng: random.Random, d: dict):
        self.config, self.d = config, d
        self.params = [[(rng.choice([0, rng.randrange(-2**31, 2**31), rng.randrange(-99, 99)]),
                         rng.randrange(2**30, 2**31), rng.randrange(32))
                        for _ in range(config.C)] for _ in range(config.param_groups)]
        self.params[d["add_param"]] = [
            (rng.randrange(-2**20, 2**20), rng.randrange(2**30, 2**31), rng.randrange(14, 24))
            for _ in range(config.C)]
        self.table = [rng.randrange(-2**27, 2**27) for _ in range(256)]
        self.memory = [[rng.randrange(-128, 128) for _ in range(config.V)]
                       for _ in range(config.act_lines)]

    def requant(self, value: int, group: int, channel: int, prefix: str = "") -> int:
        d, (bias, multiplier, shift) = self.d, self.params[group][channel]
        y = int(mbqm(np.array([wrap32(value + bias)]), np.array([multiplier]),
                     np.array([-shift]))[0])
        zero_point = d["add_zero_point" if prefix else "zero_point"]
        return min(max(y + zero_point, d[prefix + "low"]), d[prefix + "high"])

    def bytes_of(self, base: int, offset: int, group: int) -> list[int]:
        first = group % self.config.groups_per_line * self.config.C
        return self.memory[base + offset][first:first + self.config.C]

    def output(self, offset: int, group: int, values: list[int]) -> list[int]:
        """The bytes of a pass from its psums or maxima."""
        d, op = self.d, self.d["op"]
        if op == Opcode.MAX:
            sums = [(self.table[value & 255] if d["table_first"] else 0)
                    + ((value - d["z_other"]) << 19) for value in values]
        else:
            a = self.bytes_of(d["a_base"], offset, group)
            if op != Opcode.ADD:
                a = [self.requant(value, d["param_base"] + (0 if d["uniform"] else group), c)
                     for c, value in enumerate(values)]
            if op != Opcode.ADD and not (d["add"] and op == Opcode.CONV):
                return a
            b = self.bytes_of(d["res_base"], offset, group)
            sums = [self.table[(x if d["table_first"] else y) & 255]
                    + (((y if d["table_first"] else x) - d["z_other"]) << 19)
                    for x, y in zip(a, b, strict=True)]
        return [self.requant(value, d["add_param"], c, "add_") for c, value in enumerate(sums)]

    def beat(self, address: int) -> int:
        """Parameters of a beat as the memory's word."""
        config = self.config
        beat, group = address % config.beats, address // config.beats
        word = 0
        if group < config.param_groups:
            units = self.params[group][beat * config.requant_units:][:config.requant_units]
            for n, (bias, multiplier, shift) in enumerate(units):
                word |= (bias % 2**32 | multiplier << 32 | shift << 64) << 69 * n
        return word


class Bench:
    """Drives every port of a drain cycle by cycle."""

    def __init__(self, dut, model: Model, rng: random.Random):
        self.dut, self.model, self.config, self.rng = dut, model, model.config, rng
        self.beats = deque([0] * ParamMemory.latency(self.config))
        self.reads = deque([None] * read_latency(self.config))
        self.psums = deque([None] * Drain.lead(self.config))
        self.writes, self.waited, self.held = [], 0, 0

    async def cycle(self, psums=None, maximum=None):
        """One cycle in which a pass may be announced (psums) or complete (maximum)."""
        dut, config, rng = self.dut, self.config, self.rng
        await FallingEdge(dut.clk)
        self.beats.append(self.model.beat(int(dut.param_addr.value)))
        dut.params.value = self.beats.popleft()
        dut.early.value = psums is not None
        self.psums.append(psums)
        bits = config.acc_width
        dut.psums.value = pack(self.psums.popleft() or noise(rng, config.C, bits), bits)
        dut.row_valid.value = dut.row_first.value = dut.row_last.value = maximum is not None
        dut.row.value = pack(maximum or noise(rng, config.C, 8), 8)
        self._read()
        self._write()

    def _read(self):
        dut, rng = self.dut, self.rng
        line = self.reads.popleft()
        dut.r__done.value = line is not None
        lines = self.model.memory
        dut.r__data.value = pack(lines[line] if line is not None else noise(rng, self.config.V, 8),
                                 8)
        most = 40 if self.model.d["op"] == Opcode.ADD else MOST_STALL
        ready = self.waited >= most or rng.random() < 0.5
        dut.r__ready.value = ready
        valid = bool(dut.r__valid.value)
        self.waited = self.waited + 1 if valid and not ready else 0
        self.reads.append(int(dut.r__addr.value) if valid and ready else None)

    def _write(self):
        """Take a write at once, or a cycle later where another cluster may go first."""
        dut, config = self.dut, self.config
        ready = config.P <= config.F or self.held == 1 or self.rng.random() < 0.5
        dut.w__ready.value = ready
        valid = bool(dut.w__valid.value)
        self.held = 1 if valid and not ready else 0
        if valid and ready:
            self.writes += written(config, int(dut.w__addr.value), int(dut.w__mask.value),
                                   int(dut.w__data.value))


def written(config: CoreConfig, line: int, mask: int, data: int) -> list[tuple[int, int, int]]:
    """Line, byte of the line and value of everything that one write changes."""
    return [(line, byte, data >> 8 * byte & 0xFF) for byte in range(config.V)
            if mask >> byte // config.mask_bytes & 1]


def wanted(config: CoreConfig, line: int, part: int, values: list[int]):
    """The same of the channels of a pass."""
    return [(line, part * config.C + c, value & 0xFF) for c, value in enumerate(values)]


def twins(config: CoreConfig, line: int, values: list[int]):
    """The same of a pass of two pixels."""
    half = config.C // 2
    return [write for n in range(2)
            for write in wanted(config, line + n, 0, values[n * half:(n + 1) * half] + [0] * half)]


def there(config: CoreConfig, d: dict, writes: list[tuple[int, int, int]]):
    """Of these, the channels that there are, without beats left out; others may be anything."""
    channels = config.C // (1 + d["twin"]) - d["spare"] * config.requant_units
    return [(line, byte, value) for line, byte, value in writes if byte % config.C < channels]


def pack(values: list[int], bits: int) -> int:
    return sum((value % (1 << bits)) << bits * n for n, value in enumerate(values))


def noise(rng: random.Random, count: int, bits: int) -> list[int]:
    return [rng.getrandbits(bits) for _ in range(count)]


def random_descriptor(config: CoreConfig, rng: random.Random, op: int, add: int) -> dict:
    """Few passes whose lines do not overlap."""
    gpl = config.groups_per_line
    width, height, groups = rng.randint(2, 4), rng.randint(1, 3), rng.randint(1, 2 * gpl + 1)
    pitch = -(-groups // gpl)
    low, high, add_low, add_high = (rng.randint(-128, 127) for _ in range(4))
    if rng.random() < 0.7:
        low, high, add_low, add_high = -128, 127, -128, 127
    tensor = width * height * pitch
    assert 4 * tensor <= config.act_lines
    uniform = rng.randint(0, 1)
    strip = rng.randint(0, 3) if op == Opcode.CHANNEL and config.strips else 0
    short = config.short_drains and op != Opcode.ADD and not add
    spare = rng.choice([0, rng.randrange(config.beats - 1)]) if short else 0
    twin = int(config.twins and op == Opcode.CONV and not add and rng.random() < 0.4)
    if twin:
        groups, pitch, spare = 1, 2, 0
        assert 4 * width * height * pitch <= config.act_lines
    return {
        "op": op, "twin": twin, "strip": strip, "spare": spare, "add": add, "uniform": uniform,
        "table_first": rng.randint(0, 1),
        "split": rng.randint(0, 1), "out_w": width, "out_h": height, "groups": groups,
        "out_pitch": pitch, "out_row": width * pitch, "out_base": rng.randint(0, tensor),
        "a_base": rng.randint(0, tensor), "res_base": rng.randint(0, tensor),
        "param_base": rng.randint(0, config.param_groups - groups - 1),
        "add_param": config.param_groups - 1, "zero_point": rng.randint(-128, 127),
        "z_other": rng.randint(-128, 127), "add_zero_point": rng.randint(-128, 127),
        "low": min(low, high), "high": max(low, high), "add_low": min(add_low, add_high),
        "add_high": max(add_low, add_high)}


async def run(dut, config: CoreConfig, index: int, rng: random.Random, op: int, add: int):
    """One descriptor: all its passes as close as promised, or with gaps."""
    d = random_descriptor(config, rng, op, add)
    model = Model(config, rng, d)
    bench = Bench(dut, model, rng)
    for address, word in enumerate(model.table):
        await FallingEdge(dut.clk)
        dut.t_en.value, dut.t_addr.value, dut.t_data.value = 1, address, word % 2**32
    await FallingEdge(dut.clk)
    dut.t_en.value, dut.d.value = 0, descriptor(config, d)
    assert dut.idle.value == 1
    dut.start.value = 1
    await bench.cycle()
    dut.start.value = 0
    await bench.cycle()
    expected, close = [], rng.random() < 0.7
    distance = Drain.add_cycles(config) if add and op == Opcode.CONV else Drain.cycles(config)
    if d["spare"]:
        distance = Issue.apart(config, Drain.cycles(config, d["spare"]))
    await bench.cycle()
    for offset, group in passes(config, index, d):
        most = 1 << config.acc_width - 1
        values = [rng.choice([rng.randrange(-most, most), rng.randrange(-9999, 9999)])
                  for _ in range(config.C)]
        if op == Opcode.MAX:
            values = [rng.randrange(-128, 128) for _ in range(config.C)]
        line, output = d["out_base"] + offset, model.output(offset, group, values)
        expected += (twins(config, line, output) if d["twin"] else
                     wanted(config, line, group % config.groups_per_line, output))
        if op == Opcode.ADD:
            continue
        assert dut.idle.value == 0
        await bench.cycle(**{"maximum" if op == Opcode.MAX else "psums": values})
        for _ in range(distance - 1 + (0 if close else rng.choice([0, 1, 2, 30]))):
            await bench.cycle()
    for _ in range(LIMIT):
        if dut.idle.value == 1:
            break
        await bench.cycle()
    for cycle in range(Drain.ahead(config, op == Opcode.CONV and bool(add)) + 1):
        assert dut.idle.value == 1 or cycle > 3
        if cycle == 3:        # the next descriptor is there
            dut.d.value = rng.getrandbits(len(dut.d))
        await bench.cycle()
    assert dut.written.value == 1
    assert len(bench.writes) == len(expected), d
    assert there(config, d, bench.writes) == there(config, d, expected), d


def idle_inputs(dut):
    for name in ("start", "clear", "early", "row_valid", "row_first", "row_last", "t_en",
                 "r__ready", "r__done", "w__ready"):
        getattr(dut, name).value = 0


@cocotb.test(timeout_time=3, timeout_unit="ms")
async def drain_equals_golden_at_the_promised_distance(dut):
    """Every operation in random order; nothing between two descriptors but idle."""
    given = parameters()
    config, rng = CoreConfig(**given["config"]), random.Random(given["seed"])
    idle_inputs(dut)
    await start(dut)
    kinds = [(Opcode.CONV, 0), (Opcode.CONV, 1), (Opcode.CHANNEL, 0), (Opcode.MAX, 0),
             (Opcode.ADD, 0)] * 3
    rng.shuffle(kinds)
    for op, add in kinds:
        await run(dut, config, given["index"], rng, op, add)


@cocotb.test(timeout_time=3, timeout_unit="ms")
async def drain_forgets_everything_when_cleared(dut):
    """Clear in the middle of each operation; the next one is computed as if alone."""
    given = parameters()
    config, rng = CoreConfig(**given["config"]), random.Random(given["seed"] + 1)
    idle_inputs(dut)
    await start(dut)
    for op, add in [(Opcode.CONV, 0), (Opcode.CONV, 1), (Opcode.MAX, 0), (Opcode.ADD, 0)] * 3:
        d = random_descriptor(config, rng, op, add)
        bench = Bench(dut, Model(config, rng, d), rng)
        dut.d.value, dut.start.value = descriptor(config, d), 1
        await bench.cycle()
        dut.start.value = 0
        await bench.cycle()
        values = [1] * config.C
        if op == Opcode.CONV:
            await bench.cycle(psums=values)
        elif op == Opcode.MAX:
            await bench.cycle(maximum=values)
        for _ in range(rng.randint(0, 40)):
            await bench.cycle()
        dut.clear.value = 1
        for _ in range(64):
            await bench.cycle()
        dut.clear.value = 0
        assert dut.idle.value == 1, f"busy after clear: {d}"
        before = len(bench.writes)
        for _ in range(20):     # the next descriptor is being fetched: its fields come and go
            dut.d.value = descriptor(config, d | {"op": rng.choice(list(Opcode)[:6])})
            await bench.cycle()
            assert dut.r__valid.value == 0 and dut.idle.value == 1
        assert len(bench.writes) == before
        await run(dut, config, given["index"], rng, *rng.choice([(2, 0), (2, 1), (4, 0), (5, 0)]))


# --- parts ----------------------------------------------------------------------------------------


@cocotb.test(timeout_time=3, timeout_unit="ms")
async def beats_follow_start_at_their_distance(dut):
    given = parameters()
    config, rng = CoreConfig(**given["config"]), random.Random(given["seed"])
    dut.beats__start.value = dut.beats__clear.value = 0
    await start(dut)
    for trial in range(60):
        final = rng.choice([config.beats - 1, rng.randrange(1, config.beats)])
        if config.beats > 1:
            dut.beats__final.value = final
        whole = (final + 1) * config.beat_cycles
        length = whole + rng.choice([0, 0, 1, 9])
        cut = rng.randrange(1, whole + 1) if trial % 5 == 4 else length
        for cycle in range(length):
            dut.beats__start.value = cycle == 0
            dut.beats__clear.value = cycle == cut
            await FallingEdge(dut.clk)
            beat, phase = divmod(cycle, config.beat_cycles)
            fetch = phase == 0 and beat <= final and cycle < cut
            assert int(dut.beats__fetch.value) == fetch, (cycle, cut)
            assert int(dut.beats__last.value) == (fetch and beat == final)
            if fetch:
                assert int(dut.beats__beat.value) == beat


@cocotb.test(timeout_time=3, timeout_unit="ms")
async def walk_visits_every_output_once(dut):
    given = parameters()
    config, rng = CoreConfig(**given["config"]), random.Random(given["seed"])
    for name in ("start", "step", "clear"):
        getattr(dut, f"walk__{name}").value = 0
    await start(dut)
    assert dut.walk__finished.value == 1
    for trial in range(40):
        d = random_descriptor(config, rng, rng.choice([Opcode.CONV, Opcode.CHANNEL]), 0)
        if config.P == 2 and not d["split"] and rng.random() < 0.5:
            d |= {"out_w": 1, "out_h": 1}       # a cluster without pixels
        dut.walk__d.value, dut.walk__start.value = descriptor(config, d), 1
        await FallingEdge(dut.clk)
        dut.walk__start.value = 0
        visits = passes(config, given["index"], d)
        for number, (offset, group) in enumerate(visits):
            for _ in range(rng.choice([1, 1, 4])):
                assert dut.walk__finished.value == 0
                await FallingEdge(dut.clk)
            assert int(dut.walk__offset.value) == offset, (number, d)
            assert int(dut.walk__group.value) == group, (number, d)
            if config.groups_per_line > 1:
                assert int(dut.walk__part.value) == group % config.groups_per_line
            if trial % 8 == 7 and number == len(visits) // 2:
                dut.walk__clear.value = 1
                await FallingEdge(dut.clk)
                dut.walk__clear.value = 0
                break
            dut.walk__step.value = 1
            await FallingEdge(dut.clk)
            dut.walk__step.value = 0
        assert dut.walk__finished.value == 1, d


@cocotb.test(timeout_time=3, timeout_unit="ms")
async def writer_joins_beats_to_lines(dut):
    """Passes as close as the drain's, announced long before their bytes."""
    given = parameters()
    config, rng = CoreConfig(**given["config"]), random.Random(given["seed"])
    for name in ("push", "clear", "i_valid", "w__ready"):
        getattr(dut, f"writer__{name}").value = 0
    await start(dut)
    units, delay = config.requant_units, given["delay"]
    spare = rng.choice([0, rng.randrange(config.beats - 1)]) if config.short_drains else 0
    twin = int(config.twins and not spare and rng.random() < 0.5)
    beats = config.beats - spare
    cycles = Issue.apart(config, Drain.cycles(config, spare)) if spare else Drain.cycles(config)
    if not config.byte_writes and config.beats > 1:
        dut.writer__final.value = beats - 1
    if config.twins:
        dut.writer__twin.value = twin
    schedule: dict[int, dict] = {}
    expected, now = [], Drain.cycles(config)
    for _ in range(80):
        line, part = rng.randrange(config.act_lines - 1), rng.randrange(config.groups_per_line)
        data = [rng.getrandbits(8) for _ in range(config.C)]
        for beat in range(beats):
            at = now + delay - (beats - 1 - beat) * config.beat_cycles
            schedule.setdefault(at, {})["beat"] = data[beat * units:(beat + 1) * units]
            if beat == 0 and config.byte_writes:
                schedule[at]["place"] = (line, part)
        schedule.setdefault(now, {}).update(push=True, place=(line, part))
        expected += (twins(config, line, data) if twin else wanted(config, line, part, data))
        now += cycles + rng.choice([0, 0, 0, 1, 17])
    got, held = [], 0
    for cycle in range(now + delay + 10):
        event = schedule.get(cycle, {})
        valid = bool(dut.writer__w__valid.value)
        ready = config.P <= config.F or held == 1 or rng.random() < 0.5
        held = 1 if valid and not ready else 0
        if valid and ready:
            got += written(config, int(dut.writer__w__addr.value), int(dut.writer__w__mask.value),
                           int(dut.writer__w__data.value))
        dut.writer__w__ready.value = ready
        dut.writer__push.value = "push" in event
        if "place" in event:
            dut.writer__addr.value, part = event["place"]
            if config.groups_per_line > 1:
                dut.writer__part.value = part
        dut.writer__i_valid.value = "beat" in event
        dut.writer__i.value = pack(event.get("beat", noise(rng, units, 8)), 8)
        await FallingEdge(dut.clk)
    assert dut.writer__idle.value == 1
    assert len(got) == len(expected)
    d = {"twin": twin, "spare": spare}
    assert there(config, d, got) == there(config, d, expected)


@cocotb.test(timeout_time=3, timeout_unit="ms")
async def parameters_come_back_as_beats(dut):
    """Words of all channels in random order; every beat, for every cluster at once."""
    given = parameters()
    config, rng = CoreConfig(**given["config"]), random.Random(given["seed"])
    dut.params__w_en.value = 0
    await start(dut)
    channels = config.param_groups * config.C
    words = [(rng.getrandbits(5), rng.getrandbits(32), rng.getrandbits(32))
             for _ in range(channels)]
    order = list(range(channels))
    rng.shuffle(order)
    for channel in order:
        for kind, word in enumerate((*words[channel], rng.getrandbits(32))):
            dut.params__w_en.value, dut.params__w_addr.value = 1, 4 * channel + kind
            dut.params__w_data.value = word
            await FallingEdge(dut.clk)
            if rng.random() < 0.2:
                dut.params__w_en.value = 0
                await FallingEdge(dut.clk)
    dut.params__w_en.value = 0
    due = [deque([None] * ParamMemory.latency(config)) for _ in range(config.P)]
    for _ in range(300):
        for p in range(config.P):
            address = rng.randrange(config.param_groups * config.beats)
            wanted = due[p].popleft()
            if wanted is not None:
                units = words[wanted * config.requant_units:][:config.requant_units]
                word = sum((bias | multiplier << 32 | shift << 64) << 69 * n
                           for n, (shift, bias, multiplier) in enumerate(units))
                assert int(getattr(dut, f"params__o{p}").value) == word
            due[p].append(address)
            getattr(dut, f"params__addr{p}").value = address
        await FallingEdge(dut.clk)


@cocotb.test(timeout_time=3, timeout_unit="ms")
async def residuals_arrive_whatever_the_port_does(dut):
    """Single reads and pairs, each with its own part of its line, at random stalls."""
    given = parameters()
    config, rng = CoreConfig(**given["config"]), random.Random(given["seed"])
    for name in ("clear", "start", "pairs", "paired", "r__ready", "r__done"):
        getattr(dut, f"residual__{name}").value = 0
    await start(dut)
    d = random_descriptor(config, rng, Opcode.ADD, 0)
    dut.residual__d.value = descriptor(config, d)
    memory = [noise(rng, config.V, 8) for _ in range(config.act_lines)]
    reads: deque = deque([None] * read_latency(config))
    got: list[tuple[str, int]] = []

    async def cycle():
        valid, address = bool(dut.residual__r__valid.value), int(dut.residual__r__addr.value)
        ready, line = rng.random() < 0.4, reads.popleft()
        reads.append(address if valid and ready else None)
        dut.residual__r__ready.value = ready
        dut.residual__r__done.value = line is not None
        dut.residual__r__data.value = pack(memory[line] if line is not None else
                                           noise(rng, config.V, 8), 8)
        await ReadOnly()
        for name in ("first", "second"):
            if getattr(dut, f"residual__{name}_valid").value == 1:
                got.append((name, int(dut.residual__bytes.value)))
        await FallingEdge(dut.clk)

    def part_of(base: int, offset: int, part: int) -> int:
        return pack(memory[base + offset][part * config.C:][:config.C], 8)

    for _ in range(40):
        offset, part = rng.randrange(config.act_lines // 2), rng.randrange(config.groups_per_line)
        dut.residual__offset.value = offset
        if config.groups_per_line > 1:
            dut.residual__part.value = part
        pairs = rng.random() < 0.5
        expected = [("second", part_of(d["res_base"], offset, part))]
        if pairs:
            expected.insert(0, ("first", part_of(d["a_base"], offset, part)))
        dut.residual__pairs.value, dut.residual__start.value = pairs, not pairs
        await cycle()
        dut.residual__start.value = 0
        for _ in range(100):
            if len(got) == len(expected):
                break
            await cycle()
        assert got == expected
        got.clear()
        await cycle()
        dut.residual__paired.value = pairs
        await cycle()
        dut.residual__paired.value = dut.residual__pairs.value = 0
        for _ in range(rng.randint(1, 6)):
            await cycle()
        assert not got
