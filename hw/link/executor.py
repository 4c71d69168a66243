"""Checks packets, executes them and answers: a bit a cycle, for few registers and gates."""

from amaranth import Cat, Const, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hw.config import CoreConfig
from hw.host import wishbone
from hw.link import decoder, encoder, protocol
from hw.link.address import Address
from hw.link.counters import successor
from hw.link.crc import SerialCrc
from hw.link.session import Session
from hw.link.states import States


class Executor(wiring.Component):
    """Executes the packets of frames.

    Parameters
    ----------
    config : CoreConfig
    divisor : int
        What the status word says about the line.

    Members
    -------
    pending : In(1), release : Out(1)
        A frame waits; it is done with.
    start : Out(1)
        The frame is read from its beginning on: reset of the decoder.
    index : Out(3), i : In(stream of {bit, void}), end : In(1), sound : In(1)
        To and from `hw.link.decoder.Decoder`.
    o : Out(stream of {byte, end})
        Replies, see `hw.link.encoder.Encoder`.
    silent : In(1)
        Do not reply.
    boot_failed : In(8)
        For the status word.
    bus : Out(wishbone), core_rst : Out(1)
    armed, started : Out(1)
        The core may be started; it is started in this cycle.
    fault : Out(1)
        In this cycle: a packet was damaged, or could not be executed.
    idle : Out(1)
        There is nothing to do.

    Behaviour
    ---------
    ``docs/link.md``. A frame is read twice: to check CRC and length, then to execute it.
    """

    def __init__(self, config: CoreConfig, divisor: int):
        self.config, self._divisor = config, divisor
        super().__init__({
            "pending": In(1), "release": Out(1), "start": Out(1), "index": Out(3),
            "i": In(stream.Signature(decoder.item)), "end": In(1), "sound": In(1),
            "o": Out(stream.Signature(encoder.item)), "silent": In(1), "boot_failed": In(8),
            "bus": Out(wishbone(config)), "core_rst": Out(1), "armed": Out(1), "started": Out(1),
            "fault": Out(1), "idle": Out(1)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.crc = crc = SerialCrc()
        m.submodules.address = address = Address(self.config)
        m.submodules.session = session = Session()
        # Command and Address, Data if it writes, Tail (the CRC) and End: twice; the second time
        # Echo follows the address, and accesses (Write, Read) the data or replies.
        s = States("Idle Command Address Data Tail End Drop Echo Write Read Reply "
                   "Status Trailer Sum Seal Close")
        bus, index = self.bus, Signal(5, reset_less=True)
        word = Signal(32, reset_less=True)
        step, whole, bit = Signal(), Signal(), Signal()  # the word moves by `bit`; as a whole
        load, emit = Signal(), Signal()                  # it comes from the decoder, goes out
        checked, wrong = Signal(reset_less=True), Signal(reset_less=True)  # read again; CRC differs
        left, none = Signal(8, reset_less=True), Signal(reset_less=True)
        counts, sent, barred, done = Signal(), Signal(), Signal(), Signal()
        first, byte = index[3:] == 0, index[:3] == 0

        m.d.comb += [
            load.eq(s.Command | s.Address | s.Data | s.Tail), self.i.ready.eq(load),
            emit.eq(s.Echo | s.Reply | s.Trailer | s.Seal), sent.eq(self.o.ready | self.silent),
            self.o.valid.eq((emit & byte | s.Close) & ~self.silent), self.o.p.byte.eq(word),
            self.o.p.end.eq(s.Close), self.index.eq(index),
            step.eq(load & self.i.valid & ~self.i.p.void | s.Status | s.Sum
                    | emit & (~byte | sent)),
            whole.eq(step & (index == 31)),
            bit.eq((load & self.i.p.bit) | (emit & word[0]) | (s.Sum & crc.o)
                   | (s.Status & self._status(session).bit_select(index, 1))),
            crc.bit.eq(bit), crc.give.eq(s.Sum | s.Tail),
            crc.clear.eq(s.Idle | (s.Address & checked)),
            crc.step.eq(step & ~s.Status & ~(load & checked)),
            address.bit.eq(bit), address.index.eq(index), address.load.eq(s.Address & step),
            address.turn.eq((s.Data | s.Reply) & step), address.final.eq(s.Reply & none),
            address.clear.eq(s.Idle),
            counts.eq(s.Address | s.Data | s.Reply),
        ]
        with m.If(step | (load & self.i.valid)):
            m.d.sync += index[:3].eq(successor(index[:3]))
        with m.If(step & (index[:3] == 7)):
            m.d.sync += index[3:].eq(successor(index[3:]))
        with m.If((step & ~s.Address) | s.Read):
            m.d.sync += word.eq(Mux(s.Read, bus.dat_r, Cat(word[1:], bit)))
        borrow = none | byte
        with m.If(step & ((counts & first) | (s.Command & (index[3:] == protocol.WORDS_LOW // 8)))):
            # The number of words comes in or goes round, less one.
            m.d.sync += left.eq(Cat(left[1:], Mux(counts, left[0] ^ borrow, bit)))
        with m.If(step & counts & first):
            m.d.sync += none.eq(~left[0] & borrow)

        good = self.end & self.sound & ~wrong
        with m.If(s.Idle):
            m.d.sync += [index.eq(0), checked.eq(0), wrong.eq(0)]
        with m.If(s.End & good):
            m.d.sync += checked.eq(1)
        with m.If(s.Tail & step & crc.differs):
            m.d.sync += wrong.eq(1)
        self._transitions(s, whole, none, checked, good, word[0], session, done, sent)
        s.build(m)

        m.d.comb += [
            session.word.eq(Cat(word[1:], bit)), session.begin.eq(s.Echo & whole),
            session.clear.eq(s.Idle),
            session.refuse.eq(s.Write & address.control & ~session.armed),
            barred.eq(address.bad | session.refused | session.failed | session.refuse),
            bus.cyc.eq((s.Write | s.Read) & ~barred), bus.stb.eq(bus.cyc), bus.we.eq(s.Write),
            bus.sel.eq(0xF), bus.adr.eq(address.o), bus.dat_w.eq(word),
            done.eq(barred | bus.ack | bus.err),
            session.fail.eq((s.Write | s.Read) & (address.bad | bus.err)),
            address.used.eq((s.Write | s.Read) & done),
            self.started.eq(s.Write & address.control & bus.ack & word[0]),
            self.core_rst.eq(session.core_rst), self.armed.eq(session.armed),
            self.idle.eq(s.Idle & ~self.pending), self.release.eq(s.Drop | s.Close & sent),
            self.fault.eq(s.Drop | s.Close & sent & (session.disordered | session.refused
                                                   | session.failed)),
            self.start.eq((s.Idle & self.pending) | (s.End & good)),
        ]
        return m

    def _transitions(self, s, whole, none, checked, good, write, session, done, sent):
        """What follows what; a frame that ends early is dropped."""
        for state in ("Command", "Address", "Data", "Tail"):
            s.go(state, self.end, "Drop")
        s.go("Idle", self.pending, "Command")
        s.go("Command", whole, "Address")
        s.go("Address", whole & checked, "Echo")
        s.go("Address", whole & ~checked & write & ~none, "Data")
        s.go("Address", whole & ~checked & ~(write & ~none), "Tail")
        s.go("Data", whole & checked, "Write")
        s.go("Data", whole & ~checked & none, "Tail")
        s.go("Tail", whole, "End")
        s.go("End", good, "Command")
        s.go("End", (self.end & ~good) | self.i.valid, "Drop")
        s.go("Drop", Const(1), "Idle")
        s.go("Echo", whole & session.writes & ~none, "Data")
        s.go("Echo", whole & session.reads & ~none, "Read")
        s.go("Echo", whole & ((~session.writes & ~session.reads) | none), "Status")
        s.go("Write", done & none, "Status")
        s.go("Write", done & ~none, "Data")
        s.go("Read", done, "Reply")
        s.go("Reply", whole & none, "Status")
        s.go("Reply", whole & ~none, "Read")
        for state, after in (("Status", "Trailer"), ("Trailer", "Sum"), ("Sum", "Seal"),
                             ("Seal", "Close")):
            s.go(state, whole, after)
        s.go("Close", sent, "Idle")

    def _status(self, session):
        """The status word."""
        flags = Cat(session.disordered, session.refused, session.failed, session.open,
                    session.loading, session.armed)
        fields = [(0, flags), (protocol.STATUS_BOOT[0], self.boot_failed),
                  (protocol.STATUS_DIVISOR[0], Const(self._divisor, protocol.DIVISOR_BITS)),
                  (protocol.STATUS_VERSION[0], Const(protocol.VERSION, protocol.STATUS_VERSION[1]))]
        word = Const(0, 0)
        for low, field in fields:
            word = Cat(word, Const(0, low - len(word)), field)
        return word
