"""The Verilog of walks, lanes and issue against plain loops: order, distances, bubbles, errors."""

import random
from collections import deque
from itertools import pairwise, product

import cocotb

from hw.issue import Issue, issue_shape
from hw.layout import Opcode
from hw.packer import patch_write
from hw.sequencer import FLUSH_CYCLES
from tb.drive import Part, configs, descriptor, start
from tb.patch_model import groups, passes, pixels

LAYERS = 24
LIMIT = 10_000
LONGEST = 64  # cycles that the drain may take
SIDES = product(range(1, 6), range(1, 4), (0, 1), (0, 1))


async def together(dut, kind: str, body, both: bool = True, where=lambda config: True):
    """Run the body on every component of a kind, side by side: one a configuration and cluster."""
    parts = [(Part(dut, f"{kind}_{name}{index}"), config, index)
             for name, config in configs().items() if where(config)
             for index in range(config.P if both else 1)]
    await start(dut)
    tasks = [cocotb.start_soon(body(*part)) for part in parts]
    for task in tasks:
        await task


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def pixel_walk_visits_every_pixel_once(dut):
    """All small images and both ways to split: where rows end, and the last pixel."""
    sizes = list(SIDES)

    async def body(part, config, index):
        for out_w, out_h, split, strip in sizes:
            if config.P == 2 and not split and out_w == 1 and out_h > 1:
                continue  # refused by the sequencer
            d = {"out_w": out_w, "out_h": out_h, "split": split, "strip": strip & config.strips}
            todo = [(x, y, 0) for x, y in pixels(d, config, index)]
            if d["strip"]:       # every row twice
                rows = dict.fromkeys(y for _, y, _ in todo)
                todo = [(x, y, again) for y in rows for again in (1, 0) for x in range(out_w)]
            part.set(d=descriptor(config, d), start=1, step=0, again=0)
            await part.edge()
            part.set(start=0)
            await part.settled()
            assert bool(part.get("empty")) == (not todo), d
            await part.edge()
            for here, after in zip(todo, ([*todo, None])[1:], strict=True):
                while True:
                    step = random.random() < 0.7
                    part.set(step=step, again=here[2])
                    await part.settled()
                    assert bool(part.get("last")) == (here[:2] == todo[-1][:2]), (d, here)
                    if after:
                        wrap = after[1:] != here[1:]
                        assert bool(part.get("wrap")) == wrap, (d, here)
                        assert not wrap or part.get("second") == after[0], (d, here)
                    await part.edge()
                    if step:
                        break
            part.set(step=0)
    await together(dut, "pixels", body)


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def group_walk_visits_every_group_in_turn(dut):
    """All small numbers of groups, both ways to split, three rounds without a new start."""
    async def body(part, config, index):
        for count, split in product(range(1, 8), (0, 1)):
            d = {"groups": count, "split": split, "out_w": 1, "out_h": 1}
            mine = groups(d, config, index)
            part.set(d=descriptor(config, d), start=1, step=random.getrandbits(1))
            await part.edge()
            part.set(start=0, step=0)
            await part.settled()
            assert bool(part.get("empty")) == (not mine), d
            await part.edge()
            for g in mine * 3:
                for step in [0] * random.randint(0, 2) + [1]:
                    part.set(step=step)
                    await part.settled()
                    assert (part.get("g"), bool(part.get("last"))) == (g, g == mine[-1]), d
                    await part.edge()
            part.set(step=0)
    await together(dut, "groups", body)


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def lane_walks_rows_and_weights(dut):
    """Row after row, only with step; the next buffer may begin in the step of the last row."""
    async def body(part, config, _):
        most = config.patch_lines * config.rows_per_line
        base, rows, hold = 3, 2, 0
        part.set(start=1, base=base, rows=most, single=rows == 1, step=0, hold=0)
        await part.edge()
        for _ in range(40):
            following = (random.randrange(config.weight_rows), random.choice([1, 2, 3, 9, most]),
                         random.getrandbits(1))
            part.set(start=0, hold=hold)
            for row in range(rows):
                for step in [0] * random.choice([0, 0, 2]) + [1]:
                    final = row == rows - 1
                    begin = bool(step and final)
                    part.set(step=step, start=begin, base=following[0],
                             rows=most if begin else rows, single=following[1] == 1)
                    await part.settled()
                    assert part.get("row") == row and bool(part.get("last")) == final
                    assert part.get("weight") == base + (0 if hold else row)
                    await part.edge()
            base, rows, hold = following
    await together(dut, "lane", body, both=False)


class Patches:
    """Fills patch buffers as the feeder would, whenever they are free."""

    def __init__(self, config, buffer: int):
        self.config, self.buffer = config, buffer
        self.todo, self.taken, self.delay = deque(), deque(), 0
        self.shape = patch_write(config)

    def cycle(self, free: int, calm: bool) -> dict:
        """Pins of this cycle, given the buffers that are free."""
        pins, number = {"patch": 0, "taken": 0}, len(self.taken)
        if self.taken and self.delay <= 0:
            buffer, rows, last = self.taken.popleft()
            self.delay = 0 if calm else random.choice([0, 1, 5, 20])
            pins["patch"] = self.shape.const({
                "addr": buffer * self.config.patch_lines, "commit": 1, "last": last,
                "rows": rows}).as_bits()
        self.delay -= 1
        if self.todo and number < 2 and free >> self.buffer & 1:
            pins["taken"] = 1 << self.buffer
            self.taken.append((self.buffer, *self.todo.popleft()))
            self.buffer = (self.buffer + 1) % self.config.patch_buffers
        return pins


class IssueBench:
    """An Issue, its patches, and everything that it issued."""

    def __init__(self, part, config, index):
        self.part, self.config, self.index = part, config, index
        self.buffer, self.distance = 0, LONGEST  # cycles since the last pass ended
        self.filled = False                      # the buffers, with lines of any bytes
        part.set(clear=0, start=0, patch=0, taken=0)

    def layer(self, calm: bool = False) -> tuple[dict, list[tuple[int, bool]]]:
        """A random descriptor and the rows and last flags of one patch's buffers.

        In a strip that is the patch of a window which is not its row's first.
        """
        config = self.config
        if config.strips and random.random() < 0.3:
            return self.strip(calm)
        op = random.choice([Opcode.CONV, Opcode.CONV, Opcode.CHANNEL, Opcode.MAX])
        chunked = random.random() < 0.3
        full = config.patch_lines * (1 if op != Opcode.CONV else config.rows_per_line)
        tail = random.randint(3 if calm else 1, full if random.random() < 0.2 else 6)
        buffers = [(full, False)] * (random.randint(0, 2) if chunked else 0) + [(tail, True)]
        rows = sum(rows for rows, _ in buffers)
        hold = op == Opcode.CHANNEL and random.random() < 0.5
        count = random.randint(1, 5)
        split = random.random() < 0.5
        out_w, out_h = random.randint(1, 3), random.randint(1, 2)
        if config.P == 2 and not split and out_w == 1:
            out_h = 1
        group_rows = 1 if hold else rows
        base = random.randrange(config.weight_rows - count * group_rows)
        return {"op": int(op), "chunked": int(chunked), "groups": count, "split": int(split),
                "out_w": out_w, "out_h": out_h, "hold": int(hold), "w_base": base,
                "group_rows": group_rows}, buffers

    def strip(self, calm: bool) -> tuple[dict, list[tuple[int, bool]]]:
        """The same for a strip."""
        config, kernel_h = self.config, random.randint(3 if calm else 1, 4)
        segments, count = random.randint(1, 4), random.randint(1, 5)
        fresh = random.randint(1, min(3, segments))
        return {"op": int(Opcode.CHANNEL), "groups": count, "split": random.getrandbits(1),
                "out_w": random.randint(2, 4), "out_h": random.randint(1, 3), "strip": fresh,
                "segments": segments, "kernel_h": kernel_h, "group_rows": kernel_h,
                "w_base": random.randrange(config.weight_rows - count * kernel_h),
                }, [(fresh * kernel_h, True)]

    def expected(self, d: dict, buffers) -> tuple[list, list]:
        """Patches in the order of the feeder; rows in the order of the lanes."""
        refetch = d.get("chunked") or d["op"] != Opcode.CONV
        fills, rows, buffer, count = [], [], self.buffer, self.config.patch_buffers
        mine, still = groups(d, self.config, self.index), d.get("hold", 0)
        for x, _, g in passes(d, self.config, self.index):
            patch, warm = buffers, 0
            if d.get("strip"):
                patch = buffers if x else [(d["segments"] * d["kernel_h"], True)]
                warm = patch[0][0] - d["kernel_h"]     # rows of columns that came before
            if refetch or g == mine[0]:
                fills += patch
            base = d["w_base"] + (0 if still else g * d["group_rows"])
            done, total = 0, sum(n for n, _ in patch)
            for n, _ in patch:
                for row in range(n):
                    weight = base + (0 if still else max(0, done - warm))
                    if self.config.scans and done < warm:     # its products do not count
                        weight = base + done - warm & (1 << self.config.weight_addr_bits) - 1
                    rows.append({
                        "row": row, "weight": weight,
                        "first": done <= warm, "last": done == total - 1, "buffer": buffer,
                        "part": g % self.config.groups_per_line})
                    done += 1
                if refetch or g == mine[-1]:
                    buffer = (buffer + 1) % count
        return fills, rows

    async def fill(self, d: dict):
        """Write every line of every buffer; lanes that do not pass over zeros take all rows."""
        shape, config = patch_write(self.config), self.config
        self.part.set(d=descriptor(config, d))
        for line in range(config.patch_buffers * config.patch_lines):
            self.part.set(patch=shape.const({"valid": 1, "addr": line}).as_bits())
            await self.part.edge()
        self.filled = True

    async def begin(self, d: dict, spacing: int):
        """Start when the drain has done what it had, as the sequencer waits for it."""
        if not self.filled:
            await self.fill(d)
        self.part.set(patch=0, taken=0)
        for _ in range(LONGEST):
            await self.part.edge()
        self.distance, self.late = LONGEST, None
        self.part.set(d=descriptor(self.config, d), start=1, spacing=spacing, patch=0, taken=0)
        await self.part.edge()
        self.part.set(start=0)
        self.distance += 1

    async def cycle(self, patches: Patches, calm: bool, spacing: int):
        """One cycle; returns what is issued, or None."""
        part = self.part
        part.set(**patches.cycle(part.get("free"), calm))
        await part.settled()
        o = issue_shape(self.config).from_bits(part.get("o"))
        kinds = bool(o.valid), bool(part.get("feed_stall")), bool(part.get("drain_stall"))
        assert sum(kinds) == 1, f"a cycle is a row or one kind of stall, not {kinds}"
        self.distance += 1
        if kinds[2]:
            assert self.distance < spacing, "stalled for a drain that is done"
        if o.valid and o.last:
            assert self.distance >= spacing, f"passes end {self.distance} cycles apart"
            self.distance = 0
        errors = part.get("error_address"), part.get("error_patch")
        found, late = None, self.late
        if o.valid:
            assert all(o.rows[n] == o.rows[0] for n in range(self.config.L)), "lanes differ"
            found = {"row": o.rows[0], "first": bool(o.first), "last": bool(o.last),
                     "buffer": o.buffer}
        self.late = found if self.config.pipelined else None
        for row in filter(None, (late, found if self.late is None else None)):
            row["part"] = o.part % self.config.groups_per_line
        for row in filter(None, (late if self.config.row_masks else found,)):
            assert all(o.weights[n] == o.weights[0] for n in range(self.config.L)), "lanes differ"
            row["weight"] = o.weights[0]
        await part.edge()
        return found, kinds, errors


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def issue_steps_through_passes_in_order(dut):
    """Random layers, patches that come late, and a drain that needs its time."""
    async def body(*arguments):
        bench = IssueBench(*arguments)
        for number in range(LAYERS):
            d, buffers = bench.layer()
            spacing = Issue.apart(bench.config, random.choice([2, 4, 15, 40]))
            calm = number % 3 == 0
            fills, rows = bench.expected(d, buffers)
            patches = Patches(bench.config, bench.buffer)
            patches.todo.extend(fills)
            await bench.begin(d, spacing)
            cycles, pairs = 0, []
            for wanted in rows:
                found = None
                while found is None:
                    found, _, errors = await bench.cycle(patches, calm, spacing)
                    assert errors == (0, 0)
                    cycles += 1
                    assert cycles < LIMIT
                pairs.append((found, wanted))
            for _ in range(4):
                found, _, _ = await bench.cycle(patches, calm, spacing)
                assert found is None, "a row too many"
            for found, wanted in pairs:
                assert found == wanted, f"{found}, not {wanted}: {d}"
            assert bench.part.get("free") == (1 << bench.config.patch_buffers) - 1
            bench.buffer = patches.buffer
    await together(dut, "issue", body)


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def issue_leaves_no_bubble_between_passes(dut):
    """Once the first patch is there, every cycle issues a row if no drain needs longer."""
    async def body(*arguments):
        bench = IssueBench(*arguments)
        for _ in range(LAYERS):
            d, buffers = bench.layer(calm=True)
            shortest = sum(rows for rows, _ in buffers)
            spacing = random.choice([1, shortest, shortest, shortest + 1, shortest + 7])
            spacing = Issue.apart(bench.config, spacing if spacing < LONGEST else 1)
            fills, rows = bench.expected(d, buffers)
            patches = Patches(bench.config, bench.buffer)
            patches.todo.extend(fills)
            await bench.begin(d, spacing)
            stalls, cycles, passes = 0, 0, 0
            while len(rows) > passes:
                found, kinds, _ = await bench.cycle(patches, True, spacing)
                passes += found is not None
                stalls += bool(passes) and kinds[1]
                cycles += bool(passes)
                assert cycles < LIMIT
            starts = [n for n, row in enumerate(rows) if n == 0 or rows[n - 1]["last"]]
            lengths = [b - a for a, b in pairwise([*starts, len(rows)])]
            config = bench.config
            alone = [config.seeks and row["row"] % config.window_rows == 0
                     and (row["last"] or rows[n + 1]["row"] == 0) for n, row in enumerate(rows)]
            waits = sum(max(0, spacing - length) for length in lengths[1:])
            most = waits if config.scans else sum(alone)   # windows come no faster than drains end
            assert len(rows) + waits <= cycles <= len(rows) + waits + sum(alone)
            assert stalls <= most, f"{stalls} bubbles: {d}, {buffers}"
            bench.buffer = patches.buffer
    await together(dut, "issue", body)


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def issue_forgets_everything_at_clear(dut):
    """Struck anywhere, the next layer begins at buffer 0 with the first row of a new psum."""
    async def body(*arguments):
        bench = IssueBench(*arguments)
        for _ in range(LAYERS):
            d, buffers = bench.layer()
            patches = Patches(bench.config, bench.buffer)
            patches.todo.extend(bench.expected(d, buffers)[0])
            await bench.begin(d, 9)
            for _ in range(random.randint(0, 40)):
                await bench.cycle(patches, True, 9)
            bench.part.set(clear=1, patch=0, taken=0)
            for _ in range(FLUSH_CYCLES):
                await bench.part.edge()
            bench.part.set(clear=0)
            bench.buffer = 0
            d, buffers = bench.layer()
            fills, rows = bench.expected(d, buffers)
            patches = Patches(bench.config, 0)
            patches.todo.extend(fills)
            await bench.begin(d, 5)
            got, cycles = [], 0
            while len(got) < len(rows):
                found, _, _ = await bench.cycle(patches, False, 5)
                got += [found] if found else []
                cycles += 1
                assert cycles < LIMIT
            await bench.cycle(patches, False, 5)      # the part of the last row comes late
            assert got == rows
            bench.buffer = patches.buffer
    await together(dut, "issue", body)


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def issue_reports_rows_that_are_not_there(dut):
    """A weight row beyond the banks (not with MAX); a patch of two buffers that is not chunked."""
    async def body(part, config, index):
        bench = IssueBench(part, config, index)
        conv = {"op": int(Opcode.CONV), "groups": 2, "out_w": 2, "out_h": 1,
                "w_base": config.weight_rows - 5, "group_rows": 4}
        cases = [(conv, [(4, True)], {5, 6, 7}, ()),
                 (conv | {"op": int(Opcode.MAX)}, [(4, True)], set(), ()),
                 (conv | {"w_base": 0}, [(4, False)], set(), {3}),
                 (conv | {"w_base": 0, "chunked": 1}, [(4, False), (1, True)], set(), ())]
        for d, buffers, address, patch in cases:
            patches = Patches(config, 0)
            patches.todo.extend(buffers * 2)
            await bench.begin(d, 1)
            seen, issued = [[], []], 0
            for _ in range(40):
                found, _, errors = await bench.cycle(patches, True, 1)
                for hits, error in zip(seen, errors, strict=True):
                    if error:
                        assert found is not None or config.scans
                        hits.append(issued)
                issued += found is not None
            assert issued >= 8
            if config.scans:              # found when the windows are read, ahead of the rows
                assert bool(seen[0]) == bool(address), (d, seen)
            else:
                assert {n for n in seen[0] if n < 8} == set(address), (d, seen)
                assert {n for n in seen[1] if n < 8} >= set(patch), (d, seen)
            assert bool(seen[1]) == bool(patch), (d, seen)
            part.set(clear=1)
            for _ in range(FLUSH_CYCLES):
                await part.edge()
            part.set(clear=0)
    await together(dut, "issue", body)
