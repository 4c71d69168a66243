"""Second half of the feeder's address generator: the lines of each segment, and their places."""

from amaranth import Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.config import CoreConfig, at_most, bits_for
from hw.descriptor import order_shape
from hw.ports import line_address_bits
from hw.segments import segment_shape


def word_shape(config: CoreConfig) -> data.StructLayout:
    """What the packer does with one line of the activation memory.

    ``low, high``: bytes of the line that are real, the others are fill; ``rotate``: bytes to rotate
    towards higher positions; ``position``: first free byte of the patch line in the making;
    ``end``: free bytes begin here afterwards, 0 if it is just full; ``write``: the patch line is
    complete or the patch ends; ``commit``: with that write the buffer is done; ``last``: and so is
    the patch.
    """
    v = bits_for(config.V)
    return data.StructLayout({
        "low": v + 1, "high": v + 1, "rotate": v, "position": v, "end": v,
        "write": 1, "commit": 1, "last": 1})


def command_shape(config: CoreConfig) -> data.StructLayout:
    """A word, and the line that it takes its bytes from if it ``read``s one."""
    return data.StructLayout({
        "read": 1, "addr": line_address_bits(config), "word": word_shape(config)})


class WordGenerator(wiring.Component):
    """Cuts segments at line boundaries and places their bytes in patch buffers without gaps.

    Members
    -------
    d : In(order_shape)
    i : In(stream of segment_shape)
    free : In(patch_buffers)
        A patch buffer may be filled; ``taken`` strobes when filling it begins.
    taken : Out(patch_buffers)
    o : Out(stream of command_shape)
    clear : In(1)
        Forget everything.

    Behaviour
    ---------
    One line a cycle; one more if the last line of a patch spills into another patch line.
    """

    def __init__(self, config: CoreConfig):
        self.config = config
        super().__init__({
            "d": In(order_shape(config)), "i": In(stream.Signature(segment_shape(config))),
            "free": In(config.patch_buffers), "taken": Out(config.patch_buffers), "clear": In(1),
            "o": Out(stream.Signature(command_shape(config)))})

    def elaborate(self, platform):
        m = Module()
        config, v = self.config, bits_for(self.config.V)
        step = Signal()                         # the pipeline may move
        m.d.comb += step.eq(~self.o.valid | self.o.ready)

        # The segment stays at the input until its last line is done.
        more, spill = Signal(), Signal()        # not its first line; the patch's very last bytes
        columns = config.column_bits
        number = Signal(columns + 1 - v)       # of the line in the segment
        segment, left, remaining = self.i.p, Signal(columns), Signal(columns)  # bytes from it on
        low, following = Signal(v), Signal(v + 1)    # what count will be, if more follows
        m.d.comb += [
            remaining.eq(Mux(more, left, self.d.segment_bytes)),
            low.eq(Mux(more, 0, segment.addr[:v])),
        ]
        count = Signal(v + 1)                   # bytes of this line that go into the patch
        whole, final = Signal(), Signal()       # the segment ends with this line; not its first
        rest = Signal(columns)                  # bytes behind this line, if it does not
        m.d.comb += [
            rest.eq(remaining - count),
            whole.eq(Mux(more, final, segment.one)),
            count.eq(Mux(more, following, segment.count)),
        ]

        def end(bytes_left):
            return [final.eq(at_most(bytes_left, v)),
                    following.eq(Mux(at_most(bytes_left, v), bytes_left, config.V))]

        if not config.pipelined:
            m.d.comb += end(left)
        # Where they go.
        position, line, owned = Signal(v), Signal(config.patch_addr_bits), Signal()
        buffer = Signal(config.buffer_bits)
        filled = Signal(v + 1)
        full, fits, ends, overflow = Signal(), Signal(), Signal(), Signal()
        may_fill, active = Signal(), Signal()
        m.d.comb += [
            filled.eq(Mux(spill, position, position + count)),
            full.eq(filled[v]),
            fits.eq(at_most(filled, v)), ends.eq(spill | (segment.last & whole & fits)),
            overflow.eq(~spill & segment.last & whole & ~fits),
            may_fill.eq(owned | self.free.bit_select(buffer, 1)),
            active.eq((spill | self.i.valid) & may_fill),
            self.i.ready.eq(step & active & whole & ~spill),
        ]
        o = Signal(word_shape(config))
        commit = Signal()
        m.d.comb += [
            commit.eq(ends | (full & (line == config.patch_lines - 1))),
            o.rotate.eq(position - low), o.position.eq(position), o.end.eq(filled[:v]),
            o.write.eq(full | ends), o.commit.eq(commit), o.last.eq(ends),
        ]
        with m.If(step & active):
            m.d.sync += [position.eq(filled[:v]), owned.eq(1), spill.eq(overflow)]
            m.d.comb += self.taken.eq(Mux(owned, 0, 1 << buffer))
            with m.If(~spill):
                m.d.sync += [more.eq(~whole), number.eq(Mux(whole, 0, number + 1)), left.eq(rest)]
                if config.pipelined:
                    m.d.sync += end(rest)
            with m.If(full):
                m.d.sync += line.eq(line + 1)
            with m.If(commit):
                m.d.sync += [line.eq(0), buffer.eq(buffer + 1), owned.eq(0)]
            with m.If(ends):
                m.d.sync += position.eq(0)
        with m.If(self.clear):
            m.d.sync += [more.eq(0), number.eq(0), spill.eq(0), position.eq(0), line.eq(0),
                         buffer.eq(0), owned.eq(0)]
        self._masks(m, step, active, number, o, spill)
        return m

    def _masks(self, m, step, active, number, word, spill):
        """Register the command, then find which bytes of the line lie in the image."""
        config, v, o = self.config, bits_for(self.config.V), self.o.p
        column = signed(config.column_bits + 2)
        first, present, real = Signal(column), Signal(), Signal()
        segment = self.i.p
        early, line = Signal(word_shape(config)), Signal(line_address_bits(config))
        with m.If(step):
            m.d.sync += [
                present.eq(active & ~self.clear), early.eq(word),
                line.eq(segment.addr[v:] + number),
                # byte column of the line's first byte
                first.eq(segment.col - segment.addr[:v] + (number << v)),
                real.eq(segment.inside & ~spill),
            ]
        beyond = Signal(column)                    # bytes from the line's first to the row's end
        low_byte, high_byte = Signal(v + 1), Signal(v + 1)
        m.d.comb += [        # 0..V, nearest to -first and to beyond
            beyond.eq(self.d.row_bytes - first),
            low_byte.eq(Mux(first[-1], Mux(first[v:].all(), config.V - first[:v], config.V), 0)),
            high_byte.eq(Mux(beyond[-1], 0, Mux(beyond[v:].any(), config.V, beyond[:v]))),
        ]
        with m.If(step):
            m.d.sync += [
                self.o.valid.eq(present & ~self.clear), o.addr.eq(line), o.word.eq(early),
                o.word.low.eq(Mux(real, low_byte, config.V)), o.word.high.eq(high_byte),
                o.read.eq(real & (low_byte < high_byte)),
            ]
        with m.If(self.clear):
            m.d.sync += [self.o.valid.eq(0), present.eq(0)]
