"""Where the outputs of successive passes go: line offsets from a tensor's first line."""

from amaranth import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.config import CoreConfig, bits_for, log2
from hw.descriptor import order_shape
from hw.layout import group_bits
from hw.ports import line_address_bits
from hw.walk import PassWalk, stride


class OutputWalk(wiring.Component):
    """Line offset and part of the line of each pass of one cluster, in the order of the passes.

    Members
    -------
    d : In(order_shape(config)), start, step, clear : In(1)
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
            "d": In(order_shape(config)), "start": In(1), "step": In(1), "clear": In(1),
            "offset": Out(line_address_bits(config)), "part": Out(bits_for(config.groups_per_line)),
            "group": Out(group_bits(config)), "finished": Out(1, init=1)})

    def elaborate(self, platform):
        m = Module()
        d, config = self.d, self.config
        m.submodules.passes = passes = PassWalk(config, self.index)
        m.d.comb += [passes.d.eq(d), passes.start.eq(self.start), passes.step.eq(self.step)]
        row, pixel = Signal.like(self.offset), Signal.like(self.offset)
        below = Signal.like(row)
        down, right = (stride(m, config, d.out_row, d.by_row),
                       stride(m, config, d.out_pitch, d.by_pixel))
        m.d.comb += below.eq(Mux(passes.again, row, row + down))
        first_row, first_pixel = 0, 0
        if self.index:
            first_row, first_pixel = Mux(d.by_row, d.out_row, 0), Mux(d.by_pixel, d.out_pitch, 0)
        with m.If(self.start):
            m.d.sync += [row.eq(first_row), pixel.eq(first_row + first_pixel),
                         self.finished.eq(passes.empty)]
        with m.Elif(passes.next_pixel):
            m.d.sync += pixel.eq(pixel + right)
            with m.If(passes.wrap):
                m.d.sync += [row.eq(below), pixel.eq(below + Mux(passes.second, d.out_pitch, 0))]
        with m.If(self.clear | (self.step & passes.last)):
            m.d.sync += self.finished.eq(1)
        m.d.sync += self.offset.eq(pixel + (passes.g >> log2(config.groups_per_line)))
        m.d.comb += [self.group.eq(passes.g), self.part.eq(passes.g % config.groups_per_line)]
        return m
