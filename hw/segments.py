"""First half of the feeder's address generator: the segments (kernel rows) of every patch."""

from amaranth import Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.config import CoreConfig, at_most, bits_for, log2
from hw.descriptor import order_shape
from hw.elastic import Elastic
from hw.ports import line_address_bits
from hw.walk import PassWalk, stride


def segment_shape(config: CoreConfig) -> data.StructLayout:
    """A run of contiguous bytes of the input tensor.

    ``addr`` byte address (modulo twice the memory), ``col`` byte column in its row (negative left
    of the image), ``inside`` the row exists, ``last`` the patch ends with this segment, ``one`` all
    its bytes lie in one line, ``count`` those that lie in its first line.
    """
    return data.StructLayout({
        "addr": line_address_bits(config) + bits_for(config.V),
        "col": signed(config.column_bits + 1),
        "inside": 1, "last": 1, "one": 1, "count": bits_for(config.V) + 1})


class SegmentGenerator(wiring.Component):
    """Walks passes (pixels, where their patch serves all groups), kernel rows and segments.

    In a strip a segment is a column: its rows come before the next column, and only a row's first
    window begins with ``d.segments`` of them; later ones add ``d.strip``.

    Members
    -------
    d : In(order_shape)
    start, clear : In(1)
        Begin with the descriptor that is then on ``d``; end at once.
    o : Out(stream of segment_shape)

    Behaviour
    ---------
    One segment a cycle.
    """

    def __init__(self, config: CoreConfig, index: int):
        self.config, self.index = config, index
        super().__init__({
            "d": In(order_shape(config)), "start": In(1), "clear": In(1),
            "o": Out(stream.Signature(segment_shape(config)))})

    def elaborate(self, platform):
        m = Module()
        d, config = self.d, self.config
        m.submodules.passes = passes = PassWalk(config, self.index)
        strip = d.slides
        m.d.comb += [
            passes.d.eq(d), passes.start.eq(self.start), passes.once.eq(~d.by_channel & ~d.chunked),
        ]
        ky, active, advance = Signal(8), Signal(), Signal()
        segment2 = Signal(8)                # two segments ahead
        last_segment, last_ky = Signal(), Signal()
        step_segment, step_ky, fresh = Signal(), Signal(), Signal()

        def columns(first):       # that a patch fetches, of a row's first window or of a later one
            return Mux(strip & ~first, d.strip, d.segments) if config.strips else d.segments

        m.d.comb += [
            step_segment.eq(advance & (last_ky | ~strip)),
            step_ky.eq(advance & (last_segment | strip)),
            passes.step.eq(advance & last_segment & last_ky),
        ]
        # Which are the last ones is known a step ahead; of the next patch, too.
        with m.If(step_segment):
            m.d.sync += [segment2.eq(Mux(last_segment, 2, segment2 + 1)),
                         last_segment.eq(Mux(last_segment, columns(passes.wrap) == 1,
                                             segment2 == columns(fresh)))]
        with m.If(step_ky):
            m.d.sync += [ky.eq(Mux(last_ky, 0, ky + 1)),
                         last_ky.eq(Mux(last_ky, d.kernel_h == 1, ky + 2 == d.kernel_h))]
        with m.If(passes.step):
            m.d.sync += [active.eq(~passes.last), fresh.eq(passes.wrap)]
        with m.If(self.start):
            m.d.sync += [active.eq(~passes.empty), segment2.eq(2), ky.eq(0), fresh.eq(1),
                         last_segment.eq(d.segments == 1), last_ky.eq(d.kernel_h == 1)]
        x, y, row = self._windows(m, passes)
        ends = Mux(strip, passes.next_pixel & passes.wrap, last_segment)
        across, down = self._within(m, (step_segment, step_ky), ends, last_ky)

        # The position in row and column first, then the address (in one cycle if not pipelined).
        v = bits_for(config.V)
        half, half_row = Signal(segment_shape(self.config)), Signal(len(self.o.p.addr))
        half_valid, move, summed = Signal(), Signal(), Signal(segment_shape(config))
        channel = Signal.like(half_row)
        with m.If(d.by_channel):
            line = passes.g >> log2(self.config.groups_per_line)
            m.d.comb += channel.eq(line << log2(self.config.V))
        found = [
            half_row.eq(row + down), half.addr.eq(channel), half.col.eq(x + across),
            half.inside.eq((y + ky >= 0) & (y + ky < d.in_h)), half.last.eq(last_segment & last_ky),
        ]
        m.d.comb += [
            summed.eq(half), summed.addr.eq(half_row + half.col + half.addr),
            summed.one.eq(at_most(d.segment_bytes, v)
                          & at_most(summed.addr[:v] + d.segment_bytes[:v + 1], v)),
            summed.count.eq(Mux(summed.one, d.segment_bytes, config.V - summed.addr[:v])),
        ]
        if self.config.pipelined:
            m.submodules.elastic = elastic = Elastic(segment_shape(config))
            wiring.connect(m, elastic.o, wiring.flipped(self.o))
            m.d.comb += [advance.eq(active & (~half_valid | move)), move.eq(elastic.i.ready),
                         elastic.i.valid.eq(half_valid), elastic.i.payload.eq(summed),
                         elastic.clear.eq(self.clear)]
            with m.If(advance):
                m.d.sync += found
            m.d.sync += half_valid.eq((advance | (half_valid & ~move)) & ~self.clear)
        else:
            m.d.comb += [advance.eq(active & move), half_valid.eq(active), *found,
                         move.eq(~self.o.valid | self.o.ready)]
            with m.If(move):
                m.d.sync += [self.o.valid.eq(half_valid), self.o.payload.eq(summed)]
            with m.If(self.clear):
                m.d.sync += self.o.valid.eq(0)
        with m.If(self.clear):
            m.d.sync += active.eq(0)
        return m

    def _windows(self, m, passes):
        """Byte column, row and byte address of the first row of the current pixel's window."""
        d, config = self.d, self.config
        x, y = Signal(signed(config.column_bits + 1)), Signal(signed(config.dim_bits + 1))
        row = Signal(len(self.o.p.addr))
        first_x, first_y, first_row = d.x_start, d.y_start, d.in_start
        if self.index:
            first_x = d.x_start + Mux(d.by_pixel, d.x_step, 0)
            first_y = d.y_start + Mux(d.by_row, d.stride_h, 0)
            first_row = d.in_start + Mux(d.by_row, d.y_step, 0)
        right = stride(m, config, d.x_step, d.by_pixel)
        down, below = (stride(m, config, step, d.by_row) for step in (d.stride_h, d.y_step))
        with m.If(self.start):
            m.d.sync += [x.eq(first_x), y.eq(first_y), row.eq(first_row)]
        with m.Elif(passes.next_pixel):
            wrapped = d.x_start + Mux(passes.second, d.x_step, 0)
            m.d.sync += x.eq(Mux(passes.wrap, wrapped, x + right))
            with m.If(passes.wrap & ~passes.again):
                m.d.sync += [y.eq(y + down), row.eq(row + below)]
        return x, y, row

    def _within(self, m, steps, last_segment, last_ky):
        """Bytes from the window's start to the current segment and to the current kernel row.

        In a strip, where columns follow each other, from the row's first window to the segment.
        """
        across, down = Signal(self.config.column_bits), Signal(len(self.o.p.addr))
        step_segment, step_ky = steps
        with m.If(step_segment):
            m.d.sync += across.eq(Mux(last_segment, 0, across + self.d.segment_pitch))
        with m.If(step_ky):
            m.d.sync += down.eq(Mux(last_ky, 0, down + self.d.row_bytes))
        with m.If(self.start):
            m.d.sync += [across.eq(0), down.eq(0)]
        return across, down
