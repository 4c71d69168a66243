"""COBS encoder: a block is collected while the one before is sent."""

from amaranth import Cat, Module, Mux, Signal, unsigned
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.cells.ram import INFERENCE

BLOCK_BYTES = 256     # 254 bytes at most, and the first is the code's
FULL = 255            # code of a block that no zero follows

item = data.StructLayout({"byte": 8, "end": 1})


class Encoder(wiring.Component):
    """Frames of the bytes that come.

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

    def __init__(self):
        super().__init__({"i": In(stream.Signature(item)),
                          "o": Out(stream.Signature(unsigned(8)))})

    def elaborate(self, platform):
        m = Module()
        m.submodules.ram = ram = memory.Memory(shape=8, depth=2 * BLOCK_BYTES, init=[],
                                               attrs=INFERENCE)
        write, read = ram.write_port(), ram.read_port()
        # A block grows to `length`, its code, then is handed over if the sender is free.
        half, length, whole, last = Signal(reset_less=True), Signal(8, init=1), Signal(), Signal()
        code, sent, sending = Signal(8, reset_less=True), Signal(8, reset_less=True), Signal()
        coding, fresh = Signal(reset_less=True), Signal(reset_less=True)
        ended, closing, complete = Signal(), Signal(reset_less=True), Signal()
        m.d.comb += [
            complete.eq(whole | (length == FULL)), self.i.ready.eq(~complete),
            write.addr.eq(Cat(length, half)), write.data.eq(self.i.p.byte),
            write.en.eq(self.i.valid & self.i.ready),
            read.addr.eq(Cat(sent, ~half)),
        ]
        with m.If(self.i.valid & self.i.ready):
            with m.If(self.i.p.end | (self.i.p.byte == 0)):
                m.d.sync += [whole.eq(1), last.eq(self.i.p.end)]
            with m.Else():
                m.d.sync += length.eq(length + 1)
        with m.If(complete & ~sending):
            # After the last block comes one of length 0: its code is the final zero.
            m.d.sync += [code.eq(length), half.eq(~half), sending.eq(1), coding.eq(1), sent.eq(0),
                         length.eq(~last), whole.eq(last), last.eq(0), ended.eq(last),
                         closing.eq(ended)]
        # The memory needs a cycle after `sent` moved.
        m.d.comb += [self.o.payload.eq(Mux(coding, code, read.data)),
                     self.o.valid.eq(sending & ~fresh)]
        m.d.sync += fresh.eq(0)
        with m.If(sending & ~fresh & self.o.ready):
            m.d.sync += [coding.eq(0), fresh.eq(1), sent.eq(sent + 1)]
        with m.If(sending & fresh & ((sent == code) | closing)):
            m.d.sync += sending.eq(0)
        return m
