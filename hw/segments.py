"""First half of the feeder's address generator: the segments (kernel rows) of every patch."""

from amaranth import Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.config import CoreConfig, bits_for, log2
from hw.descriptor import descriptor_shape
from hw.layout import Opcode
from hw.ports import line_address_bits
from hw.walk import GroupWalk, PixelWalk


def segment_shape(config: CoreConfig) -> data.StructLayout:
    """A run of contiguous bytes of the input tensor.

    ``addr`` byte address (modulo twice the memory), ``col`` byte column in its row (negative left
    of the image), ``inside`` the row exists, ``last`` the patch ends with this segment.
    """
    return data.StructLayout({
        "addr": line_address_bits(config) + bits_for(config.V), "col": signed(17),
        "inside": 1, "last": 1})


class SegmentGenerator(wiring.Component):
    """Walks pixels, groups (where the patch is refetched), kernel rows and segments.

    Members
    -------
    d : In(descriptor_shape)
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
            "d": In(descriptor_shape(config)), "start": In(1), "clear": In(1),
            "o": Out(stream.Signature(segment_shape(config)))})

    def elaborate(self, platform):
        m = Module()
        d, config = self.d, self.config
        m.submodules.pixels = pixels = PixelWalk(config, self.index)
        m.submodules.groups = groups = GroupWalk(config, self.index)
        per_channel = Signal()
        m.d.comb += [
            pixels.d.eq(d), groups.d.eq(d),
            pixels.start.eq(self.start), groups.start.eq(self.start),
            per_channel.eq((d.op == Opcode.CHANNEL) | (d.op == Opcode.MAX)),
        ]
        ky, segment, active, advance = Signal(8), Signal(8), Signal(), Signal()
        last_segment, last_ky, refetch = Signal(), Signal(), Signal()
        m.d.comb += [
            last_segment.eq(segment + 1 == d.segments), last_ky.eq(ky + 1 == d.kernel_h),
            refetch.eq((per_channel | d.chunked) & ~groups.last),
            groups.step.eq(advance & last_segment & last_ky & (per_channel | d.chunked)),
            pixels.step.eq(advance & last_segment & last_ky & ~refetch),
        ]
        with m.If(advance):
            m.d.sync += segment.eq(Mux(last_segment, 0, segment + 1))
            with m.If(last_segment):
                m.d.sync += ky.eq(Mux(last_ky, 0, ky + 1))
            with m.If(pixels.step & pixels.last):
                m.d.sync += active.eq(0)
        with m.If(self.start):
            m.d.sync += [active.eq(~pixels.empty & ~groups.empty), segment.eq(0), ky.eq(0)]
        x, y, row = self._windows(m, pixels)
        across, down = self._within(m, advance, last_segment, last_ky)

        # The position in row and column first, then the address (in one cycle if not pipelined).
        half, half_row = Signal(segment_shape(self.config)), Signal(len(self.o.p.addr))
        half_valid, move = Signal(), Signal()
        channel = Signal.like(half_row)
        with m.If(per_channel):
            line = groups.g >> log2(self.config.groups_per_line)
            m.d.comb += channel.eq(line << log2(self.config.V))
        found = [
            half_row.eq(row + down), half.addr.eq(channel), half.col.eq(x + across),
            half.inside.eq((y + ky >= 0) & (y + ky < d.in_h)), half.last.eq(last_segment & last_ky),
        ]
        m.d.comb += move.eq(~self.o.valid | self.o.ready)
        if self.config.pipelined:
            m.d.comb += advance.eq(active & (~half_valid | move))
            with m.If(advance):
                m.d.sync += found
            m.d.sync += half_valid.eq(advance | (half_valid & ~move))
        else:
            m.d.comb += [advance.eq(active & move), half_valid.eq(active), *found]
        with m.If(move):
            m.d.sync += [self.o.valid.eq(half_valid), self.o.payload.eq(half),
                         self.o.p.addr.eq(half_row + half.col + half.addr)]
        with m.If(self.clear):
            m.d.sync += [active.eq(0), self.o.valid.eq(0)]
            if self.config.pipelined:
                m.d.sync += half_valid.eq(0)
        return m

    def _windows(self, m, pixels):
        """Byte column, row and byte address of the first row of the current pixel's window."""
        d, config = self.d, self.config
        x, y = Signal(signed(17)), Signal(signed(config.dim_bits + 1))
        row = Signal(len(self.o.p.addr))
        first_x, x_step, wrapped_x = d.x_start, d.x_step, d.x_start
        if config.P == 2:
            x_step = Mux(d.split, d.x_step, d.x_step << 1)
            wrapped_x = d.x_start + Mux(pixels.second, d.x_step, 0)
            if self.index:
                first_x = d.x_start + Mux(d.split, 0, d.x_step)
        with m.If(self.start):
            m.d.sync += [x.eq(first_x), y.eq(d.y_start), row.eq(d.in_start)]
        with m.Elif(pixels.step):
            m.d.sync += x.eq(Mux(pixels.wrap, wrapped_x, x + x_step))
            with m.If(pixels.wrap):
                m.d.sync += [y.eq(y + d.stride_h), row.eq(row + d.y_step)]
        return x, y, row

    def _within(self, m, advance, last_segment, last_ky):
        """Bytes from the window's start: to the current segment, to the current kernel row."""
        across, down = Signal(16), Signal(len(self.o.p.addr))
        with m.If(advance):
            m.d.sync += across.eq(across + self.d.segment_pitch)
            with m.If(last_segment):
                m.d.sync += [across.eq(0), down.eq(down + self.d.row_bytes)]
                with m.If(last_ky):
                    m.d.sync += down.eq(0)
        with m.If(self.start):
            m.d.sync += [across.eq(0), down.eq(0)]
        return across, down
