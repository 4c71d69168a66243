"""COBS decoder: the bits of a frame that lies in a memory."""

from amaranth import Module, Signal, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hw.link.slots import SLOT_BITS, Slots


class Decoder(wiring.Component):
    """Walks through a frame and gives what it encodes, bit by bit.

    Members
    -------
    addr : Out(9), data : In(8)
        The frame, see `hw.link.slots.Slots`.
    index : In(3)
        Number of the next bit within its byte: how many were taken, modulo 8.
    o : Out(stream of bits)
        Lowest bit of a byte first.
    end : Out(1), sound : Out(1)
        The final zero is reached, and it stands where the code of a block could stand.

    Behaviour
    ---------
    Ten cycles a byte, two for a code that stands for no zero. A reset begins a frame.

    Source
    ------
    S. Cheshire, M. Baker, "Consistent Overhead Byte Stuffing", IEEE/ACM Trans. Networking 7 (1999).
    """

    def __init__(self):
        super().__init__({
            "addr": Out(SLOT_BITS), "data": In(8), "index": In(3),
            "o": Out(stream.Signature(unsigned(1))), "end": Out(1), "sound": Out(1)})

    def elaborate(self, platform):
        assert Slots.READ_LATENCY == 1
        m = Module()
        position, code = Signal(SLOT_BITS), Signal(SLOT_BITS)     # here; where the next code is
        silent = Signal(init=1)     # the next code stands for no zero: first, or after a full block
        advance = Signal()
        m.d.comb += [self.addr.eq(position), self.sound.eq(position == code)]
        with m.FSM():
            with m.State("Fetch"):
                m.next = "Look"
            with m.State("Look"):
                m.d.comb += self.end.eq(self.data == 0)
                with m.If(~self.end & self.sound & silent):
                    m.d.comb += advance.eq(1)
                    m.next = "Fetch"
                with m.Elif(~self.end):
                    m.next = "Shift"
            with m.State("Shift"):
                m.d.comb += [self.o.valid.eq(1), self.o.payload.eq(
                    self.data.bit_select(self.index, 1) & ~self.sound)]
                with m.If(self.o.ready & (self.index == 7)):
                    m.d.comb += advance.eq(1)
                    m.next = "Fetch"
        with m.If(advance):
            m.d.sync += position.eq(position + 1)
            with m.If(self.sound):
                m.d.sync += [code.eq(position + self.data), silent.eq(self.data == 0xFF)]
        return m
