"""The Verilog of masks, scanners and the issue that passes over zeros, against plain loops."""

import random
from collections import deque

import cocotb

from hw.issue import Issue, issue_shape
from hw.layout import Opcode
from hw.masks import BASE_BITS, mask_write
from hw.nonzero import Nonzero
from hw.packer import patch_write
from hw.prefetch import Prefetch
from hw.scanner import window_shape
from tb.cocotb_lanes import LONGEST, together
from tb.drive import descriptor
from tb.patch_model import groups, passes

LIMIT = 30_000
LAYERS = 20


def mask_of(bits: int) -> int:
    """Random bits: none, all, or some of them, rare or frequent."""
    density = random.choice([0, 0.05, 0.3, 0.7, 1])
    return sum((random.random() < density) << n for n in range(bits))


def weight_of(window: dict, row: int) -> int | None:
    """Weight row of a row of a window, if that says where its weights are."""
    if not window:
        return None
    return window["base"] + (window["stored"] & (1 << row) - 1).bit_count()


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def row_masks_keep_a_word_a_window_and_lane(dut):
    """Words written in any order, some twice; all of a window's read together meanwhile."""
    async def body(part, config, _):
        shape, windows, lanes = mask_write(config), config.row_mask_words, range(config.L)
        order = [(window, lane) for window in range(windows) for lane in lanes]
        kept = {}
        for window, lane in random.sample(order, len(order)) + random.choices(order, k=300):
            kept[window, lane] = word = random.getrandbits(32)
            other = random.choice([n for n in range(windows) if n != window])
            part.set(addr=other, w=shape.const({
                "en": 1, "addr": window * config.L + lane, "data": word}).as_bits())
            await part.edge()
            part.set(w=0)
            for _ in range(config.ram_latency - 1):
                await part.edge()
            if all((other, n) in kept for n in lanes):
                wanted = sum(kept[other, n] << 32 * n for n in lanes)
                assert part.get("o") == wanted, (window, lane, other)
    await together(dut, "masks", body, False, lambda config: config.row_masks)


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def nonzero_marks_the_bytes_that_are_not_zero(dut):
    """Every window of every buffer, corner zero points; what was there before is gone."""
    async def body(part, config, _):
        shape, rows = patch_write(config), config.rows_per_line
        part.set(patch=0, buffer=0, window=0)
        for zero in (-128, 127, 0, random.randint(-128, 127)):
            every = random.random() < 0.3
            part.set(zero=zero, all=every)
            wanted, sent = {}, deque([0] * Nonzero.LATENCY)
            for buffer in range(config.patch_buffers):
                for line in range(config.patch_lines):
                    data = [random.choice([zero, zero, zero ^ -128, random.randint(-128, 127)])
                            for _ in range(config.V)]
                    for at, value in enumerate(data):
                        row = line * rows + at // config.L
                        key = buffer, row // config.window_rows, at % config.L
                        bit = (every or value != zero) << row % config.window_rows
                        wanted[key] = wanted.get(key, 0) | bit
                    commit = line == config.patch_lines - 1
                    pins = shape.const({
                        "valid": 1, "addr": buffer * config.patch_lines + line, "commit": commit,
                        "line": sum((v & 255) << 8 * n for n, v in enumerate(data))}).as_bits()
                    part.set(patch=pins)
                    sent.append(pins)
                    await part.settled()
                    assert part.get("o") == sent.popleft(), "the same, later"
                    await part.edge()
                    if random.random() < 0.3:
                        part.set(patch=0)
                        sent.append(0)
                        await part.settled()
                        assert part.get("o") == sent.popleft()
                        await part.edge()
            part.set(patch=0)
            for _ in range(Nonzero.LATENCY + Nonzero.READABLE):
                await part.edge()
            for buffer in range(config.patch_buffers):
                for window in range(config.windows):
                    part.set(buffer=buffer, window=window)
                    for _ in range(config.ram_latency):
                        await part.edge()
                    await part.settled()
                    found, width = part.get("masks"), config.window_rows
                    for lane in range(config.L):
                        assert found >> width * lane & (1 << width) - 1 == \
                            wanted[buffer, window, lane]
                    await part.edge()
    await together(dut, "nonzero", body, False, lambda config: config.scans)


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def scanner_finds_every_row_and_no_other(dut):
    """Random windows that come whenever there is room, rows taken at random, or always."""
    async def body(part, config, _):
        shape, rows = window_shape(config), config.window_rows
        part.set(i_valid=0, clear=1, step=0)
        await part.edge()
        part.set(clear=0)
        todo, wanted = deque(), []
        for _ in range(60):
            last = random.randint(0, config.windows - 1)
            found = []
            for number in range(last + 1):
                mask, window = mask_of(rows), {}
                if config.row_masks:
                    window = {"stored": mask_of(rows), "base": random.randrange(config.weight_rows)}
                todo.append({"mask": mask, "number": number, "end": number == last} | window)
                found += [(number * rows + n, weight_of(window, n)) for n in range(rows)
                          if mask >> n & 1]
            found += [] if mask else [(None, None)]           # the last window's
            wanted += [(*row, at == len(found) - 1) for at, row in enumerate(found)]
        got, eager, late = [], True, deque([False] * 3)
        for _ in range(LIMIT):
            if len(got) == len(wanted):
                break
            eager = random.random() < 0.9 if eager else random.random() < 0.05
            late.append(not part.get("full"))     # who sends learns of it a few cycles later
            room = late.popleft()
            pins = todo.popleft() if room and todo and random.random() < 0.8 else None
            step = part.get("valid") and (eager or random.random() < 0.3)
            if step:
                some, weight = bool(part.get("some")), None
                if some and config.row_masks:
                    weight = part.get("base") + part.get("below").bit_count()
                got.append((part.get("row") if some else None, weight, bool(part.get("last"))))
            part.set(i_valid=pins is not None, i=shape.const(pins or {}).as_bits(), step=step)
            await part.edge()
        assert got == wanted
    await together(dut, "scanner", body, False, lambda config: config.scans)


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def marks_show_the_bytes_that_do_not_multiply_to_zero(dut):
    """Every window of every buffer, each lane at another; what was there before is gone."""
    async def body(part, config, _):
        shape, window = patch_write(config), config.window_rows
        for every, zero in ((0, -128), (1, 5), (0, 127), (0, random.randint(-128, 127))):
            wanted: dict = {}
            part.set(all=every, zero=zero)
            for line in range(config.patch_buffers * config.patch_lines):
                data = [random.choice([zero, zero, zero ^ -128, random.randint(-128, 127)])
                        for _ in range(config.V)]
                for at, value in enumerate(data):
                    row = line * config.rows_per_line + at // config.L
                    bit = bool(every or value != zero) << row % window
                    key = row // window, at % config.L
                    wanted[key] = wanted.get(key, 0) | bit
                part.set(patch=shape.const({
                    "valid": 1, "addr": line,
                    "line": sum((v & 255) << 8 * n for n, v in enumerate(data))}).as_bits())
                await part.edge()
                part.set(patch=0)
                for _ in range(random.choice([0, 0, 2])):
                    await part.edge()
            windows = config.patch_buffers * config.windows
            for _ in range(3 * windows):
                seen = [random.randrange(windows) for _ in range(config.L)]
                part.set(addrs=sum(n << config.mark_addr_bits * lane
                                   for lane, n in enumerate(seen)))
                for _ in range(config.ram_latency):
                    await part.edge()
                await part.settled()
                found = part.get("masks")
                for lane, n in enumerate(seen):
                    assert found >> window * lane & (1 << window) - 1 == wanted[n, lane]
                await part.edge()
    await together(dut, "marks", body, False, lambda config: config.seeks)


class Bench:
    """A SkipIssue, the lines of its patches, and what it must issue of them.

    Parameters
    ----------
    full : bool
        Patches as large as the buffers, and several of them for a window.
    """

    def __init__(self, part, config, index, full: bool):
        self.part, self.config, self.index = part, config, index
        room = config.patch_lines * config.rows_per_line
        self.rows = 2 * room + random.randint(1, 9) if full else random.randint(1, min(40, room))
        count = 1 if full else random.randint(1, 3)
        out_w, out_h = random.randint(2, 4), random.randint(1, 2)
        skip, packed = 1, 0
        if config.row_masks:
            skip, packed = random.choice([(0, 0), (1, 0), (0, 1), (1, 1), (1, 1)])
        words = -(-self.rows // config.window_rows)
        step, there = (words, config.row_mask_words) if packed else (self.rows, config.weight_rows)
        self.d = {
            "op": int(Opcode.CONV), "skip": skip, "chunked": int(full), "groups": count,
            "split": random.getrandbits(1), "out_w": out_w, "out_h": out_h,
            "offset": -128 if config.narrow else random.choice([-128, 127, 0]), "group_rows": step,
            "w_base": random.randrange(there - count * step + 1)}
        if config.row_masks:
            self.d["packed"] = packed
        self.stored = {(word, lane): self._window() for word in range(count * words)
                       for lane in range(config.L)} if packed else {}
        self.lines: deque = deque()              # buffer, line, bytes, rows of a commit, last
        self.wanted: list = []                   # of each pass: (row, weight) of each lane, buffer
        self.cost, self.buffer = 0, 0
        self._passes()

    def _passes(self):
        config, d = self.config, self.d
        room = config.patch_lines * config.rows_per_line
        mine, patch = groups(d, config, self.index), []
        for _, _, g in passes(d, config, self.index):
            if d["chunked"] or g == mine[0]:
                patch = self._patch()
            lanes: list = [[] for _ in range(config.L)]
            for begin in range(0, self.rows, room):
                chunk = patch[begin:begin + room]
                found = [[(row, weight) for row, values in enumerate(chunk)
                          if not (d["skip"] and values[lane] == d["offset"])
                          and (weight := self._weight(g, begin + row, lane)) is not None]
                         for lane in range(config.L)]
                lanes = [a + b for a, b in zip(lanes, found, strict=True)]
                windows = -(-len(chunk) // config.window_rows)
                self.cost += max(windows + Prefetch.OVERHEAD, *(1 + len(rows) for rows in found))
            self.wanted.append(lanes)

    def _window(self):
        """A word of row masks, all of whose rows are in the banks."""
        mask = mask_of(self.config.window_rows)
        return {"stored": mask, "base": random.randrange(self.config.weight_rows
                                                         - mask.bit_count() + 1)}

    def _weight(self, g, row, lane) -> int | None:
        """Where a row's weights are, if they are stored."""
        d, window = self.d, self.config.window_rows
        if not self.stored:
            return d["w_base"] + g * d["group_rows"] + row
        found = self.stored[g * d["group_rows"] + row // window, lane]
        stored = found["stored"] >> row % window & 1
        return weight_of(found, row % window) if stored else None

    async def store(self):
        """Write the row masks."""
        for (word, lane), found in self.stored.items():
            self.part.set(masks=mask_write(self.config).const({
                "en": 1, "addr": (self.d["w_base"] + word) * self.config.L + lane,
                "data": found["stored"] | found["base"] << 32 - BASE_BITS}).as_bits())
            await self.part.edge()
        if self.stored:
            self.part.set(masks=0)

    def _patch(self):
        """A patch's rows of L bytes; its lines wait to be written."""
        config, zero = self.config, self.d["offset"]
        density = random.choice([0, 0.1, 0.5, 0.9, 1])
        rows = [[random.choice([-128, 127, 5]) if random.random() < density else zero
                 for _ in range(config.L)] for _ in range(self.rows)]
        values = [value for row in rows for value in row]
        size = config.patch_lines * config.V
        for begin in range(0, len(values), size):
            chunk = values[begin:begin + size]
            for at in range(0, len(chunk), config.V):
                line = chunk[at:at + config.V]
                line += [random.randint(-128, 127) for _ in range(config.V - len(line))]
                end = at + config.V >= len(chunk)
                self.lines.append((self.buffer, at // config.V, line,
                                   len(chunk) // config.L if end else 0,
                                   begin + size >= len(values)))
            self.buffer = (self.buffer + 1) % config.patch_buffers
        return rows

    async def run(self, calm: bool) -> int:
        """Play the packer and check every pass; returns the cycles from the first row on."""
        part, config = self.part, self.config
        shape, given = issue_shape(config), patch_write(config)
        spacing = Issue.apart(config, 1 if calm else random.choice([1, 4, 20]))
        await self.store()
        part.set(d=descriptor(config, self.d), start=1, clear=0, patch=0, taken=0,
                 spacing=spacing, pause=0)
        await part.edge()
        part.set(start=0)
        lanes: list = [[] for _ in range(config.L)]
        got: list = []
        first, taken, cycles, since, done = True, False, 0, LONGEST, 0
        late: list = []              # rows whose weights come a cycle later
        for _ in range(LIMIT):
            pins = {"patch": 0, "taken": 0}
            if self.lines and (calm or random.random() < 0.5):
                buffer, line, values, rows, last = self.lines[0]
                if taken:
                    self.lines.popleft()
                    taken = not rows
                    pins["patch"] = given.const({
                        "valid": 1, "addr": buffer * config.patch_lines + line,
                        "line": sum((v & 255) << 8 * n for n, v in enumerate(values)),
                        "commit": bool(rows), "rows": rows, "last": last}).as_bits()
                elif part.get("free") >> buffer & 1:
                    pins["taken"], taken = 1 << buffer, True
            part.set(**pins)
            await part.settled()
            o = shape.from_bits(part.get("o"))
            assert not part.get("error_address") and not part.get("error_patch")
            since += 1
            for found in late:
                found[1] = o.weights[found[2]]
            late = []
            cycles += bool(done or not first or o.valid)
            if o.valid:
                assert bool(o.first) == first
                for lane in range(config.L):
                    if o.lanes >> lane & 1:
                        lanes[lane].append([o.rows[lane], o.weights[lane], lane])
                        late += lanes[lane][-1:] if config.row_masks else []
                first = bool(o.last)
                if o.last:
                    got.append(lanes)
                    assert since >= spacing
                    done, since, lanes = done + 1, 0, [[] for _ in range(config.L)]
            await part.edge()
            if done == len(self.wanted) and not late:
                break
        assert not self.lines
        assert [[[tuple(row[:2]) for row in lane] for lane in lanes] for lanes in got] \
            == self.wanted, self.d
        return cycles


@cocotb.test(timeout_time=50, timeout_unit="ms")
async def issue_takes_rows_that_are_not_zero(dut):
    """Random layers, densities and chunks: every such row once, with its weights; nothing else."""
    async def body(part, config, index):
        part.set(clear=0, start=0, patch=0, taken=0)
        buffer = 0
        for number in range(LAYERS):
            bench = Bench(part, config, index, full=number % 5 == 4)
            shift = buffer                       # buffers go on where the last layer ended
            bench.lines = deque(((b + shift) % config.patch_buffers, *rest)
                                for b, *rest in bench.lines)
            buffer = (bench.buffer + shift) % config.patch_buffers
            calm = number % 3 == 0
            cycles = await bench.run(calm)
            if calm and not bench.d["chunked"] and len(bench.d) and config.patch_buffers == 8:
                fed = len(bench.wanted) * -(-bench.rows // config.rows_per_line)
                assert cycles <= max(bench.cost, 2 * fed) + 40, "lanes wait for windows"
            for _ in range(20):
                await part.edge()
    await together(dut, "issue", body)
