"""Counters over the output pixels and the column groups that belong to one cluster."""

from amaranth import Const, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.config import CoreConfig
from hw.descriptor import descriptor_shape
from hw.layout import group_bits


def turns(config: CoreConfig, d):
    """Whether the clusters take turns in rows, in pixels; with ``split`` they do in groups."""
    if config.P == 1:
        return Const(0), Const(0)
    strip = is_strip(config, d)
    return ~d.split & strip, ~d.split & ~strip


def is_strip(config: CoreConfig, d):
    """Whether the windows of a row slide, see ``strip`` in hw.layout."""
    return d.strip.any() if config.strips else Const(0)


class PixelWalk(wiring.Component):
    """Output pixels of cluster ``index`` in row-major order.

    Members
    -------
    d : In(descriptor_shape)
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
            "d": In(descriptor_shape(config)), "start": In(1), "step": In(1), "again": In(1),
            "empty": Out(1), "wrap": Out(1), "second": Out(1), "last": Out(1)})

    def elaborate(self, platform):
        m = Module()
        d, config = self.d, self.config
        x, y = Signal(config.dim_bits), Signal(config.dim_bits)
        beyond, below = Signal(config.dim_bits + 1), Signal(config.dim_bits + 1)
        first_x, first_y = 0, 0
        if config.P == 1:
            m.d.comb += [beyond.eq(x + 1), self.wrap.eq(beyond == d.out_w),
                         below.eq(y + 1), self.last.eq(self.wrap & (below == d.out_h))]
        else:
            by_row, by_pixel = turns(config, d)
            first_x, first_y = by_pixel & self.index, by_row & self.index
            m.d.comb += [
                beyond.eq(Mux(by_pixel, x + 2, x + 1)), self.wrap.eq(beyond >= d.out_w),
                below.eq(Mux(by_row, y + 2, y + 1)), self.last.eq(self.wrap & (below >= d.out_h)),
                self.second.eq(by_pixel & (beyond != d.out_w)),
                self.empty.eq((first_x >= d.out_w) | (first_y >= d.out_h)),
            ]
        with m.If(self.start):
            m.d.sync += [x.eq(first_x), y.eq(first_y)]
        with m.Elif(self.step):
            m.d.sync += x.eq(Mux(self.wrap, self.second, beyond))
            with m.If(self.wrap & ~self.again):
                m.d.sync += y.eq(below)
        return m


class GroupWalk(wiring.Component):
    """Column groups of cluster ``index``: all, or every P-th one with ``split``.

    Members
    -------
    d : In(descriptor_shape)
    start, step : In(1)
        Go to the first group; go to the next one, after the last back to the first.
    g : Out(group_bits)
    empty, last : Out(1)
        This cluster has no group at all; the current group is its last.
    """

    def __init__(self, config: CoreConfig, index: int):
        self.config, self.index = config, index
        super().__init__({
            "d": In(descriptor_shape(config)), "start": In(1), "step": In(1),
            "g": Out(group_bits(config)), "empty": Out(1), "last": Out(1)})

    def elaborate(self, platform):
        m = Module()
        beyond, first, stride = Signal(len(self.g) + 1), 0, 1
        if self.config.P == 2:
            first = Mux(self.d.split, self.index, 0)
            stride = Mux(self.d.split, 2, 1)
            m.d.comb += self.empty.eq(self.d.split & (self.index >= self.d.groups))
        m.d.comb += beyond.eq(self.g + stride)
        restart = self.start | (self.step & self.last)
        with m.If(restart):
            m.d.sync += self.g.eq(first)
        with m.Elif(self.step):
            m.d.sync += self.g.eq(beyond)
        if self.config.pipelined:            # found a step ahead: much hangs on it
            with m.If(restart):
                m.d.sync += self.last.eq(first + stride >= self.d.groups)
            with m.Elif(self.step):
                m.d.sync += self.last.eq(beyond + stride >= self.d.groups)
        else:
            m.d.comb += self.last.eq(beyond == self.d.groups)
        return m


class PassWalk(wiring.Component):
    """Passes of cluster ``index``: pixel by pixel, at each the groups; in strips row by row.

    There the pixels of a row come once for each group, because their windows slide.

    Members
    -------
    d : In(descriptor_shape)
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
            "d": In(descriptor_shape(config)), "start": In(1), "step": In(1), "once": In(1),
            "g": Out(group_bits(config)), "last_group": Out(1),
            "next_group": Out(1), "next_pixel": Out(1), "wrap": Out(1), "second": Out(1),
            "again": Out(1), "empty": Out(1), "last": Out(1)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.pixels = pixels = PixelWalk(self.config, self.index)
        m.submodules.groups = groups = GroupWalk(self.config, self.index)
        strip = is_strip(self.config, self.d)
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
