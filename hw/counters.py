"""Cycle and stall counters of the running descriptor."""

from amaranth import Cat, Const, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.config import CoreConfig, align_up
from hw.layout import COUNTERS


STALL_BITS = 24   # of one descriptor; the cycle counter of a program has 32


class Counters(wiring.Component):
    """The words of ``hw.layout.COUNTERS``.

    Members
    -------
    restart, running : In(1)
        Begin a new program: all to zero; the core works: count its cycles.
    launch, working : In(1)
        A descriptor begins: stall counters to zero; count stalls.
    issued : In(P), feed_stall, drain_stall : In(1)
    cycles : Out(32), lines : Out
        Since ``restart``; all counters, padded to whole lines.
    """

    def __init__(self, config: CoreConfig):
        self.config = config
        super().__init__({
            "restart": In(1), "running": In(1), "launch": In(1), "working": In(1),
            "issued": In(config.P), "feed_stall": In(1), "drain_stall": In(1), "cycles": Out(32),
            "lines": Out(align_up(32 * len(COUNTERS), config.line_bits))})

    def elaborate(self, platform):
        m = Module()
        feed, drain, busy = (Signal(STALL_BITS, name=n) for n in ("feed", "drain", "busy"))
        with m.If(self.restart):
            m.d.sync += self.cycles.eq(0)
        with m.Elif(self.running):
            m.d.sync += self.cycles.eq(self.cycles + 1)
        with m.If(self.launch | self.restart):
            m.d.sync += [feed.eq(0), drain.eq(0), busy.eq(0)]
        with m.Elif(self.working):
            m.d.sync += [feed.eq(feed + self.feed_stall), drain.eq(drain + self.drain_stall),
                         busy.eq(busy + sum(self.issued))]
        m.d.comb += self.lines.eq(Cat(self.cycles, *(n | Const(0, 32) for n in (feed, drain, busy))))
        return m
