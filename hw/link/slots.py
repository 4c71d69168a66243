"""Where frames wait: two slots, so that one arrives while the one before is executed."""

from amaranth import Cat, Module, Signal, unsigned
from amaranth.lib import memory, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.cells.ram import INFERENCE
from hw.config import log2
from hw.link.counters import following, successor
from hw.link.protocol import SLOT_BYTES

SLOT_BITS = log2(SLOT_BYTES)


class Slots(wiring.Component):
    """Keeps two frames as they came from the line, final zeros included.

    Members
    -------
    i : In(stream of bytes), hold : In(1)
    pending : Out(1)
        A whole frame waits.
    addr : In(9), data : Out(8)
        A byte of the older frame, READ_LATENCY cycles later. Bytes lie at 0 and what is
        `hw.link.counters.following` on it.
    release : In(1)
        That frame is done with.

    Behaviour
    ---------
    Bytes that come while both slots are full are lost, or wait if `hold` is high. A frame longer
    than a slot begins anew at its start: what remains is the end of the frame, or of another one
    that lost its beginning. Whether it is sound tells its CRC-32, as with all other damage.
    """

    READ_LATENCY = 1

    def __init__(self):
        super().__init__({
            "i": In(stream.Signature(unsigned(8))), "hold": In(1), "pending": Out(1),
            "addr": In(SLOT_BITS), "data": Out(8), "release": In(1)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.ram = ram = memory.Memory(shape=8, depth=2 * SLOT_BYTES, init=[],
                                               attrs=INFERENCE)
        write, read = ram.write_port(), ram.read_port()
        coming, going = Signal(2), Signal(2)     # frames that came, that went; modulo 4
        position, full = Signal(SLOT_BITS), Signal()
        m.d.comb += [
            full.eq((coming ^ going) == 2), self.pending.eq(coming != going),
            self.i.ready.eq(~full | ~self.hold),
            write.en.eq(self.i.valid & ~full), write.data.eq(self.i.payload),
            write.addr.eq(Cat(position, coming[0])), read.addr.eq(Cat(self.addr, going[0])),
            self.data.eq(read.data),
        ]
        with m.If(write.en):
            m.d.sync += position.eq(following(position))
            with m.If(self.i.payload == 0):
                m.d.sync += [position.eq(0), coming.eq(successor(coming))]
        with m.If(self.release):
            m.d.sync += going.eq(successor(going))
        return m
