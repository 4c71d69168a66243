"""The backing store as an AXI4-Stream: a frame for every run of a program."""

from amaranth import Module, Signal, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hw.axi.signals import PAGE_BEAT


class PageFrames(wiring.Component):
    """Gives the pager one frame for each run of a program.

    Members
    -------
    i : In(stream of PAGE_BEAT)
        Frames: the whole contents of the backing store, again for each run.
    o : Out(stream of 32-bit words), rewind : In(1)
        To the pager; no program runs.

    Behaviour
    ---------
    A frame that a run did not take to its end is dropped up to its TLAST; the next one waits for
    the next run. So a transmitter never needs to know about ``rewind``.
    """

    def __init__(self):
        super().__init__({"i": In(stream.Signature(PAGE_BEAT)),
                          "o": Out(stream.Signature(unsigned(32))), "rewind": In(1)})

    def elaborate(self, platform):
        m = Module()
        inside, stale, ended = Signal(), Signal(), Signal()  # within a frame, an old one; behind it
        drop, hold, ends, taken = Signal(), Signal(), Signal(), Signal()
        m.d.comb += [
            drop.eq(stale | self.rewind & inside), hold.eq(self.rewind | ended),
            self.i.ready.eq(drop | ~hold & self.o.ready),
            self.o.valid.eq(self.i.valid & ~drop & ~hold), self.o.payload.eq(self.i.p.data),
            taken.eq(self.i.valid & self.i.ready), ends.eq(taken & self.i.p.last),
        ]
        m.d.sync += [
            inside.eq(taken & ~self.i.p.last | ~taken & inside), stale.eq(drop & ~ends),
            ended.eq(~self.rewind & (ended | ends & ~drop)),
        ]
        return m
