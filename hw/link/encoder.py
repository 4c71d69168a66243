"""COBS encoder: a block is collected while the one before is sent."""

from amaranth import Cat, Module, Mux, Signal, unsigned
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.cells.ram import INFERENCE
from hw.delay import delayed

BLOCK_BYTES = 256     # 254 bytes at most, and the first is the code's
FULL = 255            # code of a block that no zero follows

item = data.StructLayout({"byte": 8, "end": 1})


class Encoder(wiring.Component):
    """Frames of the bytes that come.

    Parameters
    ----------
    latency : int
        Of its memory: 1, or 2 for a register behind it.

    Members
    -------
    i : In(stream of {byte, end})
        With `end` the frame ends; the byte does not count.
    o : Out(stream of bytes)
        Blocks, then a zero.

    Behaviour
    ---------
    Takes a byte a cycle but when a block ends; two blocks fit in. A frame that ends with a full
    block ends with the code 1, which decoders accept.

    Source
    ------
    S. Cheshire, M. Baker, "Consistent Overhead Byte Stuffing", IEEE/ACM Trans. Networking 7 (1999).
    """

    def __init__(self, latency: int):
        self._latency = latency
        super().__init__({"i": In(stream.Signature(item)),
                          "o": Out(stream.Signature(unsigned(8)))})

    def elaborate(self, platform):
        m = Module()
        m.submodules.ram = ram = memory.Memory(shape=8, depth=2 * BLOCK_BYTES, init=[],
                                               attrs=INFERENCE)
        write, read = ram.write_port(), ram.read_port()
        # A block grows to `length`, its code, and is handed over as soon as the sender is free.
        half, length, whole, last = Signal(reset_less=True), Signal(8, init=1), Signal(), Signal()
        code, sent, sending = Signal(8, reset_less=True), Signal(8, reset_less=True), Signal()
        coding, moved, fresh = Signal(reset_less=True), Signal(reset_less=True), Signal()
        final, closing = Signal(reset_less=True), Signal()
        taken, complete = Signal(), Signal()
        m.d.comb += [
            complete.eq(whole | (length == FULL)), self.i.ready.eq(~complete),
            taken.eq(self.i.valid & self.i.ready),
            write.addr.eq(Cat(length, half)), write.data.eq(self.i.p.byte), write.en.eq(taken),
            read.addr.eq(Cat(sent, ~half)), self.o.valid.eq(sending & ~fresh),
            self.o.payload.eq(Mux(coding, code, delayed(m, read.data, self._latency - 1))),
        ]
        with m.If(taken):
            m.d.sync += last.eq(self.i.p.end)
            with m.If(self.i.p.end | (self.i.p.byte == 0)):
                m.d.sync += whole.eq(1)
            with m.Else():
                m.d.sync += length.eq(length + 1)
        with m.If(complete & ~sending):
            m.d.sync += [code.eq(length), final.eq(last), half.eq(~half), sending.eq(1),
                         coding.eq(1), sent.eq(0), length.eq(1), whole.eq(0)]
        # The memory needs a cycle or two after `sent` moved.
        m.d.sync += moved.eq(self.o.valid & self.o.ready)
        m.d.comb += fresh.eq(moved | (delayed(m, moved, 1) if self._latency == 2 else 0))
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += [coding.eq(0), sent.eq(sent + 1)]
        with m.If(sending & moved & (closing | (sent == code))):
            m.d.sync += [closing.eq(final & ~closing), sending.eq(final & ~closing)]
            with m.If(final):        # the zero goes out as another code
                m.d.sync += [code.eq(0), coding.eq(1)]
        return m
