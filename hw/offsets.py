"""Where the outputs of successive passes go: line offsets from a tensor's first line."""

from amaranth import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.config import CoreConfig, bits_for, log2
from hw.descriptor import descriptor_shape
from hw.layout import group_bits
from hw.ports import line_address_bits
from hw.walk import GroupWalk, PixelWalk


class OutputWalk(wiring.Component):
    """Line offset and part of the line of each pass of one cluster, in the order of the passes.

    Members
    -------
    d : In(descriptor_shape(config)), start, step, clear : In(1)
    offset : Out, part : Out
        Lines from the tensor's first line, which C bytes of it.
    group : Out(group_bits)
        Column group of the pass.
    finished : Out(1)
        All passes have been stepped over; also before the first start and after ``clear``.

    Behaviour
    ---------
    ``offset`` is valid two cycles after ``start`` or ``step``.
    """

    def __init__(self, config: CoreConfig, index: int):
        self.config, self.index = config, index
        super().__init__({
            "d": In(descriptor_shape(config)), "start": In(1), "step": In(1), "clear": In(1),
            "offset": Out(line_address_bits(config)), "part": Out(bits_for(config.groups_per_line)),
            "group": Out(group_bits(config)), "finished": Out(1, init=1)})

    def elaborate(self, platform):
        m = Module()
        d, config = self.d, self.config
        m.submodules.pixels = pixels = PixelWalk(config, self.index)
        m.submodules.groups = groups = GroupWalk(config, self.index)
        next_pixel = self.step & groups.last
        m.d.comb += [
            pixels.d.eq(d), groups.d.eq(d),
            pixels.start.eq(self.start), groups.start.eq(self.start),
            groups.step.eq(self.step), pixels.step.eq(next_pixel),
        ]
        row, pixel = Signal.like(self.offset), Signal.like(self.offset)
        below = Signal.like(row)
        step = d.out_pitch
        m.d.comb += below.eq(row + d.out_row)
        start_pixel, wrapped = 0, below
        if config.P == 2:
            step = Mux(d.split, d.out_pitch, d.out_pitch << 1)
            start_pixel = Mux(d.split, 0, d.out_pitch if self.index else 0)
            wrapped = below + Mux(pixels.second, d.out_pitch, 0)
        with m.If(self.start):
            m.d.sync += [row.eq(0), pixel.eq(start_pixel),
                         self.finished.eq(pixels.empty | groups.empty)]
        with m.Elif(next_pixel):
            m.d.sync += pixel.eq(pixel + step)
            with m.If(pixels.wrap):
                m.d.sync += [row.eq(below), pixel.eq(wrapped)]
            with m.If(pixels.last):
                m.d.sync += self.finished.eq(1)
        with m.If(self.clear):
            m.d.sync += self.finished.eq(1)
        m.d.sync += self.offset.eq(pixel + (groups.g >> log2(config.groups_per_line)))
        m.d.comb += [self.group.eq(groups.g), self.part.eq(groups.g % config.groups_per_line)]
        return m
