"""Counters over the output pixels and the column groups that belong to one cluster."""

from amaranth import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.config import CoreConfig
from hw.descriptor import descriptor_shape
from hw.layout import group_bits


class PixelWalk(wiring.Component):
    """Output pixels of cluster ``index`` in row-major order: every P-th one, or all with ``split``.

    Members
    -------
    d : In(descriptor_shape)
    start, step : In(1)
        Go to the first pixel; go to the next one.
    empty : Out(1)
        This cluster has no pixel at all.
    wrap, second : Out(1)
        The next pixel lies in the next row; it is that row's second pixel instead of its first.
    last : Out(1)
        The current pixel is this cluster's last.
    """

    def __init__(self, config: CoreConfig, index: int):
        self.config, self.index = config, index
        super().__init__({
            "d": In(descriptor_shape(config)), "start": In(1), "step": In(1),
            "empty": Out(1), "wrap": Out(1), "second": Out(1), "last": Out(1)})

    def elaborate(self, platform):
        m = Module()
        x, y = Signal(self.config.dim_bits), Signal(self.config.dim_bits)
        beyond = Signal(self.config.dim_bits + 1)
        if self.config.P == 1:
            m.d.comb += [beyond.eq(x + 1), self.wrap.eq(beyond == self.d.out_w)]
        else:
            m.d.comb += [
                beyond.eq(Mux(self.d.split, x + 1, x + 2)),
                self.wrap.eq(beyond >= self.d.out_w),
                self.second.eq(beyond != self.d.out_w),
                self.empty.eq(~self.d.split & (self.index >= self.d.out_w)),
            ]
        m.d.comb += self.last.eq(self.wrap & (y + 1 == self.d.out_h))
        with m.If(self.start):
            m.d.sync += [x.eq(Mux(self.d.split, 0, self.index)), y.eq(0)]
        with m.Elif(self.step):
            m.d.sync += x.eq(Mux(self.wrap, self.second, beyond))
            with m.If(self.wrap):
                m.d.sync += y.eq(y + 1)
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
