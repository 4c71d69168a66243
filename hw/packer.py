"""The feeder's data path: fill what lies outside the image, rotate, merge to patch lines."""

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.config import CoreConfig, bits_for, log2
from hw.words import word_shape


def patch_write(config: CoreConfig) -> data.StructLayout:
    """A finished line of a patch buffer; with ``commit``, its ``rows`` and if it is ``last``."""
    return data.StructLayout({
        "valid": 1, "addr": config.buffer_bits + config.patch_addr_bits, "line": config.line_bits,
        "commit": 1, "last": 1, "rows": row_bits(config)})


def row_bits(config: CoreConfig) -> int:
    """Bits that count the rows of a patch buffer."""
    return bits_for(config.patch_lines * config.rows_per_line + 1)


class Packer(wiring.Component):
    """Merges lines of the activation memory into the byte string of a patch.

    Members
    -------
    i_valid : In(1), i : In(word_shape), line : In(8 * V)
        A command and the line that it read.
    fill : In(8), by_line : In(1)
        Byte outside the image; rows are counted in lines (CHANNEL, MAX), not in L bytes.
    clear : In(1)
    o : Out(patch_write)

    Behaviour
    ---------
    One command a cycle; ``o`` follows ``latency(config)`` cycles after ``i``.
    """

    def __init__(self, config: CoreConfig):
        self.config = config
        super().__init__({
            "i_valid": In(1), "i": In(word_shape(config)), "line": In(config.line_bits),
            "fill": In(8), "by_line": In(1), "clear": In(1), "o": Out(patch_write(config))})

    @staticmethod
    def latency(config: CoreConfig) -> int:
        """Cycles from a command to the patch line that it finishes."""
        return 2 + config.pipelined

    def elaborate(self, platform):
        m = Module()
        config = self.config
        stage = m.d.sync if config.pipelined else m.d.comb
        # 1: bytes outside the image become fill.
        filled, word, valid = Signal(config.line_bits), Signal(word_shape(config)), Signal()
        for b in range(config.V):
            with m.If((self.i.low <= b) & (b < self.i.high)):
                stage += filled[8 * b:8 * b + 8].eq(self.line[8 * b:8 * b + 8])
            with m.Else():
                stage += filled[8 * b:8 * b + 8].eq(self.fill)
        stage += [word.eq(self.i), valid.eq(self.i_valid & ~self.clear)]
        # 2: rotate by multiples of align, coarse first.
        rotated = filled
        step = config.V // 2
        while step >= config.align:
            turned = Cat(rotated[-8 * step:], rotated[:-8 * step])
            rotated = Mux(word.rotate[log2(step)], turned, rotated)
            step //= 2
        aligned, merge, merge_valid = Signal.like(filled), Signal.like(word), Signal()
        m.d.sync += [aligned.eq(rotated), merge.eq(word), merge_valid.eq(valid & ~self.clear)]
        # 3: behind the bytes that are already there.
        kept, merged = Signal(config.line_bits), Signal(config.line_bits)
        for b in range(config.V):
            behind = Signal(name=f"behind{b}")
            m.d.comb += behind.eq(merge.position > b)
            byte = slice(8 * b, 8 * b + 8)
            m.d.comb += merged[byte].eq(Mux(behind, kept[byte], aligned[byte]))
            with m.If(merge_valid):
                m.d.sync += kept[byte].eq(Mux(behind & ~merge.write, kept[byte], aligned[byte]))
        # Rows of the last line; it is full where the patch goes on in the next buffer.
        last_rows = Signal(range(config.rows_per_line + 1))
        full = (word.end == 0) | ~word.last
        m.d.sync += last_rows.eq(Mux(full, config.rows_per_line,
                                     (word.end + config.L - 1) >> log2(config.L)))
        self._write(m, merge, merge_valid, merged, last_rows)
        return m

    def _write(self, m, merge, merge_valid, merged, last_rows):
        """Register the finished line with its address and, at a commit, the number of rows."""
        config = self.config
        per_line = config.rows_per_line
        line, buffer = Signal(config.patch_addr_bits), Signal(config.buffer_bits)
        rows = Signal(row_bits(config))
        m.d.comb += rows.eq(Mux(self.by_line, line + 1, line * per_line + last_rows))
        write = merge_valid & merge.write & ~self.clear
        m.d.sync += [
            self.o.valid.eq(write), self.o.addr.eq(Cat(line, buffer)), self.o.line.eq(merged),
            self.o.commit.eq(write & merge.commit), self.o.last.eq(merge.last),
            self.o.rows.eq(rows),
        ]
        with m.If(write):
            m.d.sync += line.eq(line + 1)
            with m.If(merge.commit):
                m.d.sync += [line.eq(0), buffer.eq(buffer + 1)]
        with m.If(self.clear):
            m.d.sync += [line.eq(0), buffer.eq(0)]
