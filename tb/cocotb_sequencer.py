"""The sequencer's Verilog: order, checks, counters, errors of the units, stops and time-outs."""

import random
from dataclasses import dataclass, field

import cocotb
from cocotb.triggers import ClockCycles, FallingEdge

from hw.config import PROGRAM_VERSION, CoreConfig, align_up, slot_bytes
from hw.counters import issued_shape
from hw.descriptor import descriptor_shape
from hw.layout import COUNTER_WORDS, MAGIC, STRIP_ROWS, Error, Opcode, Space, encode
from hw.sequencer import FLUSH_CYCLES, TIMEOUT_BITS, Sequencer
from tb.cocotb_memories import ReadPort, random_fields, setup
from tb.drive import Part, descriptor, start

LIMIT = 20_000   # cycles of the longest run


@dataclass
class Outcome:
    """What a run did."""

    launched: list[dict] = field(default_factory=list)
    writes: dict[tuple[int, int], int] = field(default_factory=dict)
    counts: list[tuple[int, int, int]] = field(default_factory=list)
    cleared: int = 0
    busy: int = 0


class Bench:
    """Memory and units of a sequencer."""

    def __init__(self, dut, config: CoreConfig, rng: random.Random):
        self.part, self.config, self.rng = Part(dut, "sequencer"), config, rng
        self.shape = descriptor_shape(config)
        self.memory = [rng.getrandbits(config.line_bits) for _ in range(config.act_lines)]
        self.port = ReadPort(self.part, config, rng, self.memory, 0.7)
        self.part.set(start=0, stop=0, r__ready=0, r__done=0, w__ready=0, units_idle=1, written=1,
                      issued=0,
                      feed_stall=0, drain_stall=0, progress=0, error_address=0, error_descriptor=0)

    def place(self, line: int, header: list[int], slots: list[list[int]]) -> None:
        """Write a program into memory."""
        size, per_line = slot_bytes(self.config) // 4, self.config.line_words
        words = header + [0] * (align_up(16, self.config.V) // 4 - 4)
        for slot in slots:
            words += slot + [self.rng.getrandbits(32) for _ in range(size - len(slot))]
        for n in range(0, len(words), per_line):
            self.memory[line + n // per_line] = sum(
                word << 32 * k for k, word in enumerate(words[n:n + per_line]))

    async def run(self, line: int, *, fail_at=None, what: str = "") -> Outcome:
        """Start at a line; raise an input of that name in a cycle; return when the core is idle."""
        part, rng, outcome = self.part, self.rng, Outcome()
        part.set(start=1, program=line)
        work, since = 0, -1           # cycles that the units still need; since the launch
        unwritten = 0                 # cycles until their outputs are written
        counts = [0, 0, 0]
        for cycle in range(LIMIT):
            lanes = [rng.randint(0, self.config.L) for _ in range(self.config.P)]
            events = {"feed_stall": rng.getrandbits(1), "drain_stall": rng.getrandbits(1),
                      "issued": issued_shape(self.config).const(lanes).as_bits()}
            ready = rng.random() < 0.5
            unwritten = rng.randrange(12) if work else max(0, unwritten - 1)
            part.set(**events, progress=rng.getrandbits(1), w__ready=ready, written=unwritten == 0,
                     units_idle=work == 0 or 0 <= since < self.config.settle_cycles)
            if what:
                part.set(**{what: cycle == fail_at})
            self.port.drive()
            await part.settled()
            self.port.sample()
            if ready and part.get("w__valid"):
                words, data = [0], part.get("w__data")
                if Sequencer.counter_writes(self.config) == 1:
                    words = range(COUNTER_WORDS)
                    assert part.get("w__mask") == (1 << 16 // self.config.mask_bytes) - 1
                for n in words:
                    key = part.get("w__addr"), n if len(words) > 1 else part.get("w__word")
                    assert key not in outcome.writes
                    outcome.writes[key] = data >> 32 * n & 0xFFFFFFFF
            settled = since >= self.config.settle_cycles
            if settled and work == 0:
                outcome.counts.append((counts[0], counts[1], counts[2]))
                since = -1
            elif since >= 0:           # launched: this cycle counts
                counts = [counts[0] + events["feed_stall"], counts[1] + events["drain_stall"],
                          counts[2] + sum(lanes)]
                work -= settled
            since += since >= 0 and not settled
            if part.get("launch"):
                assert unwritten == 0 or part.view("d", self.shape)["op"] != Opcode.LOAD
                got = part.view("d", self.shape)
                outcome.launched.append({name: got[name] for name, _ in self.shape})
                work, since, counts = rng.choice([0, 1, rng.randrange(60)]), 0, [0, 0, 0]
            busy = part.get("busy")
            outcome.busy += busy
            outcome.cleared += part.get("clear")
            if part.get("clear"):
                work, since = 0, -1
            await part.edge()
            part.set(start=0)
            if cycle > 1 and not busy:
                assert unwritten == 0 or outcome.cleared
                break
        else:
            raise AssertionError("the sequencer is still busy")
        if what:
            part.set(**{what: 0})
        assert part.get("done") == 1
        return outcome


async def awake(dut) -> None:
    """Reset; the sequencer then clears the units for FLUSH_CYCLES, and is not busy."""
    await start(dut)
    part = Part(dut, "sequencer")
    part.set(start=0, stop=0, r__ready=0, r__done=0, w__ready=0, units_idle=1,
             written=1)
    for _ in range(FLUSH_CYCLES - 1):
        await part.settled()
        assert (part.get("clear"), part.get("busy"), part.get("done")) == (1, 0, 0)
        await part.edge()
    await part.edge()
    await part.settled()
    assert part.get("clear") == 0
    await part.edge()


@cocotb.test(timeout_time=8, timeout_unit="ms")
async def sequencer_remembers_a_start_during_reset(dut):
    """It begins as soon as the units are clear."""
    await start(dut)
    part = Part(dut, "sequencer")
    part.set(start=1, stop=0, program=0, r__ready=0, r__done=0, w__ready=0, units_idle=1,
             written=1)
    await part.edge()
    part.set(start=0)
    cycles = 0
    while not part.get("busy"):
        assert not part.get("r__valid")
        await part.edge()
        cycles += 1
    assert FLUSH_CYCLES - 5 <= cycles <= FLUSH_CYCLES + 1


def good_fields(config: CoreConfig, rng: random.Random) -> dict[str, int]:
    """A descriptor that the checks accept."""
    while True:
        fields, excess = random_fields(config, rng)
        fields["op"] = rng.choice([op for op in Opcode if op not in (Opcode.END, Opcode.ADD)])
        fields.pop("a_base", None)
        fields.setdefault("in_start", 0)
        if not excess and rng.random() < 0.9:
            fields |= {"groups": 1, "split": 1, "kernel_h": 3, "segments": 2, "segment_bytes": 4,
                       "w_base": 2, "group_rows": 7, "out_w": 3, "out_h": 2, "add_param": 1,
                       "param_base": 0, "strip": 0, "skip": 0, "packed": 0, "spare": 0,
                       "twin": 0}
            if fields["op"] == Opcode.LOAD:
                fields |= {"zero_point": Space.PARAM, "out_base": 1}
        if not excess and expected_error(config, fields, excess) == Error.NONE:
            return fields


def expected_error(config: CoreConfig, d: dict[str, int], excess: bool) -> Error:
    """What docs/core.md and Error say about a descriptor that is about to begin."""
    op = d["op"]
    if op > (Opcode.WAIT if config.pages else Opcode.ADD):
        return Error.OPCODE
    if op == Opcode.END:
        return Error.NONE
    groups = 1 if d["uniform"] else d["groups"]
    if op == Opcode.LOAD:
        tops = {Space.WEIGHT: config.weight_rows, Space.PARAM: config.param_groups, Space.TABLE: 1}
        tops |= {Space.MASK: config.row_mask_words} if config.row_masks else {}
        wrong = d["zero_point"] not in tops or d["out_base"] >= tops[Space(d["zero_point"])]
    elif op == Opcode.WAIT:
        wrong = False
    else:
        wrong = (0 in (d["out_w"], d["out_h"]) or d["add_param"] >= config.param_groups
                 or d["param_base"] + groups > config.param_groups or d["groups"] >= 1 << 10)
        wrong |= d["strip"] > 0 and (op != Opcode.CHANNEL or d["kernel_h"] > STRIP_ROWS
                                     or d["hold"] == 1 or d["chunked"] == 1)
        wrong |= op != Opcode.CONV and d["skip"] + d["packed"] > 0
        wrong |= d["spare"] > 0 and (op == Opcode.ADD or op != Opcode.MAX and d["add"] == 1)
        wrong |= config.short_drains and d["spare"] == config.beats - 1
        wrong |= d["twin"] > 0 and (op != Opcode.CONV or d["add"] == 1 or d["spare"] > 0)
        if config.P > 1:
            wrong |= not d["split"] and d["out_w"] < config.P and d["out_h"] != 1
        if op != Opcode.ADD:
            wrong |= (0 in (d["kernel_h"], d["segments"], d["segment_bytes"])
                      or d["w_base"] >= config.weight_rows or d["group_rows"] > config.weight_rows)
    return Error.DESCRIPTOR if excess or wrong or d["groups"] == 0 else Error.NONE


def header(config: CoreConfig, count: int) -> list[int]:
    return [MAGIC, PROGRAM_VERSION, config.hash, count]


def program(config: CoreConfig, rng: random.Random, count: int):
    """Fields and words of accepted descriptors, and of END behind them."""
    fields = [good_fields(config, rng) for _ in range(count)]
    return fields, [encode(**item) for item in fields] + [encode(op=Opcode.END)]


def anywhere(config: CoreConfig, rng: random.Random, slots: int) -> int:
    lines = (align_up(16, config.V) + slots * slot_bytes(config)) // config.V
    return rng.randrange(config.act_lines - lines)


async def check_good(bench: Bench, count: int = 3) -> None:
    """A program of accepted descriptors runs in order and leaves its counters."""
    config, rng = bench.config, bench.rng
    fields, slots = program(config, rng, count)
    line = anywhere(config, rng, len(slots))
    bench.place(line, header(config, count), slots)
    outcome = await bench.run(line)
    part = bench.part
    assert (part.get("error"), part.get("index"), outcome.cleared) == (0, count, 0)
    assert len(outcome.launched) == len(outcome.counts) == count
    for got, wanted in zip(outcome.launched, fields, strict=True):
        assert {name: got[name] for name in wanted} == wanted
    assert part.get("cycles") == outcome.busy
    first = line + (align_up(16, config.V) + align_up(64, config.V)) // config.V
    before = 0
    for index, counts in enumerate(outcome.counts):
        place = first + index * slot_bytes(config) // config.V
        words = [outcome.writes.pop((place + n // config.line_words, n % config.line_words))
                 for n in range(COUNTER_WORDS)]
        assert tuple(words[1:]) == counts, index
        assert before < words[0] <= outcome.busy
        before = words[0]
    assert not outcome.writes


@cocotb.test(timeout_time=8, timeout_unit="ms")
async def sequencer_runs_descriptors_in_order(dut):
    config, rng = setup()
    bench = Bench(dut, config, rng)
    await awake(dut)
    for count in (0, 1, 2, 3, 3):
        await check_good(bench, count)


@cocotb.test(timeout_time=8, timeout_unit="ms")
async def sequencer_refuses_headers_and_descriptors(dut):
    """Random fields against the rules; what comes before a bad descriptor is done."""
    config, rng = setup()
    bench = Bench(dut, config, rng)
    await awake(dut)
    found = set()
    for _ in range(120):
        fields, excess = random_fields(config, rng)
        fields["op"] = rng.choice([fields["op"], fields["op"], rng.randrange(6, 16)])
        if fields["op"] > Opcode.ADD:
            fields.pop("a_base", None)
        elif fields["op"] != Opcode.END and rng.random() < 0.5:
            repair = good_fields(config, rng)
            keep = set(rng.sample(sorted(fields), 3)) | {"op", "in_start", "a_base"}
            fields = {name: value if name in keep else repair.get(name, value)
                      for name, value in fields.items()}
            excess = any(too_large(config, name, value) for name, value in fields.items())
        error = expected_error(config, fields, excess)
        before, slots = program(config, rng, rng.randrange(2))
        slots[-1:] = [encode(**fields), encode(op=Opcode.END)]
        line = anywhere(config, rng, len(slots))
        bench.place(line, header(config, len(slots) - 1), slots)
        outcome = await bench.run(line)
        found.add(bench.part.get("error"))
        assert bench.part.get("error") == error, fields
        done = len(before) + (error == Error.NONE and fields["op"] != Opcode.END)
        assert (bench.part.get("index"), len(outcome.launched)) == (done, done)
        assert outcome.cleared == (FLUSH_CYCLES if error else 0)
        assert len(outcome.writes) == COUNTER_WORDS * done
    assert found == {Error.NONE, Error.OPCODE, Error.DESCRIPTOR}
    rows, groups = config.weight_rows, config.param_groups
    for name, first in (("w_base", rows), ("group_rows", rows + 1), ("add_param", groups),
                        ("param_base", groups)):
        for value, error in ((first - 1, Error.NONE), (first, Error.DESCRIPTOR)):
            fields = good_fields(config, rng) | {"op": Opcode.CONV, "uniform": 1, name: value}
            fields |= {"groups": 1, "split": 1, "kernel_h": 1, "segments": 1, "segment_bytes": 1,
                       "out_w": 1, "out_h": 1}
            fields |= {other: 0 for other in ("w_base", "group_rows", "add_param", "param_base")
                       if other != name}
            assert expected_error(config, fields, False) == error
            bench.place(0, header(config, 1), [encode(**fields), encode(op=Opcode.END)])
            await bench.run(0)
            assert bench.part.get("error") == error, (name, value)
    for number, error in ((0, Error.MAGIC), (1, Error.VERSION), (2, Error.CONFIG)):
        words = header(config, 0)
        words[number] ^= 1 << rng.randrange(32)
        bench.place(0, words, [encode(op=Opcode.END)])
        outcome = await bench.run(0)
        assert (bench.part.get("error"), bench.part.get("index")) == (error, 0)
        assert not outcome.launched and not outcome.writes
    await check_good(bench)


def too_large(config: CoreConfig, name: str, value: int) -> bool:
    shape = descriptor_shape(config)[name].shape
    low, high = (-(1 << shape.width - 1), 1 << shape.width - 1) if shape.signed \
        else (0, 1 << shape.width)
    return not low <= value < high


@cocotb.test(timeout_time=8, timeout_unit="ms")
async def sequencer_stops_when_a_unit_fails_or_the_host_wants(dut):
    """In any cycle; all units are cleared, and the next program runs."""
    config, rng = setup()
    bench = Bench(dut, config, rng)
    await awake(dut)
    codes = {"error_address": Error.ADDRESS, "error_descriptor": Error.DESCRIPTOR,
             "stop": Error.NONE}
    cut = 0
    cycles = [*((at, 0) for at in range(1, 60)), *((at, 3) for at in range(1, 60)),
              *((at, 3) for at in rng.sample(range(60, 400), 20))]
    for at, count in cycles:
        what = rng.choice(list(codes))
        _, slots = program(config, rng, count)
        line = anywhere(config, rng, len(slots))
        bench.place(line, header(config, count), slots)
        outcome = await bench.run(line, fail_at=at, what=what)
        if outcome.cleared:
            cut += 1
            assert bench.part.get("error") == codes[what], (what, at)
            assert outcome.cleared == FLUSH_CYCLES
            assert bench.part.get("cycles") == outcome.busy - FLUSH_CYCLES
        else:
            assert bench.part.get("index") == count
        if at % 5 == 0:
            await check_good(bench, 2)
    assert cut > 50


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def dispatch_keeps_what_was_checked_and_starts_one_unit(dut):
    config, rng = setup()
    part = Part(dut, "dispatch")
    part.set(d=0, check=0, launch=0)
    await start(dut)
    layout, kept, starts, later = descriptor_shape(config), None, (0, 0, 0), config.pipelined
    for _ in range(400):
        fields, check = random_fields(config, rng)[0], rng.random() < 0.3
        fields["op"] = rng.choice(list(Opcode))
        fields = {name: value for name, value in fields.items()
                  if not too_large(config, name, value)}
        launch = check and rng.random() < 0.7 and fields["op"] != Opcode.END
        bits, op = descriptor(config, fields), fields["op"]
        part.set(d=bits & (1 << layout.size) - 1, check=check, launch=launch)
        now = bits if check or not later else kept
        starting = tuple(int(launch and found) for found in (
            op == Opcode.LOAD, op == Opcode.WAIT, op not in (Opcode.LOAD, Opcode.WAIT)))
        await part.settled()
        if kept is not None:
            assert part.get("order") == (kept if later else now)
            assert (part.get("load"), part.get("wait"), part.get("work")) == (
                starts if later else starting)
        kept, starts = now, starting
        await part.edge()


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def sequencer_gives_up_without_progress(dut):
    """Units that never end: an error after 2^16..2^17 cycles, unless there is progress."""
    config, rng = setup()
    bench = Bench(dut, config, rng)
    part = bench.part
    await awake(dut)
    for _ in range(2):
        _, slots = program(config, rng, 1)
        bench.place(0, header(config, 1), slots)
        part.set(start=1, program=0)
        for _ in range(LIMIT):
            bench.port.drive()
            await part.settled()
            bench.port.sample()
            launched = part.get("launch")
            await part.edge()
            part.set(start=0)
            if launched:
                break
        part.set(units_idle=0)
        for _ in range(3):
            await ClockCycles(dut.clk, (1 << TIMEOUT_BITS) - 100)
            await FallingEdge(dut.clk)
            part.set(progress=1)
            await FallingEdge(dut.clk)
            part.set(progress=0)
            assert part.get("busy") == 1 and part.get("clear") == 0
        await ClockCycles(dut.clk, 1 << TIMEOUT_BITS)
        await FallingEdge(dut.clk)
        early = part.get("busy")
        await ClockCycles(dut.clk, (1 << TIMEOUT_BITS) + FLUSH_CYCLES)
        await FallingEdge(dut.clk)
        part.set(units_idle=1)
        assert early in (0, 1) and part.get("busy") == 0
        assert (part.get("error"), part.get("done")) == (Error.TIMEOUT, 1)
    await check_good(bench)
