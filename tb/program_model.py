"""An interpreter of programs in numpy that does what docs/core.md says: the oracle of lowering.

It knows the descriptor's fields and the memories, and nothing of the compiler.
"""

import numpy as np

from gen.image import Program, pack_input
from hw.config import PROGRAM_VERSION, CoreConfig, align_up, slot_bytes
from hw.layout import (
    DESCRIPTOR_WORDS,
    MAGIC,
    PAGE_MASK_WORDS,
    PAGE_PACKED,
    PAGE_WORD_BITS,
    STRIP_ROWS,
    Opcode,
    Space,
    decode,
    encode,
)
from tb.patch_model import overwritten

SPARE_FILL = 0x5A    # what the model writes where the core writes no channel
COUNTER_FILL = 0xA5  # what the model writes where the core writes counters


class Machine:
    """The memories of a core, filled with garbage, and what descriptors do to them."""

    def __init__(self, config: CoreConfig, seed: int = 0):
        random = np.random.default_rng(seed)
        self.config = config
        sizes = {Space.ACT: config.act_lines * config.V,
                 Space.WEIGHT: config.weight_rows * config.row_bytes,
                 Space.PARAM: config.param_groups * config.C * 16, Space.TABLE: 1024,
                 Space.MASK: config.row_mask_words * config.L * 4 * config.row_masks}
        self.memory = {space: random.integers(0, 256, size, np.uint8)
                       for space, size in sizes.items()}
        self.stream, self.eager, self.index, self.arrived = b"", False, 0, 0
        self.psum = np.zeros(0, np.int64)      # of the last convolution

    def host_write(self, space: int, byte: int, data: bytes):
        """Host write, where the host has access; or the contents of the backing store."""
        if space == Space.STORE:
            self.stream = data
            return
        assert space == Space.ACT or self.config.host_stores, "the host cannot write there"
        self.write(space, byte, data)

    def write(self, space: int, byte: int, data: bytes):
        """Write of host or LOAD."""
        memory = self.memory[Space(space)]
        _require(byte >= 0 and byte + len(data) <= len(memory), f"{Space(space).name} write",
                 byte, len(data))
        memory[byte:byte + len(data)] = np.frombuffer(data, np.uint8)

    def read(self, line: int, size: int) -> bytes:
        """Host read of the activation memory."""
        return self.memory[Space.ACT][line * self.config.V:line * self.config.V + size].tobytes()

    def run(self, program_line: int, after=None, eager: bool = False) -> int:
        """Run the program at a line; ``after(index)`` is called when a descriptor has ended.

        Pages come as late as they may, or ``eager`` as early as they may.
        """
        self.position, self.arrived, self.eager = 0, 0, eager
        config, act = self.config, self.memory[Space.ACT]
        start = program_line * config.V
        header = act[start:start + 16].view("<u4")
        assert header[:3].tolist() == [MAGIC, PROGRAM_VERSION, config.hash], "header"
        slot = start + align_up(16, config.V)
        for index in range(int(header[3]) + 1):
            words = act[slot:slot + 4 * DESCRIPTOR_WORDS].view("<u4").tolist()
            d = decode(words)
            if d["op"] == Opcode.END:
                assert index == header[3], "END before the header's count"
                return index
            self.index = index
            while eager and self._page():
                pass
            self._execute(d)
            counters = slot + align_up(64, config.V)
            act[counters:counters + 16] = COUNTER_FILL
            if after:
                after(index)
            slot += slot_bytes(config)
        raise AssertionError("END must follow the last descriptor")

    def _execute(self, d):
        config = self.config
        encode(config, **d)  # every field is as narrow as this core implements it
        if d["op"] not in (Opcode.LOAD, Opcode.WAIT):  # what hardware checks before it starts
            used = 1 if d["uniform"] else d["groups"]
            assert d["param_base"] + used <= config.param_groups > d["add_param"], "parameters"
            assert d["w_base"] < config.weight_rows >= d["group_rows"], "weight rows"
        {Opcode.LOAD: self._load, Opcode.CONV: self._conv, Opcode.CHANNEL: self._channel,
         Opcode.MAX: self._max, Opcode.ADD: self._add, Opcode.WAIT: self._wait}[Opcode(d["op"])](d)

    # --- the backing store ---------------------------------------------------------------------
    def _page(self) -> bool:
        """Write the next page if there is one and its time has come."""
        after, words, target = np.frombuffer(self.stream[self.position:self.position + 12],
                                             "<u4").tolist() or (0, 0, 0)
        packed, words = bool(words >> PAGE_PACKED), words & (1 << PAGE_WORD_BITS) - 1
        if not words or after > self.index:
            return False
        space = Space(target >> 29)
        assert (space == Space.ACT) != self.config.host_stores, "pages go elsewhere"
        assert (space, self.config.P) != (Space.PARAM, 2), "parameters have no port for pages"
        assert self.config.host_stores or not packed, "all words must come with the stream"
        self.position += 12
        data = self._unpacked(words) if packed else self._next(words)
        if space == Space.PARAM:         # the fourth word of a channel is not sent
            values = np.frombuffer(data, "<u4").reshape(-1, 3)
            data = np.pad(values, ((0, 0), (0, 1))).tobytes()
        self.write(space, 4 * (target & (1 << 29) - 1), data)
        self.arrived += 1
        return True

    def _next(self, words: int) -> bytes:
        """The next words of the stream."""
        self.position += 4 * words
        return self.stream[self.position - 4 * words:self.position]

    def _unpacked(self, words: int) -> bytes:
        """The words of a packed page."""
        data, mask = b"", 0
        for left in range(words, 0, -1):
            if left == words or left % PAGE_MASK_WORDS == 0:
                mask = int.from_bytes(self._next(1), "little")
            data += self._next(1) if mask & 1 else bytes(4)
            mask >>= 1
        return data

    def _wait(self, d):
        assert self.config.pages
        while self.arrived < d["groups"]:
            assert self._page(), "WAIT for a page that cannot come"

    # --- operations ----------------------------------------------------------------------------
    def _load(self, d):
        config, space = self.config, Space(d["zero_point"])
        unit = {Space.WEIGHT: config.row_bytes, Space.PARAM: 16 * config.C, Space.TABLE: 4,
                Space.MASK: 4 * config.L}[space]
        size = d["groups"] * config.V
        source = d["res_base"] * config.V
        _require(size > 0 and source + size <= len(self.memory[Space.ACT]), "LOAD source", source,
                 size)
        self.write(space, d["out_base"] * unit, self.memory[Space.ACT][source:source + size]
                   .tobytes())

    def _conv(self, d):
        config = self.config
        patches, read = self._patches(d, 0)
        size = patches.shape[1]
        assert d["chunked"] or size <= config.patch_lines * config.V, "patch exceeds its buffer"
        rows = -(-size // config.L)
        wide = np.zeros((len(patches), rows * config.L), np.int64)
        wide[:, :size] = self._operands(d, patches)
        weights = self._packed(d, rows) if d["packed"] else \
            self._weights(d["w_base"], d["groups"] * rows)
        step = -(-rows // config.window_rows) if d["packed"] else rows
        assert d["group_rows"] == step, "group_rows must cover the patch"
        # bytes after a patch's last one may be anything: their weights must be zero
        tail = weights.reshape(d["groups"], rows * config.L, config.C)
        assert not tail[:, size:].any(), "weights behind the patch must be zero"
        psum = np.einsum("pk,gkc->pgc", wide.astype(np.float64), tail.astype(np.float64),
                         optimize=True)
        psum = psum.astype(np.int64)
        if d["resume"]:
            assert self.psum.shape == psum.shape, "a psum of each column is kept, of one pass"
            psum = psum + self.psum
        self.psum = psum
        self._drain(d, psum, read)

    def _channel(self, d):
        config = self.config
        total, reads = [], []
        for g in range(d["groups"]):
            patches, read = self._patches(d, g // config.groups_per_line * config.V)
            count = patches.shape[1] // config.V
            assert d["segment_bytes"] == config.V
            assert d["chunked"] or count <= config.patch_lines, "patch exceeds its buffer"
            first = g % config.groups_per_line * config.C
            values = patches.reshape(len(patches), count, config.V)[..., first:first + config.C]
            taps = self._taps(d, g, count)
            total.append((self._operands(d, values) * taps[None]).sum(axis=1))
            reads.append(read)
        self._drain(d, np.stack(total, axis=1), np.concatenate(reads))

    def _taps(self, d, g, count):
        """Weights [count, C] of the lines of a group's window."""
        if d["hold"]:
            weights = np.repeat(self._weights(d["w_base"], 1), count, axis=0)
        else:
            weights = self._weights(d["w_base"] + g * d["group_rows"], d["group_rows"])
        used = d["segments"] if d["strip"] else 1
        assert not weights[:, used:].any(), "other lanes' weights must be zero"
        if not d["strip"]:
            assert len(weights) == count
            return weights[:, 0]
        rows, cols = d["kernel_h"], d["segments"]
        assert (len(weights), cols <= self.config.L, d["x_step"]) == (rows, True, 0), "strip"
        assert self.config.strips and rows <= STRIP_ROWS and not (d["hold"] or d["chunked"])
        return weights[:, cols - 1::-1][:, :cols].reshape(count, -1)   # the last lane sees first

    def _max(self, d):
        config = self.config
        total, reads = [], []
        for g in range(d["groups"]):
            patches, read = self._patches(d, g // config.groups_per_line * config.V)
            count = patches.shape[1] // config.V
            assert d["segment_bytes"] == config.V
            assert d["chunked"] or count <= config.patch_lines, "patch exceeds its buffer"
            first = g % config.groups_per_line * config.C
            lines = patches.reshape(len(patches), count, config.V)
            total.append(lines[..., first:first + config.C].max(axis=1))
            reads.append(read)
        best = np.stack(total, axis=1).astype(np.int64)
        entry = self._table()[best & 255] if d["table_first"] else 0
        self._store(d, self._sum(d, entry + ((best - d["z_other"]) << 19)), np.concatenate(reads))

    def _add(self, d):
        first = self._tensor(d, d["a_base"])
        self._store(d, self._residual(d, first), self._lines(d, d["a_base"]), itself=True)

    # --- the feeder ----------------------------------------------------------------------------
    def _patches(self, d, shift):
        """Patches of all pixels as int64 [pixels, bytes], and the addresses that were read."""
        config, align = self.config, self.config.align
        for name in ("in_start", "x_start", "x_step", "row_bytes", "y_step", "segment_bytes",
                     "segment_pitch"):
            single = {"x_step": d["out_w"] == 1, "y_step": d["out_h"] == 1,
                      "row_bytes": d["out_h"] * d["kernel_h"] == 1}
            assert d[name] % align == 0 or single.get(name), f"{name} {d[name]} breaks align"
        assert min(d["out_w"], d["out_h"], d["groups"], d["kernel_h"], d["segments"],
                   d["segment_bytes"], d["in_h"], d["row_bytes"]) > 0, "zero field"
        self._check_split(d)
        y, x, ky, s, b = np.ix_(*map(np.arange, (d["out_h"], d["out_w"], d["kernel_h"],
                                                 d["segments"], d["segment_bytes"])))
        x_step = d["strip"] * d["segment_pitch"] if d["strip"] else d["x_step"]
        column = d["x_start"] + x * x_step + s * d["segment_pitch"] + b
        row = d["y_start"] + y * d["stride_h"] + ky
        inside = (column >= 0) & (column < d["row_bytes"]) & (row >= 0) & (row < d["in_h"])
        address = d["in_start"] + y * d["y_step"] + ky * d["row_bytes"] + column + shift
        used = address[inside]
        act = self.memory[Space.ACT]
        if used.size:
            _require(used.min() >= 0 and used.max() < len(act), "feeder", int(used.min()),
                     int(used.max()))
        values = act.view(np.int8)[np.where(inside, address, 0)].astype(np.int64)
        patches = np.where(inside, values, d["fill"])
        return patches.reshape(d["out_h"] * d["out_w"], -1), np.unique(used // config.V)

    def _check_split(self, d):
        assert d["split"] < 2 and (d["split"] or d["out_w"] >= self.config.P or d["out_h"] == 1)

    def _operands(self, d, values):
        return values + 128 if self.config.narrow else values - d["offset"]

    def _weights(self, row, rows):
        """Rows as [rows, L, C]."""
        config = self.config
        _require(row >= 0 and row + rows <= config.weight_rows, "weights", row, rows)
        data = self.memory[Space.WEIGHT][row * config.row_bytes:(row + rows) * config.row_bytes]
        return data.view(np.int8).reshape(rows, config.L, config.C).astype(np.int64)

    def _packed(self, d, rows):
        """Rows of all groups as [groups * rows, L, C], the stored ones in their places."""
        config, window = self.config, self.config.window_rows
        words = self.memory[Space.MASK].view("<u4").reshape(-1, config.L)
        found = np.zeros((d["groups"], rows, config.L, config.C), np.int64)
        for g, row, lane in np.ndindex(found.shape[:3]):
            number = d["w_base"] + g * d["group_rows"] + row // window
            _require(number < len(words), "row masks", number, 1)
            mask, base = divmod(int(words[number, lane]), 1 << 16)[::-1]
            if mask >> row % window & 1:
                at = base + (mask & (1 << row % window) - 1).bit_count()
                found[g, row, lane] = self._weights(at, 1)[0, lane]
        return found.reshape(-1, config.L, config.C)

    # --- the drain -----------------------------------------------------------------------------
    def _drain(self, d, psum, read):
        """Sums of all lanes [pixels, groups, C] to bytes in memory."""
        width = self.config.acc_width
        assert width == 32 or abs(psum).max() < 1 << width - 1, "psum exceeds the accumulators"
        groups = np.zeros(d["groups"], int) if d["uniform"] else np.arange(d["groups"])
        params = self._params(d["param_base"] + groups)
        out = np.clip(_requantize(psum, params) + d["zero_point"], d["low"], d["high"])
        if d["add"]:
            out = self._residual(d, out)
        self._store(d, out, read)

    def _residual(self, d, c):
        r = self._tensor(d, d["res_base"])
        looked, other = (c, r) if d["table_first"] else (r, c)
        return self._sum(d, self._table()[looked & 255] + ((other - d["z_other"]) << 19))

    def _table(self):
        return self.memory[Space.TABLE].view("<i4").astype(np.int64)

    def _sum(self, d, v):
        params = self._params(np.full(d["groups"], d["add_param"]))
        return np.clip(_requantize(v, params) + d["add_zero_point"], d["add_low"], d["add_high"])

    def _params(self, groups):
        """{shift, bias, multiplier} of groups, each [groups, C]."""
        config = self.config
        _require(groups.max() < config.param_groups, "parameters", int(groups.max()), 1)
        words = self.memory[Space.PARAM].view("<u4").reshape(config.param_groups, config.C, 4)
        words = words[groups].astype(np.int64)
        return words[..., 0] & 31, words[..., 1], words[..., 2]

    def _lines(self, d, base):
        """Line of every pixel and group, [pixels, groups]."""
        y, x, g = np.ix_(*map(np.arange, (d["out_h"], d["out_w"], d["groups"])))
        lines = base + y * d["out_row"] + x * d["out_pitch"] + g // self.config.groups_per_line
        _require(lines.max() < self.config.act_lines, "lines", int(lines.max()), 1)
        return lines.reshape(-1, d["groups"])

    def _bytes(self, d, base):
        c = self.config.C
        part = np.arange(d["groups"]) % self.config.groups_per_line * c
        start = self._lines(d, base) * self.config.V + part
        columns = np.arange(c)
        if d["twin"]:            # the second pixel's half lies in the next line
            columns = columns + columns // (c // 2) * (self.config.V - c // 2)
        return start[..., None] + columns

    def _tensor(self, d, base):
        return self.memory[Space.ACT].view(np.int8)[self._bytes(d, base)].astype(np.int64)

    def _store(self, d, out, read, itself=False):
        """Write outputs; what the step reads must not lie where it writes."""
        self._check_split(d)
        address = self._bytes(d, d["out_base"])
        assert np.unique(address).size == address.size, "outputs overlap"
        lines = np.unique(address // self.config.V)
        if np.intersect1d(lines, read).size:
            assert self.config.P == 1 and not overwritten(d, self.config), "input overwritten"
        if (d["add"] or itself) and d["res_base"] != d["out_base"]:
            assert not np.intersect1d(lines, self._lines(d, d["res_base"])).size, "shifted residual"
        assert out.min() >= -128 and out.max() <= 127
        if d["spare"]:
            assert not (d["add"] or itself) and self.config.short_drains, "both rounds are whole"
            out[..., self.config.C - d["spare"] * self.config.requant_units:] = SPARE_FILL
        memory = self.memory[Space.ACT].view(np.int8)
        if d["twin"]:
            assert d["op"] == Opcode.CONV and d["groups"] == 1 and not (d["add"] or d["spare"])
            memory[address + self.config.C // 2] = SPARE_FILL
        memory[address] = out.reshape(address.shape)


def run_program(program: Program, x: np.ndarray, seed: int = 0,
                eager: bool = False) -> dict[int, np.ndarray]:
    """Every tensor that the program computes for one input, read when its layer has ended."""
    machine = Machine(program.core_config, seed)
    for section in program.sections:
        machine.host_write(section.space, 4 * section.offset, section.data)
    line, data = pack_input(program, x)
    machine.write(Space.ACT, line * machine.config.V, data)
    found = {}
    ends = {layer.first + layer.count - 1: layer for layer in program.layers}

    def after(index):
        if index in ends:
            place = ends[index].output
            found[place.tensor] = place.unpack(machine.read(place.line, place.size))

    assert machine.run(program.program_line, after, eager) == program.descriptors
    place = program.output
    found[place.tensor] = place.unpack(machine.read(place.line, place.size))
    return found


def _requantize(acc, params):
    """Bias, multiplier and rounding right shift, as docs/core.md has them."""
    shift, bias, multiplier = params
    total = _wrap(acc + bias)
    high = _wrap((total * multiplier + (1 << 30)) >> 31)
    half = np.where(shift > 0, (1 << np.maximum(shift, 1) - 1) - (high < 0), 0)
    return (high + half) >> shift


def _wrap(values):
    return (values + (1 << 31)) % (1 << 32) - (1 << 31)


def _require(condition, what, start, size):
    assert condition, f"{what} leaves its memory: {start}, {size}"
