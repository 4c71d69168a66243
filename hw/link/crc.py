"""CRC-32, a bit at a time."""

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.link.protocol import CRC_POLYNOMIAL


class SerialCrc(wiring.Component):
    """CRC-32 as zlib computes it.

    Members
    -------
    clear : In(1)
        Begin anew.
    step : In(1), bit : In(1)
        Take a bit, lowest of a byte first.
    give : In(1)
        With step: give the CRC instead of taking bits.
    o : Out(1)
        The next bit of the CRC of what was taken, lowest first.
    differs : Out(1)
        `bit` is not that bit.
    """

    def __init__(self):
        super().__init__({"clear": In(1), "step": In(1), "bit": In(1), "give": In(1),
                          "o": Out(1), "differs": Out(1)})

    def elaborate(self, platform):
        m = Module()
        crc = Signal(32, init=0xFFFFFFFF, reset_less=True)
        shifted = Cat(crc[1:], 0)
        m.d.comb += [self.o.eq(~crc[0]), self.differs.eq(~(self.bit ^ crc[0]))]
        with m.If(self.step):
            m.d.sync += crc.eq(shifted ^ Mux(self.differs | self.give, 0, CRC_POLYNOMIAL))
        with m.If(self.clear):
            m.d.sync += crc.eq(crc.init)
        return m
