"""COBS decoder: the bits of a frame that lies in a memory."""

from amaranth import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.link.counters import following
from hw.link.slots import SLOT_BITS

item = data.StructLayout({"bit": 1, "void": 1})


class Decoder(wiring.Component):
    """Walks through a frame and gives what it encodes, bit by bit.

    Parameters
    ----------
    latency : int
        Cycles from an address to its byte: 1, or 2 with a register behind the memory.

    Members
    -------
    start : In(1)
        Begin anew.
    addr : Out(9), data : In(8)
        The frame, see `hw.link.slots.Slots`.
    index : In(3)
        How many items were taken, modulo 8.
    o : Out(stream of {bit, void})
        Lowest bit of a byte first; of a code that stands for no zero come eight void items.
    end : Out(1), sound : Out(1)
        The final zero is reached; it stands where the code of a block could stand.

    Behaviour
    ---------
    8 + latency cycles a byte.

    Source
    ------
    S. Cheshire, M. Baker, "Consistent Overhead Byte Stuffing", IEEE/ACM Trans. Networking 7 (1999).
    """

    def __init__(self, latency: int):
        assert latency in (1, 2)
        self._latency = latency
        super().__init__({
            "start": In(1), "addr": Out(SLOT_BITS), "data": In(8), "index": In(3),
            "o": Out(stream.Signature(item)), "end": Out(1), "sound": Out(1)})

    def elaborate(self, platform):
        m = Module()
        position = Signal(SLOT_BITS, reset_less=True)
        # Bytes of the block that follow this one, less one for each: what goes round is a code, or
        # what was left before.
        left, borrow = Signal(8, reset_less=True), Signal(reset_less=True)
        due, more = Signal(reset_less=True), Signal(reset_less=True)   # a code; `left` is not 0
        full, ones = Signal(reset_less=True), Signal(reset_less=True)  # no zero follows; so far
        fetched = Signal(reset_less=True)
        bit, source, rest, step, ends = Signal(), Signal(), Signal(), Signal(), Signal()
        m.d.comb += [
            self.addr.eq(position), self.sound.eq(due), ends.eq(step & (self.index == 7)),
            self.end.eq(fetched & (self.data == 0)), self.o.valid.eq(fetched & (self.data != 0)),
            step.eq(self.o.valid & self.o.ready), bit.eq(self.data.bit_select(self.index, 1)),
            self.o.p.bit.eq(bit & ~due), self.o.p.void.eq(due & full),
            source.eq(Mux(due, bit, left[0])), rest.eq(source ^ borrow),
        ]
        there = Signal(init=1, reset_less=True) if self._latency == 2 else Const(1)
        m.d.sync += fetched.eq(there & ~ends & ~self.start)
        if self._latency == 2:
            m.d.sync += there.eq(~ends & ~self.start)
        with m.If(step):
            m.d.sync += [left.eq(Cat(left[1:], rest)), borrow.eq(~source & borrow),
                         more.eq(rest | more), ones.eq(bit & ones)]
        with m.If(ends):
            m.d.sync += [position.eq(following(position)), due.eq(~(rest | more))]
            with m.If(due):
                m.d.sync += full.eq(bit & ones)
        with m.If(ends | self.start):
            m.d.sync += [borrow.eq(1), more.eq(0), ones.eq(1)]
        with m.If(self.start):
            m.d.sync += [position.eq(0), due.eq(1), full.eq(1)]
        return m
