"""Checks packets, executes them and answers: a bit a cycle, for few registers and gates."""

from amaranth import Cat, Const, Module, Signal, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hw.config import CoreConfig
from hw.host import wishbone
from hw.link import protocol
from hw.link.address import Address
from hw.link.crc import SerialCrc
from hw.link.encoder import item
from hw.link.protocol import Command


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
    index : Out(3), i : In(stream of bits), end : In(1), sound : In(1)
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
            "i": In(stream.Signature(unsigned(1))), "end": In(1), "sound": In(1),
            "o": Out(stream.Signature(item)), "silent": In(1), "boot_failed": In(8),
            "bus": Out(wishbone(config)), "core_rst": Out(1), "armed": Out(1), "started": Out(1),
            "fault": Out(1), "idle": Out(1)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.crc = crc = SerialCrc()
        m.submodules.address = address = Address(self.config)
        bus = self.bus
        index, word = Signal(5), Signal(32, reset_less=True)     # bit of the word that moves
        # It moves by a bit: in from the decoder, out to the encoder (and around), or in from here.
        load, emit, status, sums = Signal(), Signal(), Signal(), Signal()
        step, bit, whole = Signal(), Signal(), Signal()
        checked, ones = Signal(), Signal()     # the second reading; no bit of this word differed
        left, none, counts = Signal(8, reset_less=True), Signal(), Signal()
        session, loading, last = Signal(), Signal(), Signal(protocol.SEQUENCE_BITS)
        disordered, refused = Signal(), Signal()
        barred, done = Signal(), Signal()

        m.d.comb += [
            self.index.eq(index), self.i.ready.eq(load), self.o.p.byte.eq(word),
            self.o.valid.eq(emit & (index[:3] == 0) & ~self.silent),
            step.eq(load & self.i.valid | status | sums
                    | emit & ((index[:3] != 0) | self.o.ready | self.silent)),
            whole.eq(step & (index == 31)),
            crc.bit.eq(bit), crc.give.eq(sums), crc.step.eq(step & (emit | sums | load & ~checked)),
            address.bit.eq(bit), address.index.eq(index),
            bus.adr.eq(address.o), bus.dat_w.eq(word), bus.sel.eq(0xF), bus.stb.eq(bus.cyc),
        ]
        with m.If(load):
            m.d.comb += bit.eq(self.i.payload)
        with m.Elif(status):
            m.d.comb += bit.eq(self._status(session, loading, disordered, refused, address.bad)
                               .bit_select(index, 1))
        with m.Elif(sums):
            m.d.comb += bit.eq(crc.o)
        with m.Else():
            m.d.comb += bit.eq(word[0])
        with m.If(step):
            m.d.sync += [index.eq(index + 1), ones.eq(~crc.differs & (ones | (index == 0)))]
            with m.If(~address.load):
                m.d.sync += word.eq(Cat(word[1:], bit))
            with m.If(counts & (index[3:] == 0)):      # `left` goes round, less one
                borrow = none | (index[:3] == 0)
                m.d.sync += [left.eq(Cat(left[1:], left[0] ^ borrow)), none.eq(~left[0] & borrow)]

        m.d.sync += self.core_rst.eq(0)
        with m.FSM():
            with m.State("Idle"):
                m.d.comb += [self.start.eq(self.pending), crc.clear.eq(1), address.clear.eq(1),
                             self.idle.eq(~self.pending)]
                m.d.sync += [index.eq(0), checked.eq(0), disordered.eq(0), refused.eq(0)]
                with m.If(self.pending):
                    m.next = "Command"
            with m.State("Command"):
                m.d.comb += load.eq(1)
                with m.If(step & (index[3:] == protocol.WORDS_LOW // 8)):
                    m.d.sync += left.eq(Cat(left[1:], bit))
                with m.If(whole):
                    m.next = "Address"
                self._drop_early(m)
            with m.State("Address"):
                m.d.comb += [load.eq(1), address.load.eq(step), counts.eq(1),
                             crc.clear.eq(checked)]
                with m.If(whole):
                    m.next = "Tail"
                    with m.If(checked):
                        m.next = "Echo"
                    with m.Elif(word[0] & ~none):      # WRITE
                        m.next = "Data"
                self._drop_early(m)
            with m.State("Data"):
                m.d.comb += [load.eq(1), address.turn.eq(step), counts.eq(1)]
                with m.If(whole):
                    with m.If(checked):
                        m.next = "Write"
                    with m.Elif(none):
                        m.next = "Tail"
                self._drop_early(m)
            with m.State("Tail"):
                m.d.comb += load.eq(1)
                with m.If(whole):
                    m.next = "End"
                self._drop_early(m)
            with m.State("End"):
                with m.If(self.end & self.sound & ones):
                    m.d.comb += self.start.eq(1)
                    m.d.sync += checked.eq(1)
                    m.next = "Command"
                with m.Elif(self.end | self.i.valid):
                    m.next = "Drop"
            with m.State("Drop"):
                m.d.comb += [self.release.eq(1), self.fault.eq(1)]
                m.next = "Idle"
            with m.State("Echo"):
                m.d.comb += emit.eq(1)
                with m.If(whole):
                    self._begin(m, Cat(word[1:], bit), none, session, loading, last, disordered,
                                refused)
            with m.State("Write"):
                m.d.comb += [bus.cyc.eq(~barred), bus.we.eq(1),
                             self.started.eq(address.control & bus.ack & word[0])]
                with m.If(address.control & ~self.armed):
                    m.d.comb += barred.eq(1)
                    m.d.sync += refused.eq(1)
                with m.If(done):
                    m.next = "Data"
                    with m.If(none):
                        m.next = "Status"
            with m.State("Read"):
                m.d.comb += bus.cyc.eq(~barred)
                m.d.sync += word.eq(bus.dat_r)
                with m.If(done):
                    m.next = "Reply"
            with m.State("Reply"):
                m.d.comb += [emit.eq(1), address.turn.eq(step), counts.eq(1)]
                with m.If(whole):
                    m.next = "Read"
                    with m.If(none):
                        m.next = "Status"
            with m.State("Status"):
                m.d.comb += status.eq(1)
                with m.If(whole):
                    m.next = "Trailer"
            with m.State("Trailer"):
                m.d.comb += emit.eq(1)
                with m.If(whole):
                    m.next = "Sum"
            with m.State("Sum"):
                m.d.comb += sums.eq(1)
                with m.If(whole):
                    m.next = "Seal"
            with m.State("Seal"):
                m.d.comb += emit.eq(1)
                with m.If(whole):
                    m.next = "Close"
            with m.State("Close"):
                m.d.comb += [self.o.valid.eq(~self.silent), self.o.p.end.eq(1)]
                with m.If(self.o.ready | self.silent):
                    m.d.comb += [self.release.eq(1),
                                 self.fault.eq(disordered | refused | address.bad)]
                    m.next = "Idle"
        with m.If(address.bad | refused):
            m.d.comb += barred.eq(1)
        m.d.comb += [address.fail.eq(bus.cyc & bus.err), address.used.eq(done),
                     done.eq(barred | bus.ack | bus.err)]
        return m

    def _drop_early(self, m):
        """The frame ends before its packet; it cannot when it is read a second time."""
        with m.If(self.end):
            m.next = "Drop"

    def _begin(self, m, word, none, session, loading, last, disordered, refused):
        """The command word went round: what it means now, and what comes next."""
        command = {c: word[c.bit_length() - 1] for c in Command}
        number = word[protocol.SEQUENCE_LOW:][:protocol.SEQUENCE_BITS]
        ahead = Signal.like(last)
        new, old = Signal(), Signal()
        m.d.comb += [
            ahead.eq(number - last),
            new.eq(session & (ahead == 1) | command[Command.IDENTIFY]),
            old.eq(session & ((ahead == 0) | ahead[-1])),
        ]
        with m.If(new):
            m.d.sync += last.eq(number)
            with m.If(command[Command.IDENTIFY]):
                m.d.sync += [session.eq(1), loading.eq(0)]
            with m.If(command[Command.BEGIN]):
                m.d.sync += [loading.eq(1), self.armed.eq(0), self.core_rst.eq(1)]
            with m.If(command[Command.COMMIT]):
                m.d.sync += [loading.eq(0), self.armed.eq(loading), refused.eq(~loading)]
        m.next = "Status"
        with m.If(~none & new & command[Command.WRITE]):
            m.next = "Data"
        with m.Elif(~none & (new | old) & command[Command.READ]):
            m.next = "Read"
        m.d.sync += disordered.eq(~new & ~old)

    def _status(self, session, loading, disordered, refused, bad):
        """The status word."""
        flags = Cat(disordered, refused, bad, session, loading, self.armed)
        fields = [(0, flags), (protocol.STATUS_BOOT[0], self.boot_failed),
                  (protocol.STATUS_DIVISOR[0], Const(self._divisor, protocol.DIVISOR_BITS)),
                  (protocol.STATUS_VERSION[0], Const(protocol.VERSION, protocol.STATUS_VERSION[1]))]
        word = Const(0, 0)
        for low, field in fields:
            word = Cat(word, Const(0, low - len(word)), field)
        return word
