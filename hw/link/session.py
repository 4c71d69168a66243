"""Which packets count, and whether the core may be started."""

from amaranth import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.link.counters import below, successor
from hw.link.protocol import SEQUENCE_BITS, SEQUENCE_LOW, Command


class Session(wiring.Component):
    """Numbers of packets, and their commands but for accesses.

    Members
    -------
    clear : In(1)
        A packet begins.
    word : In(32), begin : In(1)
        Its command word: it is executed now.
    writes, reads : Out(1)
        With `begin`: what it does besides.
    refuse, fail : In(1)
        It asks for what is not allowed; an access of it failed.
    disordered, refused, failed : Out(1)
        As the bits of `hw.link.protocol.Status`.
    open, loading, armed : Out(1)
        As well.
    core_rst : Out(1)
        The core is to be reset.

    Behaviour
    ---------
    A packet is executed if its number follows that of the last one that was. That one and those
    before it, as many as half of the numbers, are answered again (they are read, but nothing else
    is done); all others are refused. IDENTIFY is always executed. Every answer until the next one
    tells what was refused or failed, as a single answer may get lost.
    """

    def __init__(self):
        super().__init__({
            "clear": In(1), "word": In(32), "begin": In(1), "writes": Out(1), "reads": Out(1),
            "refuse": In(1), "fail": In(1), "disordered": Out(1), "refused": Out(1),
            "failed": Out(1), "open": Out(1), "loading": Out(1), "armed": Out(1),
            "core_rst": Out(1)})

    def elaborate(self, platform):
        m = Module()
        command = {c: self.word[c.bit_length() - 1] for c in Command}
        number = self.word[SEQUENCE_LOW:][:SEQUENCE_BITS]
        due = Signal(SEQUENCE_BITS, reset_less=True)
        disordered, ready = Signal(reset_less=True), Signal()
        new, old = Signal(), Signal()
        m.d.comb += [
            self.disordered.eq(disordered),
            ready.eq(self.loading & ~self.refused & ~self.failed),
            new.eq(self.open & (number == due) | command[Command.IDENTIFY]),
            old.eq(self.open & below(number, due)),
            self.writes.eq(new & command[Command.WRITE]),
            self.reads.eq((new | old) & command[Command.READ] & ~command[Command.WRITE]),
        ]
        m.d.sync += self.core_rst.eq(0)
        with m.If(self.begin):
            m.d.sync += disordered.eq(~new & ~old)
        with m.If(self.begin & new):
            m.d.sync += due.eq(successor(number))
            with m.If(command[Command.IDENTIFY]):
                m.d.sync += [self.open.eq(1), self.loading.eq(0), self.refused.eq(0),
                             self.failed.eq(0)]
            with m.If(command[Command.BEGIN]):
                m.d.sync += [self.loading.eq(1), self.armed.eq(0), self.core_rst.eq(1)]
            with m.If(command[Command.COMMIT]):
                m.d.sync += self.loading.eq(0)
                with m.If(ready):
                    m.d.sync += self.armed.eq(1)
                with m.Else():
                    m.d.sync += self.refused.eq(1)
        with m.If(self.refuse):
            m.d.sync += self.refused.eq(1)
        with m.If(self.fail):
            m.d.sync += self.failed.eq(1)
        with m.If(self.clear):
            m.d.sync += disordered.eq(0)
        return m
