"""Cycle and stall counters of the running descriptor."""

from amaranth import Module, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.config import CoreConfig
from hw.layout import COUNTER_WORDS

STALL_BITS = 24   # of one descriptor; the cycle counter of a program has 32


def issued_shape(config: CoreConfig) -> data.ArrayLayout:
    """Of each cluster the number of lanes that issue a row: 0..L, only 0 or L without skipping."""
    return data.ArrayLayout(range(config.L + 1), config.P)


class Counters(wiring.Component):
    """The words of ``hw.layout.COUNTERS``.

    Members
    -------
    restart, running : In(1)
        Begin a new program: all to zero; the core works: count its cycles.
    launch, working : In(1)
        A descriptor begins: stall counters to zero; count stalls.
    issued : In(array of P), feed_stall, drain_stall : In(1)
        Lanes of each cluster that issue a row.
    cycles : Out(32)
        Since ``restart``.
    words : Out(array of COUNTER_WORDS)
        The counters, in the order of COUNTERS.
    """

    def __init__(self, config: CoreConfig):
        self.config = config
        super().__init__({
            "restart": In(1), "running": In(1), "launch": In(1), "working": In(1),
            "issued": In(issued_shape(config)), "feed_stall": In(1), "drain_stall": In(1),
            "cycles": Out(32),
            "words": Out(data.ArrayLayout(32, COUNTER_WORDS))})

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
        m.d.comb += [word.eq(counter) for word, counter in zip(
            self.words, (self.cycles, feed, drain, busy), strict=True)]
        return m
