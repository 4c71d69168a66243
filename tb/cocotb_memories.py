"""Memories, their arbiter and everyone who reads and writes them, in Verilog, cycle by cycle."""

import random
from collections import deque

import cocotb

from hw.config import PROGRAM_VERSION, CoreConfig
from hw.counters import issued_shape
from hw.descriptor import descriptor_shape
from hw.layout import (
    DESCRIPTOR,
    MAGIC,
    PATIENCE_BITS,
    REGISTERS,
    Error,
    Opcode,
    Space,
    encode,
    field_widths,
)
from hw.ports import read_latency
from hw.weights import WeightBanks
from tb.bench import parameters
from tb.drive import Part, descriptor, start

REGISTER = {name: offset for name, offset, *_ in REGISTERS}
WORD = 2**32 - 1


def setup() -> tuple[CoreConfig, random.Random]:
    given = parameters()
    return CoreConfig(**given["config"]), random.Random(given["seed"])


class ReadPort:
    """Answers a read client as the arbiter does, after stalls."""

    def __init__(self, part: Part, config: CoreConfig, rng: random.Random, memory: list[int],
                 ready: float = 0.5):
        self.part, self.config, self.rng, self.memory = part, config, rng, memory
        self.ready, self.accepted = ready, []
        self.due: deque = deque([None] * read_latency(config))

    def drive(self):
        line, ready = self.due.popleft(), self.rng.random() < self.ready
        data = self.rng.getrandbits(self.config.line_bits)
        if line is not None and line < len(self.memory):
            data = self.memory[line]
        self.part.set(r__done=line is not None, r__data=data, r__ready=ready)
        self.offered = ready

    def sample(self):
        taken = self.offered and self.part.get("r__valid")
        line = self.part.get("r__addr")
        self.due.append(line if taken else None)
        if taken:
            self.accepted.append(line)


# --- weights ------------------------------------------------------------------------------------


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def weights_read_what_was_written_for_every_cluster(dut):
    config, rng = setup()
    part, lanes, c = Part(dut, "weights"), config.L, config.C
    part.set(w_en=0)
    await start(dut)
    lines = config.weight_rows * config.row_bytes // config.V
    memory = bytearray(lines * config.V)
    order = rng.sample(range(lines), lines)
    pending = [(line, (1 << config.line_words) - 1) for line in order]
    pending += [(rng.randrange(lines), rng.getrandbits(config.line_words)) for _ in range(100)]
    for line, enable in pending:
        data = rng.randbytes(config.V)
        part.set(w_en=enable, w_addr=line, w_data=int.from_bytes(data, "little"))
        for word in range(config.line_words):
            if enable >> word & 1:
                first = line * config.V + 4 * word
                memory[first:first + 4] = data[4 * word:4 * word + 4]
        await part.edge()
    part.set(w_en=0)
    due = [deque([None] * WeightBanks.latency(config)) for _ in range(config.P)]
    for _ in range(200):
        for p in range(config.P):
            wanted = due[p].popleft()
            if wanted is not None:
                rows = b"".join(
                    memory[row * config.row_bytes + lane * c:][:c]
                    for lane, row in enumerate(wanted))
                assert part.get(f"o{p}") == int.from_bytes(rows, "little")
            addresses = [rng.randrange(config.weight_rows) for _ in range(lanes)]
            due[p].append(addresses)
            bits = config.weight_addr_bits
            part.set(**{f"addrs{p}": sum(row << bits * n for n, row in enumerate(addresses))})
        await part.edge()


# --- arbiter ------------------------------------------------------------------------------------


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def arbiter_serves_the_first_client_and_nothing_outside(dut):
    """Requests of all clients at random; the memory behind the port is modelled here."""
    config, rng = setup()
    part, count = Part(dut, "arbiter"), parameters()["clients"]
    names = [f"w{n}" for n in range(count)] + [f"r{n}" for n in range(count)]
    for name in names:
        part.set(**{f"{name}__valid": 0})
    await start(dut)
    memory = [rng.getrandbits(config.line_bits) for _ in range(config.act_lines)]
    ram: deque = deque([None] * config.ram_latency)
    expected: deque = deque([None] * read_latency(config))   # reader and data
    requests: dict[str, dict] = {}
    before, errors = None, 0
    for _ in range(1500):
        for name in names:
            if name not in requests and rng.random() < 0.25:
                addr = rng.choice([rng.randrange(config.act_lines), rng.randrange(8),
                                   rng.randrange(config.act_lines, 2 << config.act_addr_bits),
                                   config.act_lines - 1, config.act_lines,
                                   (2 << config.act_addr_bits) - 1])
                requests[name] = {"addr": addr, "data": rng.getrandbits(config.line_bits),
                                  "mask": rng.getrandbits(config.line_masks)}
            request = requests.get(name)
            part.set(**{f"{name}__valid": request is not None})
            if request:
                part.set(**{f"{name}__addr": request["addr"]})
                if name[0] == "w":
                    part.set(**{f"{name}__data": request["data"], f"{name}__mask": request["mask"]})
        answer = ram.popleft()
        part.set(ram__r_data=rng.getrandbits(config.line_bits) if answer is None else answer)
        await part.settled()
        for n, name in enumerate(names):
            first = not any(other in requests for other in names[:n])
            if name in requests:
                assert part.get(f"{name}__ready") == first, name
        served = next(((name, requests.pop(name)) for name in names if name in requests), None)
        assert part.get("error") == (before is not None and before[1]["addr"] >= config.act_lines)
        errors += part.get("error")
        before, now = served, before if config.pipelined else served   # now at the memory
        inside = now is not None and now[1]["addr"] < config.act_lines
        assert part.get("ram__en") == inside
        answer = None
        if inside and now is not None:
            name, request = now
            assert part.get("ram__addr") == request["addr"]
            if name[0] == "w":
                assert part.get("ram__we") == request["mask"]
                assert part.get("ram__w_data") == request["data"]
                for n in range(config.line_masks):
                    if request["mask"] >> n & 1:
                        bits = (1 << 8 * config.mask_bytes) - 1 << 8 * config.mask_bytes * n
                        line = memory[request["addr"]]
                        memory[request["addr"]] = line & ~bits | request["data"] & bits
            else:
                assert part.get("ram__we") == 0
                answer = memory[request["addr"]]
        ram.append(answer)
        due = expected.popleft()
        for n in range(count):
            mine = due is not None and due[0] == f"r{n}"
            assert part.get(f"r{n}__done") == mine
            if mine and due is not None and due[1] < config.act_lines:
                assert part.get(f"r{n}__data") == part.get("ram__r_data")
        is_read = served is not None and served[0][0] == "r"
        expected.append((served[0], served[1]["addr"]) if served and is_read else None)
        await part.edge()
    assert errors > 50


# --- loader -------------------------------------------------------------------------------------


def spaces(config: CoreConfig) -> dict[Space, tuple[int, int]]:
    """Of each destination: units per line that is read, units per address of a descriptor."""
    words = config.line_words
    found = {Space.WEIGHT: (1, config.row_bytes // config.V), Space.PARAM: (words, 4 * config.C),
             Space.TABLE: (words, 0)}
    return found | ({Space.MASK: (words, config.L)} if config.row_masks else {})


def limit(config: CoreConfig, space: Space) -> int:
    return {Space.WEIGHT: config.weight_rows * config.row_bytes // config.V,
            Space.PARAM: config.param_groups * config.C * 4, Space.TABLE: 256,
            Space.MASK: config.row_mask_words * config.L}[space]


@cocotb.test(timeout_time=4, timeout_unit="ms")
async def loader_copies_lines_to_every_space(dut):
    """Some copies leave their destination, some are cleared: neither writes beyond."""
    config, rng = setup()
    part = Part(dut, "loader")
    part.set(start=0, clear=0, r__ready=0, r__done=0)
    await start(dut)
    memory = [rng.getrandbits(config.line_bits) for _ in range(config.act_lines)]
    for trial in range(40):
        space = rng.choice(list(spaces(config)))
        each, unit = spaces(config)[space]
        top = limit(config, space)
        base = rng.randrange(top // unit) if unit else 0
        room = (top - base * unit) // each
        lines = rng.randint(1, min(room, 12)) if trial % 4 else room + rng.randint(1, 3)
        lines = min(lines, config.act_lines)
        source = rng.randrange(config.act_lines - lines + 1)
        cut = rng.randint(1, 60) if trial % 7 == 6 else None
        fields = {"op": Opcode.LOAD, "zero_point": space, "groups": lines, "res_base": source,
                  "out_base": base}
        part.set(d=descriptor(config, fields), start=1)
        port = ReadPort(part, config, rng, memory, rng.choice([0.3, 1.0]))
        port.drive()
        await part.settled()
        assert part.get("idle") == 1 and part.get("r__valid") == 0
        port.sample()
        await part.edge()
        part.set(start=0)
        written: list[tuple[int, int]] = []
        errors = 0
        for cycle in range(30 * 260):
            if cycle == cut or (errors and cut is None):
                break
            port.drive()
            await part.settled()
            port.sample()
            enables = {Space.WEIGHT: part.get("store__weight_en"),
                       Space.PARAM: part.get("store__param_en"),
                       Space.TABLE: part.get("store__table_en"),
                       Space.MASK: part.get("store__mask_en")}
            assert not any(on for name, on in enables.items() if name != space)
            if enables[space]:
                kind = "weight" if space == Space.WEIGHT else "word"
                full = (1 << config.line_words) - 1 if space == Space.WEIGHT else 1
                assert enables[space] == full
                written.append((part.get(f"store__{kind}_addr"), part.get(f"store__{kind}_data")))
            errors += part.get("error")
            assert not (part.get("error") and enables[space])
            if part.get("idle"):
                break
            await part.edge()
        await part.edge()
        data = [memory[source + n // each] >> 32 * (n % each) & (WORD if each > 1 else -1)
                for n in range(lines * each)] if space != Space.WEIGHT else memory[source:][:lines]
        if space != Space.WEIGHT and each == 1:
            data = [value & WORD for value in data]
        expected = [(base * unit + n, value) for n, value in enumerate(data)
                    if base * unit + n < top]
        if cut is None:
            assert written == expected
            assert bool(errors) == (lines * each > top - base * unit), (space, lines)
        else:
            assert written == expected[:len(written)]
        if cut is not None or errors:
            part.set(clear=1)
            for _ in range(16):
                port.drive()
                await part.settled()
                assert not part.get("store__param_en") | part.get("store__table_en")
                assert not part.get("store__weight_en")
                port.sample()
                await part.edge()
            part.set(clear=0, r__done=0)
        assert part.get("idle") == 1
        part.set(r__done=0)
        await part.edge()


# --- counters -----------------------------------------------------------------------------------


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def counters_count_cycles_stalls_and_rows(dut):
    config, rng = setup()
    part = Part(dut, "counters")
    names = ("restart", "running", "launch", "working", "issued", "feed_stall", "drain_stall")
    part.set(**dict.fromkeys(names, 0))
    await start(dut)
    cycles = feed = drain = busy = 0
    for _ in range(1200):
        rates = {"restart": 0.01, "launch": 0.03, "running": 0.9, "working": 0.8}
        now = {name: rng.random() < rates.get(name, 0.5) for name in names}
        lanes = [rng.randint(0, config.L) for _ in range(config.P)]
        now["issued"] = issued_shape(config).const(lanes).as_bits()
        part.set(**now)
        await part.settled()
        words = part.get("words")
        assert [words >> 32 * n & 0xFFFFFFFF for n in range(4)] == [cycles, feed, drain, busy]
        assert part.get("cycles") == cycles
        cycles = 0 if now["restart"] else cycles + now["running"]
        if now["restart"] or now["launch"]:
            feed = drain = busy = 0
        elif now["working"]:
            feed, drain = feed + now["feed_stall"], drain + now["drain_stall"]
            busy += sum(lanes)
        await part.edge()
    assert cycles


# --- fetch --------------------------------------------------------------------------------------


def header(config: CoreConfig, rng: random.Random) -> tuple[list[int], Error]:
    """A header, and what is wrong with it."""
    words = [MAGIC, PROGRAM_VERSION, config.hash, rng.getrandbits(8)]
    wrong = [rng.random() < 0.4 for _ in range(3)]
    words = [word ^ 1 << rng.randrange(32) if bad else word
             for word, bad in zip(words, [*wrong, False], strict=True)]
    codes = [Error.MAGIC, Error.VERSION, Error.CONFIG]
    return words, next((code for code, bad in zip(codes, wrong, strict=True) if bad), Error.NONE)


def random_fields(config: CoreConfig, rng: random.Random) -> tuple[dict[str, int], bool]:
    """Values of all fields; whether one exceeds what the core implements."""
    widths, values, excess = field_widths(config), {}, False
    op = rng.choice(list(Opcode))
    absent = "in_start" if op == Opcode.ADD else "a_base"     # they may share their bits
    narrow = [name for name in widths
              if widths[name] < DESCRIPTOR[name].width and name != absent]
    beyond = rng.choice(narrow) if rng.random() < 0.5 else None
    for name, field in DESCRIPTOR.items():
        width = widths[name]
        low = -(1 << width - 1) if field.signed else 0
        high = low + (1 << width) - 1
        near = rng.choice([config.param_groups, config.weight_rows]) + rng.randint(-1, 1)
        values[name] = rng.choice([low, high, 0, rng.randint(low, high),
                                   near if low <= near <= high else min(1, high)])
        if name == beyond:
            excess = True
            values[name] = rng.choice([high + 1, *([low - 1] if field.signed else [])])
    values["op"] = op
    del values[absent]
    return values, excess


@cocotb.test(timeout_time=4, timeout_unit="ms")
async def fetch_takes_headers_and_descriptors_apart(dut):
    config, rng = setup()
    part, per_line = Part(dut, "fetch"), config.line_words
    part.set(begin=0, clear=0, r__ready=0, r__done=0)
    await start(dut)
    shape = descriptor_shape(config)
    for trial in range(80):
        is_header = rng.random() < 0.4
        code, fields, excess = Error.NONE, {}, False
        if is_header:
            words, code = header(config, rng)
        else:
            fields, excess = random_fields(config, rng)
            words = encode(**fields)
        count = max(1, len(words) // per_line)
        words += [rng.getrandbits(32) for _ in range(count * per_line - len(words))]
        slot = rng.randrange(config.act_lines - count + 1)
        memory = [rng.getrandbits(config.line_bits) for _ in range(config.act_lines)]
        for line in range(count):
            memory[slot + line] = sum(word << 32 * n for n, word in enumerate(
                words[line * per_line:(line + 1) * per_line]))
        port = ReadPort(part, config, rng, memory, rng.choice([0.3, 1.0]))
        part.set(begin=1, line=slot, lines=count)
        port.drive()
        await part.settled()
        assert part.get("there") == 1 and part.get("r__valid") == 0
        port.sample()
        await part.edge()
        part.set(begin=0)
        cut = rng.randrange(3) if trial % 9 == 8 else None
        for cycle in range(400):
            part.set(clear=cycle == cut, line=slot + len(port.accepted))
            port.drive()
            await part.settled()
            port.sample()
            if part.get("there") or cycle == cut:
                break
            await part.edge()
        assert port.accepted == list(range(slot, slot + len(port.accepted)))
        if cut is None:
            assert part.get("there") and len(port.accepted) == count
            if is_header:
                assert part.get("header") == code
            else:
                if not fields.get("a_base", 0) >> field_widths(config)["a_base"]:   # checked later
                    assert part.get("oversize") == excess, fields
                if not excess:
                    got = part.view("d", shape)
                    assert {name: got[name] for name in fields} == fields
        await part.edge()
        part.set(clear=0)
        for _ in range(8):        # quiet until the next begin
            port.drive()
            await part.settled()
            assert part.get("there") == 1 and part.get("r__valid") == 0
            port.sample()
            await part.edge()


# --- host port ----------------------------------------------------------------------------------


class HostBench:
    """A Wishbone master and the memories behind the port."""

    def __init__(self, dut, config: CoreConfig, rng: random.Random):
        self.part, self.config, self.rng = Part(dut, "host"), config, rng
        self.memory = [rng.getrandbits(config.line_bits) for _ in range(config.act_lines)]
        self.port = ReadPort(self.part, config, rng, self.memory)
        self.seen: list[tuple] = []
        self.part.set(bus__cyc=0, bus__stb=0, bus__we=0, busy=0, done=0, error=0, index=0, cycles=0,
                      w__ready=0, bus__sel=15)

    async def cycle(self) -> tuple[bool, bool, int]:
        """One cycle; ack, err and data of the bus."""
        part = self.part
        self.port.drive()
        ready = self.rng.random() < 0.5
        part.set(w__ready=ready)
        await part.settled()
        self.port.sample()
        if ready and part.get("w__valid"):
            self.seen.append(("act", part.get("w__addr"), part.get("w__word"),
                              part.get("w__data")))
        for name in ("start", "stop"):
            if part.get(name):
                self.seen.append((name,))
        if part.get("store__weight_en"):
            data, enable = part.get("store__weight_data"), part.get("store__weight_en")
            for word in range(self.config.line_words):
                if enable >> word & 1:
                    self.seen.append(("weight", part.get("store__weight_addr"), word,
                                      data >> 32 * word & WORD))
        for name in ("param", "table", "mask"):
            if part.get(f"store__{name}_en"):
                self.seen.append((name, part.get("store__word_addr"), part.get("store__word_data")))
        answer = bool(part.get("bus__ack")), bool(part.get("bus__err")), part.get("bus__dat_r")
        await part.edge()
        return answer

    async def access(self, space: int, offset: int, write: bool, word: int = 0,
                     sel: int = 15) -> int | None:
        """Read or write a word; None for err. ``seen`` holds what the port did meanwhile."""
        self.seen.clear()
        self.part.set(bus__cyc=1, bus__stb=1, bus__we=write, bus__dat_w=word, bus__sel=sel,
                      bus__adr=space << self.config.space_bits | offset)
        result = None
        for _ in range(100):
            ack, err, data = await self.cycle()
            assert not (ack and err)
            if ack or err:
                result = data if ack else None
                break
        else:
            raise AssertionError(f"no answer to {space} {offset}")
        self.part.set(bus__cyc=0, bus__stb=0, bus__we=0)
        for _ in range(self.rng.randint(1, 3)):
            assert (await self.cycle())[:2] == (False, False)
        return result


def host_spaces(config: CoreConfig) -> dict[Space, int]:
    """Words of the memories that a host may know of."""
    found = {Space.ACT: config.act_lines * config.line_words,
             Space.WEIGHT: config.weight_rows * config.row_bytes // 4,
             Space.PARAM: config.param_groups * config.C * 4, Space.TABLE: 256}
    return found | ({Space.MASK: config.row_mask_words * config.L} if config.row_masks else {})


@cocotb.test(timeout_time=4, timeout_unit="ms")
async def host_reaches_every_register(dut):
    config, rng = setup()
    bench = HostBench(dut, config, rng)
    await start(dut)
    regs = Space.REGS
    for busy in (0, 1):
        status = {"busy": busy, "done": rng.getrandbits(1), "error": rng.getrandbits(8),
                  "index": rng.getrandbits(16), "cycles": rng.getrandbits(32)}
        bench.part.set(**status)
        line = rng.randrange(config.act_lines)
        assert await bench.access(regs, REGISTER["PROGRAM"], True, line) is not None
        assert bench.part.get("program") == line
        patience = rng.getrandbits(PATIENCE_BITS)
        assert await bench.access(regs, REGISTER["PATIENCE"], True, patience) is not None
        assert bench.part.get("patience") == patience
        expected = {
            "ID": MAGIC, "VERSION": PROGRAM_VERSION, "CONFIG": config.hash, "CONTROL": 0,
            "STATUS": busy | status["done"] << 1 | status["error"] << 8 | status["index"] << 16,
            "PROGRAM": line, "CYCLES": status["cycles"], "PATIENCE": patience}
        assert set(expected) == set(REGISTER)
        for name, value in expected.items():
            for sel in (15, rng.randrange(1, 15)):
                assert await bench.access(regs, REGISTER[name], False, sel=sel) == value, name
        assert await bench.access(regs, max(REGISTER.values()) + 1, False) == 0
        for value, strobes in ((1, [("start",)]), (2, [("stop",)]), (0, []),
                               (3, [("start",), ("stop",)])):
            assert await bench.access(regs, REGISTER["CONTROL"], True, value) is not None
            assert bench.seen == strobes
        for name, _, access, _ in REGISTERS:
            for sel in range(15) if "w" in access else (15,):
                assert await bench.access(regs, REGISTER[name], True, 3, sel=sel) is None, name
                assert not bench.seen
        assert (bench.part.get("program"), bench.part.get("patience")) == (line, patience)


@cocotb.test(timeout_time=4, timeout_unit="ms")
async def host_writes_and_reads_memories(dut):
    config, rng = setup()
    bench, words = HostBench(dut, config, rng), config.line_words
    await start(dut)
    tops = host_spaces(config)
    for _ in range(120):
        space = rng.choice(list(tops))
        offset, word = rng.choice([0, tops[space] - 1, rng.randrange(tops[space])]), \
            rng.getrandbits(32)
        busy = rng.random() < 0.5
        bench.part.set(busy=busy)
        stored = space == Space.ACT or config.host_stores and not busy
        if not stored:
            assert await bench.access(space, offset, True, word) is None and not bench.seen
            continue
        assert await bench.access(space, offset, True, word) is not None
        expected = {Space.ACT: ("act", offset // words, offset % words, word),
                    Space.WEIGHT: ("weight", offset // words, offset % words, word),
                    Space.PARAM: ("param", offset, word), Space.TABLE: ("table", offset, word),
                    Space.MASK: ("mask", offset, word)}
        assert bench.seen == [expected[space]]
        offset = rng.randrange(tops[Space.ACT])
        got = await bench.access(Space.ACT, offset, False)
        assert got == bench.memory[offset // words] >> 32 * (offset % words) & WORD
        assert not bench.seen


@cocotb.test(timeout_time=4, timeout_unit="ms")
async def host_is_refused_what_it_must_not_touch(dut):
    config, rng = setup()
    bench = HostBench(dut, config, rng)
    await start(dut)
    tops = host_spaces(config)
    whole = 1 << config.space_bits

    async def refused(space, offset, write, sel=15):
        before = len(bench.port.accepted)
        assert await bench.access(space, offset, write, rng.getrandbits(32), sel) is None, space
        assert not bench.seen and len(bench.port.accepted) == before

    for space, top in tops.items():
        for write in (False, True):
            for offset in {top, whole - 1, rng.randrange(top, whole)} if top < whole else ():
                await refused(space, offset, write)
            for sel in range(15):
                await refused(space, 0, write, sel)
        if space != Space.ACT:
            await refused(space, rng.randrange(top), False)
    for space in {*range(8)} - {Space.REGS, *tops}:
        await refused(space, 0, True)
        await refused(space, 0, False)
