"""First half of the feeder's address generator: the kernel rows (segments) of every patch, in order."""

from amaranth import Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.config import CoreConfig, bits_for, log2
from hw.descriptor import DESCRIPTOR_SHAPE
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
    d : In(DESCRIPTOR_SHAPE)
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
            "d": In(DESCRIPTOR_SHAPE), "start": In(1), "clear": In(1),
            "o": Out(stream.Signature(segment_shape(config)))})

    def elaborate(self, platform):
        m = Module()
        d, config = self.d, self.config
        m.submodules.pixels = pixels = PixelWalk(config, self.index)
        m.submodules.groups = groups = GroupWalk(config, self.index)
        per_channel = Signal()
        m.d.comb += [
            pixels.d.eq(d), groups.d.eq(d), pixels.start.eq(self.start), groups.start.eq(self.start),
            per_channel.eq((d.op == Opcode.CHANNEL) | (d.op == Opcode.MAX)),
        ]
        addr_bits = len(self.o.p.addr)
        x_col, col = Signal(signed(17)), Signal(signed(17))          # this pixel's, this segment's
        pixel_row, row = Signal(addr_bits), Signal(addr_bits)        # byte address of a row's start
        pixel_y, y = Signal(signed(17)), Signal(signed(17))
        ky, segment = Signal(8), Signal(8)
        active = Signal()
        advance = Signal()
        last_segment, last_ky = Signal(), Signal()
        refetch = Signal()
        m.d.comb += [
            advance.eq(active & (~self.o.valid | self.o.ready)),
            last_segment.eq(segment + 1 == d.segments),
            last_ky.eq(ky + 1 == d.kernel_h),
            refetch.eq((per_channel | d.chunked) & ~groups.last),
            groups.step.eq(advance & last_segment & last_ky & (per_channel | d.chunked)),
            pixels.step.eq(advance & last_segment & last_ky & ~refetch),
        ]
        with m.If(advance):
            self._advance(m, pixels, last_segment, last_ky, refetch,
                          (segment, ky, col, row, y, x_col, pixel_row, pixel_y))
            with m.If(pixels.step & pixels.last):
                m.d.sync += active.eq(0)
        with m.If(self.start):
            first_col = d.x_start + Mux(d.split, 0, d.x_step) if self.index else d.x_start
            m.d.sync += [
                active.eq(~pixels.empty & ~groups.empty), segment.eq(0), ky.eq(0),
                x_col.eq(first_col), col.eq(first_col), y.eq(d.y_start), pixel_y.eq(d.y_start),
                row.eq(d.in_start), pixel_row.eq(d.in_start),
            ]
        channel_addr = Signal(addr_bits)
        with m.If(per_channel):
            m.d.comb += channel_addr.eq(groups.g[log2(config.groups_per_line):] << log2(config.V))
        with m.If(advance):
            m.d.sync += [
                self.o.p.addr.eq(row + col + channel_addr), self.o.p.col.eq(col),
                self.o.p.inside.eq((y >= 0) & (y < d.in_h)), self.o.p.last.eq(last_segment & last_ky),
            ]
        m.d.sync += self.o.valid.eq(advance | (self.o.valid & ~self.o.ready))
        with m.If(self.clear):
            m.d.sync += [active.eq(0), self.o.valid.eq(0)]
        return m

    def _advance(self, m, pixels, last_segment, last_ky, refetch, state):
        """Step the nested counters: segment, kernel row, group, pixel."""
        d = self.d
        segment, ky, col, row, y, x_col, pixel_row, pixel_y = state
        m.d.sync += [segment.eq(segment + 1), col.eq(col + d.segment_pitch)]
        with m.If(last_segment):
            m.d.sync += [segment.eq(0), col.eq(x_col), ky.eq(ky + 1), row.eq(row + d.row_bytes),
                         y.eq(y + 1)]
            with m.If(last_ky):
                m.d.sync += [ky.eq(0), row.eq(pixel_row), y.eq(pixel_y)]
                with m.If(~refetch):
                    step = d.x_step
                    if self.config.P == 2:
                        step = Mux(d.split, d.x_step, d.x_step << 1)
                    m.d.sync += [x_col.eq(x_col + step), col.eq(x_col + step)]
                    with m.If(pixels.wrap):
                        first = d.x_start + Mux(pixels.second, d.x_step, 0)
                        m.d.sync += [
                            x_col.eq(first), col.eq(first),
                            pixel_row.eq(pixel_row + d.y_step), row.eq(pixel_row + d.y_step),
                            pixel_y.eq(pixel_y + d.stride_h), y.eq(pixel_y + d.stride_h),
                        ]
