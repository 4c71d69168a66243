"""COBS decoder: the bits of a frame that lies in a memory."""

from amaranth import Cat, Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.link.slots import SLOT_BITS, Slots

item = data.StructLayout({"bit": 1, "void": 1})


class Decoder(wiring.Component):
    """Walks through a frame and gives what it encodes, bit by bit.

    Members
    -------
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
    BYTE_CYCLES cycles a byte. A reset begins a frame.

    Source
    ------
    S. Cheshire, M. Baker, "Consistent Overhead Byte Stuffing", IEEE/ACM Trans. Networking 7 (1999).
    """

    BYTE_CYCLES = 8 + 1 + Slots.READ_LATENCY

    def __init__(self):
        super().__init__({
            "addr": Out(SLOT_BITS), "data": In(8), "index": In(3),
            "o": Out(stream.Signature(item)), "end": Out(1), "sound": Out(1)})

    def elaborate(self, platform):
        m = Module()
        position = Signal(SLOT_BITS)
        # Bytes of the block that follow this one, less one for each: what goes round is a code or
        # what was left before.
        left, borrow, bit = Signal(8), Signal(), Signal()
        due, more = Signal(init=1), Signal()    # a code is; a bit of what is left is one
        full, ones = Signal(init=1), Signal()   # no zero follows the block; the same, so far
        source, rest = Signal(), Signal()
        begins, ends, step = self.index == 0, self.index == 7, Signal()
        m.d.comb += [
            self.addr.eq(position), self.sound.eq(due), step.eq(self.o.valid & self.o.ready),
            bit.eq(self.data.bit_select(self.index, 1)),
            self.o.p.bit.eq(bit & ~due), self.o.p.void.eq(due & full),
            source.eq((due & bit) | (~due & left[0])), rest.eq(source ^ (begins | borrow)),
        ]
        with m.FSM():
            with m.State("Fetch"):
                m.next = "Look"
            with m.State("Look"):
                m.d.comb += self.end.eq(self.data == 0)
                with m.If(~self.end):
                    m.next = "Shift"
            with m.State("Shift"):
                m.d.comb += self.o.valid.eq(1)
                with m.If(self.o.ready & ends):
                    m.next = "Fetch"
        with m.If(step):
            m.d.sync += [left.eq(Cat(left[1:], rest)), borrow.eq(~source & (begins | borrow)),
                         more.eq(rest | (more & ~begins)), ones.eq(bit & (ones | begins))]
            with m.If(ends):
                m.d.sync += [position.eq(position + 1), due.eq(~(rest | more))]
                with m.If(due):
                    m.d.sync += full.eq(bit & ones)
        return m
