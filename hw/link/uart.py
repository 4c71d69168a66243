"""Bytes from and to the serial line: 8 data bits, no parity, one stop bit."""

from amaranth import Cat, Module, Mux, Signal, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out

from hw.config import ConfigError
from hw.link.counters import successor
from hw.link.protocol import DIVISOR_BITS

MIN_DIVISOR = 4


def check_divisor(divisor: int):
    """Raise ConfigError unless bits of this many cycles can be received."""
    limit = (1 << DIVISOR_BITS) - 1
    if not (isinstance(divisor, int) and MIN_DIVISOR <= divisor <= limit):
        raise ConfigError(f"divisor must be an integer in {MIN_DIVISOR}..{limit}, not {divisor!r}; "
                          f"choose another baud rate or clock")


class Receiver(wiring.Component):
    """Bytes of the line, or of another source while that is chosen.

    Parameters
    ----------
    divisor : int
        Clock cycles per bit.

    Members
    -------
    rx : In(1)
        The pin, not yet synchronised.
    other : In(stream of bytes), choose : In(1)
        Bytes that are taken instead of the line's while `choose` is high.
    o : Out(stream of bytes)

    Behaviour
    ---------
    A byte is there DELAY cycles after the middle of its stop bit; if the next one ends before it
    is taken, it is lost. Bytes without start or stop bit are ignored.
    """

    DELAY = 3   # two of them in the synchroniser

    def __init__(self, divisor: int):
        check_divisor(divisor)
        self._divisor = divisor
        byte = stream.Signature(unsigned(8))
        super().__init__({"rx": In(1), "other": In(byte), "choose": In(1), "o": Out(byte)})

    def elaborate(self, platform):
        m = Module()
        rx, busy, sample = Signal(init=1), Signal(), Signal()
        m.submodules.synchroniser = FFSynchronizer(self.rx, rx, init=1)
        count = Signal(range(self._divisor), init=self._divisor - 1, reset_less=True)
        # Start and data bits, and a one that was put before them: it has come out when the stop
        # bit is due.
        bits = Signal(10, init=1 << 9, reset_less=True)
        taken = self.other.valid & self.other.ready
        m.d.comb += [sample.eq(busy & (count == self._divisor // 2)), self.o.payload.eq(bits[2:]),
                     self.other.ready.eq(self.choose & ~self.o.valid)]
        m.d.sync += count.eq(count - 1)
        with m.If(~busy | (count == 0)):
            m.d.sync += count.eq(count.init)
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(sample | taken):
            m.d.sync += bits.eq(Mux(busy, Cat(bits[1:], rx), Cat(bits[:2], self.other.payload)))
        with m.If(taken | (sample & bits[0] & rx & ~bits[1])):
            m.d.sync += self.o.valid.eq(1)
        with m.If(sample & bits[0]):
            m.d.sync += [busy.eq(0), bits.eq(bits)]
        with m.If(~busy & ~rx & ~self.choose):
            m.d.sync += [busy.eq(1), bits.eq(bits.init)]
        return m


class Transmitter(wiring.Component):
    """Sends bytes.

    Parameters
    ----------
    divisor : int
        Clock cycles per bit.

    Members
    -------
    i : In(stream of bytes)
    tx : Out(1)

    Behaviour
    ---------
    Takes a byte when its stop bit begins; if the next is there when that ends, they follow each
    other without a pause. A byte that comes later begins at most a bit after it came.
    """

    def __init__(self, divisor: int):
        check_divisor(divisor)
        self._divisor = divisor
        super().__init__({"i": In(stream.Signature(unsigned(8))), "tx": Out(1, init=1)})

    def elaborate(self, platform):
        m = Module()
        start, stop = 15, 8      # phases; data bits from 0 on
        count = Signal(range(self._divisor), reset_less=True)
        phase = Signal(4, init=stop, reset_less=True)
        tick, idle = Signal(), Signal()
        m.d.comb += [tick.eq(count == 0), idle.eq(phase == stop),
                     self.i.ready.eq(tick & (phase == stop - 1))]
        m.d.sync += [count.eq(count - 1), self.tx.eq(
            Mux(phase[3], idle, self.i.payload.bit_select(phase[:3], 1)))]
        with m.If(tick):
            m.d.sync += count.eq(self._divisor - 1)
            with m.If(~idle):
                m.d.sync += phase.eq(successor(phase))
            with m.Elif(self.i.valid):
                m.d.sync += phase.eq(start)
        return m
