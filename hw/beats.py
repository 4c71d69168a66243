"""Counts the beats of one drain round."""

from amaranth import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.config import CoreConfig


class BeatCounter(wiring.Component):
    """After ``start``, up to ``config.beats`` strobes, ``config.beat_cycles`` cycles apart.

    Members
    -------
    final : In
        Number of a round's last beat; constant while a descriptor runs.
    start, clear : In(1)
        A round may start in the last cycle of its predecessor.
    fetch : Out(1), beat : Out
        Strobe, from the cycle after ``start`` on, and its number.
    last : Out(1)
        ``fetch`` of the final beat.
    free : Out(1)
        A round may start.
    """

    def __init__(self, config: CoreConfig):
        self.config = config
        super().__init__({"start": In(1), "clear": In(1), "fetch": Out(1), "last": Out(1),
                          "free": Out(1), "final": In(range(config.beats)),
                          "beat": Out(range(config.beats))})

    def elaborate(self, platform):
        m = Module()
        running, cycle = Signal(), Signal(range(self.config.beat_cycles))
        final_cycle = cycle == self.config.beat_cycles - 1
        final_beat = self.beat == self.final
        m.d.comb += [self.fetch.eq(running & (cycle == 0)), self.last.eq(self.fetch & final_beat),
                     self.free.eq(~running | (final_cycle & final_beat))]
        with m.If(self.start):
            m.d.sync += [running.eq(1), cycle.eq(0), self.beat.eq(0)]
        with m.Elif(running):
            m.d.sync += cycle.eq(Mux(final_cycle, 0, cycle + 1))
            with m.If(final_cycle):
                m.d.sync += [self.beat.eq(self.beat + 1), running.eq(~final_beat)]
        with m.If(self.clear):
            m.d.sync += running.eq(0)
        return m
