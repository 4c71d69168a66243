"""Reads the header and the descriptors of a program into registers."""

from amaranth import Module, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.config import CoreConfig
from hw.layout import DESCRIPTOR_WORDS
from hw.ports import line_address_bits, read_client


class Fetch(wiring.Component):
    """Reads ``lines`` lines from line ``slot`` on.

    Members
    -------
    begin : In(1), slot : In, lines : In(5)
        Start; ``slot`` and ``lines`` hold until ``arrived``.
    clear : In(1)
    r : Out(read_client)
    words : Out(array of 16 words), arrived : Out(1)
        All lines are in ``words``, the first line in the lowest; low during ``begin``.
    """

    def __init__(self, config: CoreConfig):
        self.config = config
        super().__init__({
            "begin": In(1), "slot": In(line_address_bits(config)), "lines": In(5), "clear": In(1),
            "r": Out(read_client(config)), "words": Out(data.ArrayLayout(32, DESCRIPTOR_WORDS)),
            "arrived": Out(1)})

    def elaborate(self, platform):
        m = Module()
        per_line = self.config.V // 4
        wanted, fetched = Signal(5), Signal(5)
        running = Signal()
        m.d.comb += [
            self.r.addr.eq(self.slot + wanted), self.r.valid.eq(running & (wanted != self.lines)),
            self.arrived.eq(running & (fetched == self.lines)),
        ]
        with m.If(self.r.valid & self.r.ready):
            m.d.sync += wanted.eq(wanted + 1)
        with m.If(self.r.done):
            m.d.sync += fetched.eq(fetched + 1)
            for w in range(DESCRIPTOR_WORDS):
                with m.If(fetched == w // per_line):
                    m.d.sync += self.words[w].eq(self.r.data.word_select(w % per_line, 32))
        with m.If(self.begin):
            m.d.sync += [wanted.eq(0), fetched.eq(0), running.eq(1)]
        with m.Elif(self.arrived | self.clear):
            m.d.sync += running.eq(0)
        return m
