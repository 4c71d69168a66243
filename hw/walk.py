"""Counters over the output pixels and the column groups that belong to one cluster."""

from amaranth import Module, Mux, Shape, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.config import CoreConfig
from hw.descriptor import order_shape
from hw.layout import group_bits


def reached(config: CoreConfig, position, end):
    """Whether a walk is beyond its end; one cluster alone meets it exactly."""
    return position == end if config.P == 1 else position >= end


def steps_bits(config: CoreConfig, bits: int) -> int:
    """Bits of a counter two steps ahead of a position of so many bits; one cluster may wrap."""
    return bits if config.P == 1 else bits + 2


def stride(m: Module, config: CoreConfig, step: Value, skips: Value) -> Value:
    """A step, or two where the clusters take turns: ready a cycle after the descriptor."""
    if config.P == 1:
        return step
    doubled = Signal(Shape(len(step) + 1, step.shape().signed))
    stage = m.d.sync if config.pipelined else m.d.comb
    stage += doubled.eq(step << skips)
    return doubled


class PixelWalk(wiring.Component):
    """Output pixels of cluster ``index`` in row-major order.

    Members
    -------
    d : In(order_shape)
    start, step : In(1)
        Go to the first pixel; go to the next one.
    again : In(1)
        Step from a row's end to its beginning.
    empty : Out(1)
        This cluster has no pixel at all.
    wrap, second : Out(1)
        The next pixel begins a row; it is that row's second pixel instead of its first.
    last : Out(1)
        The current pixel is this cluster's last, unless its row comes again.
    """

    def __init__(self, config: CoreConfig, index: int):
        self.config, self.index = config, index
        super().__init__({
            "d": In(order_shape(config)), "start": In(1), "step": In(1), "again": In(1),
            "empty": Out(1), "wrap": Out(1), "second": Out(1), "last": Out(1)})

    def elaborate(self, platform):
        m = Module()
        d, config = self.d, self.config
        step_x, step_y = d.by_pixel + 1, d.by_row + 1
        first_x, first_y = d.by_pixel & self.index, d.by_row & self.index
        bits = steps_bits(config, config.dim_bits)
        x2, y2 = Signal(bits), Signal(bits)                                # two steps ahead
        bottom = Signal()
        m.d.comb += [
            self.last.eq(self.wrap & bottom),
            self.empty.eq((first_x >= d.out_w) | (first_y >= d.out_h) if self.index else 0),
        ]

        def begin_row(x):
            return [x2.eq(x + (step_x << 1)), self.wrap.eq(reached(config, x + step_x, d.out_w)),
                    self.second.eq(d.by_pixel & (x + step_x != d.out_w))]

        with m.If(self.start):
            m.d.sync += [*begin_row(first_x), y2.eq(first_y + (step_y << 1)),
                         bottom.eq(reached(config, first_y + step_y, d.out_h))]
        with m.Elif(self.step & self.wrap):
            m.d.sync += begin_row(self.second)
            with m.If(~self.again):
                m.d.sync += [y2.eq(y2 + step_y), bottom.eq(reached(config, y2, d.out_h))]
        with m.Elif(self.step):
            m.d.sync += [x2.eq(x2 + step_x), self.wrap.eq(reached(config, x2, d.out_w)),
                         self.second.eq(d.by_pixel & (x2 != d.out_w))]
        return m


class GroupWalk(wiring.Component):
    """Column groups of cluster ``index``: all, or every P-th one with ``split``.

    Members
    -------
    d : In(order_shape)
    start, step : In(1)
        Go to the first group; go to the next one, after the last back to the first.
    g : Out(group_bits)
    empty, last : Out(1)
        This cluster has no group at all; the current group is its last.
    """

    def __init__(self, config: CoreConfig, index: int):
        self.config, self.index = config, index
        super().__init__({
            "d": In(order_shape(config)), "start": In(1), "step": In(1),
            "g": Out(group_bits(config)), "empty": Out(1), "last": Out(1)})

    def elaborate(self, platform):
        m = Module()
        first, stride = 0, 1
        if self.config.P == 2:
            first, stride = Mux(self.d.split, self.index, 0), Mux(self.d.split, 2, 1)
            m.d.comb += self.empty.eq(self.d.split & (self.index >= self.d.groups))
        g2 = Signal(steps_bits(self.config, len(self.g)))                  # two steps ahead
        count = self.d.groups[:len(self.g)]                   # no more, see hw.checks
        with m.If(self.start | (self.step & self.last)):
            m.d.sync += [self.g.eq(first), g2.eq(first + (stride << 1)),
                         self.last.eq(reached(self.config, first + stride, count))]
        with m.Elif(self.step):
            m.d.sync += [self.g.eq(self.g + stride), g2.eq(g2 + stride),
                         self.last.eq(reached(self.config, g2, count))]
        return m


class PassWalk(wiring.Component):
    """Passes of cluster ``index``: pixel by pixel, at each the groups; in strips row by row.

    There the pixels of a row come once for each group, because their windows slide.

    Members
    -------
    d : In(order_shape)
    start, step : In(1)
        Go to the first pass; go to the next one.
    once : In(1)
        A step leads to the next pixel, whatever the group.
    g : Out(group_bits), last_group : Out(1)
        Column group; it is the pixel's (the row's) last.
    next_group, next_pixel : Out(1)
        The step in this cycle leads to another group, another pixel.
    wrap, second, again : Out(1)
        See PixelWalk.
    empty, last : Out(1)
        This cluster has no pass at all; the current pass is its last.
    """

    def __init__(self, config: CoreConfig, index: int):
        self.config, self.index = config, index
        super().__init__({
            "d": In(order_shape(config)), "start": In(1), "step": In(1), "once": In(1),
            "g": Out(group_bits(config)), "last_group": Out(1),
            "next_group": Out(1), "next_pixel": Out(1), "wrap": Out(1), "second": Out(1),
            "again": Out(1), "empty": Out(1), "last": Out(1)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.pixels = pixels = PixelWalk(self.config, self.index)
        m.submodules.groups = groups = GroupWalk(self.config, self.index)
        strip = self.d.slides
        through = self.once | groups.last
        m.d.comb += [
            pixels.d.eq(self.d), pixels.start.eq(self.start), pixels.step.eq(self.next_pixel),
            pixels.again.eq(self.again), groups.d.eq(self.d), groups.start.eq(self.start),
            groups.step.eq(self.next_group), self.g.eq(groups.g), self.last_group.eq(groups.last),
            self.next_group.eq(self.step & ~self.once & (pixels.wrap | ~strip)),
            self.next_pixel.eq(self.step & (through | strip)),
            self.again.eq(strip & ~through), self.wrap.eq(pixels.wrap),
            self.second.eq(pixels.second), self.empty.eq(pixels.empty | groups.empty),
            self.last.eq(pixels.last & through),
        ]
        return m
