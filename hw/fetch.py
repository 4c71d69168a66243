"""Reads the header and the descriptors of a program; keeps what the core implements of them."""

from amaranth import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.config import PROGRAM_VERSION, CoreConfig
from hw.delay import delayed
from hw.descriptor import descriptor_shape
from hw.layout import DESCRIPTOR, DESCRIPTOR_WORDS, MAGIC, Error
from hw.ports import line_address_bits, read_client


class Fetch(wiring.Component):
    """Reads ``lines`` lines, as a descriptor or as the program's header.

    Members
    -------
    begin : In(1), lines : In(5)
        Start; ``lines`` holds until ``there``.
    line : In
        Where the next line is read; it goes on by one with every request that is accepted.
    clear : In(1)
    r : Out(read_client)
    d : Out(descriptor_shape), oversize : Out(1)
        The fields; a bit beyond one was set.
    header : Out(Error)
        What is wrong if the lines are a header.
    there : Out(1)
        All lines have come; low from the cycle after ``begin``.
    """

    def __init__(self, config: CoreConfig):
        self.config = config
        super().__init__({
            "begin": In(1), "line": In(line_address_bits(config)), "lines": In(5), "clear": In(1),
            "r": Out(read_client(config)), "d": Out(descriptor_shape(config)), "oversize": Out(1),
            "header": Out(8), "there": Out(1)})

    def elaborate(self, platform):
        m = Module()
        wanted, fetched = Signal(5), Signal(5)
        running = Signal()
        m.d.comb += [self.r.addr.eq(self.line),
                     self.there.eq(~running | (fetched == self.lines))]
        with m.If(self.r.valid & self.r.ready):
            m.d.sync += [wanted.eq(wanted + 1), self.r.valid.eq(wanted + 1 != self.lines)]
        came = Signal(self.config.line_bits)       # nothing but wire between memory and register
        stage = m.d.sync if self.config.pipelined else m.d.comb
        stage += came.eq(self.r.data)
        with m.If(delayed(m, self.r.done, self.config.pipelined)):
            m.d.sync += fetched.eq(fetched + 1)
            per_line = self.config.V // 4
            for line in range(max(1, DESCRIPTOR_WORDS // per_line)):
                with m.If(fetched == line):
                    self._line(m, came, range(line * per_line, (line + 1) * per_line))
        with m.If(self.begin):
            m.d.sync += [wanted.eq(0), fetched.eq(0), running.eq(1), self.r.valid.eq(1),
                         self.oversize.eq(0), self.header.eq(Error.NONE)]
        with m.Elif(self.there | self.clear):
            m.d.sync += [running.eq(0), self.r.valid.eq(0)]
        return m

    def _line(self, m, came, numbers):
        """Take the words with these numbers from the line that has come."""
        excess = 0
        for position, number in enumerate(numbers):
            word = came.word_select(position, 32)
            for name, field in DESCRIPTOR.items():
                if field.word == number:
                    target, bits = self.d[name], word[field.low:field.low + field.width]
                    m.d.sync += target.eq(bits)
                    dropped = bits[len(target):]
                    if field.signed:
                        dropped ^= bits[len(target) - 1].replicate(len(dropped))
                    if len(dropped) and name != "a_base":     # which lies in in_start
                        excess |= dropped.any()
        m.d.sync += self.oversize.eq(self.oversize | excess)
        header = ((0, MAGIC, Error.MAGIC), (1, PROGRAM_VERSION, Error.VERSION),
                  (2, self.config.hash, Error.CONFIG))
        for number, expected, code in reversed(header):     # of several, the first one counts
            if number in numbers:
                word = came.word_select(number - numbers[0], 32)
                with m.If((word != expected) & (self.header == Error.NONE)):
                    m.d.sync += self.header.eq(code)
