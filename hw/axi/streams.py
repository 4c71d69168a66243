"""Input tensors from a stream into the activation memory, output tensors from there to a stream."""

from amaranth import Cat, Const, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hw.axi.layout import CONTROL, EVENTS
from hw.axi.registers import byte_count_bits
from hw.axi.signals import BEAT
from hw.config import CoreConfig, log2
from hw.host import STATUS, wishbone
from hw.layout import REGISTERS, Space
from hw.ports import read_latency

NUMBERS = {name: number for name, number, _, _ in REGISTERS}


class Streams(wiring.Component):
    """Moves tensors between two streams and the core's memory over its Wishbone port.

    Members
    -------
    i : In(stream of BEAT), o : Out(stream of BEAT)
        Input and output tensors, a frame each: their bytes as they lie in memory.
    bus : Out(wishbone)
        To the core.
    irq : In(1)
        Rises when a program is done.
    control : In(CONTROL), received : In(1), in_line, in_bytes, out_line, out_bytes : In
        From the registers.
    receiving, sending : Out(1), events : Out(EVENTS)

    Behaviour
    ---------
    Takes a frame while the core is idle, a word in WRITE_CYCLES; sends one in ``read_cycles``; more
    where the host uses the port, too. A frame of the wrong length is
    taken to its TLAST and starts nothing. Of an input's last word only the bytes that belong to
    the tensor must be kept. An output leaves before the next input is taken; its frame always has
    its full length.
    """

    WRITE_CYCLES = 3

    @staticmethod
    def read_cycles(config: CoreConfig) -> int:
        """Cycles of a word of an output."""
        return 4 + read_latency(config) + config.pipelined

    def __init__(self, config: CoreConfig):
        self.config, count = config, byte_count_bits(config)
        super().__init__({
            "i": In(stream.Signature(BEAT)), "o": Out(stream.Signature(BEAT)),
            "bus": Out(wishbone(config)), "irq": In(1), "control": In(CONTROL), "received": In(1),
            "in_line": In(config.act_addr_bits), "in_bytes": In(count),
            "out_line": In(config.act_addr_bits), "out_bytes": In(count),
            "receiving": Out(1), "sending": Out(1), "events": Out(EVENTS)})

    def elaborate(self, platform):
        m = Module()
        bus, config = self.bus, self.config
        left = Signal.like(self.in_bytes)            # bytes of the tensor that have not passed
        offset = Signal(config.space_bits + 1)       # word of the activation memory
        outside, bad, last, needed = Signal(), Signal(), Signal(), Signal(4)
        m.d.comb += [
            outside.eq(offset[-1] | (left == 0)), bad.eq(bus.err | outside), last.eq(left <= 4),
            needed.eq(Cat(left > n for n in range(4))), bus.cyc.eq(bus.stb), bus.sel.eq(0xF),
            bus.adr.eq(Cat(offset[:-1], Const(Space.ACT, 3))), bus.dat_w.eq(self.i.p.data),
        ]
        step = [left.eq(left - 4), offset.eq(offset + 1)]
        pending, irq, wanted = Signal(), Signal(), Signal()
        m.d.comb += wanted.eq(self.i.valid & self.control.receive & ~self.received)
        m.d.sync += [irq.eq(self.irq),
                     pending.eq(self.control.send & (pending | self.irq & ~irq))]
        with m.FSM():
            with m.State("Idle"):
                with m.If(pending | wanted):
                    m.next = "Look"
            with m.State("Look"):
                self._look(m, pending, wanted, left, offset)
            with m.State("Receive"):
                self._receive(m, outside, bad, last, needed, step)
            with m.State("Drop"):
                m.d.comb += [self.receiving.eq(1), self.i.ready.eq(1)]
                with m.If(self.i.valid & self.i.p.last):
                    m.next = "Idle"
            with m.State("Start"):
                self._register(m, "CONTROL")
                m.d.comb += [bus.we.eq(1), bus.dat_w.eq(1)]
                with m.If(bus.ack):
                    m.next = "Idle"
            with m.State("Read"):
                m.d.comb += [self.sending.eq(1), bus.stb.eq(~outside),
                             self.events.refused.eq(bad)]
                m.d.sync += self.o.payload.eq(Cat(Mux(bad, 0, bus.dat_r), needed, last))
                with m.If(bus.ack | bad):
                    m.next = "Send"
            with m.State("Send"):
                m.d.comb += [self.sending.eq(1), self.o.valid.eq(1),
                             self.events.sent.eq(self.o.ready & last)]
                with m.If(self.o.ready):
                    m.d.sync += step
                    m.next = "Read"
                    with m.If(last):
                        m.next = "Idle"
        return m

    def _register(self, m, name: str):
        """Access a register of the core."""
        m.d.comb += [self.bus.stb.eq(1),
                     self.bus.adr.eq(Space.REGS << self.config.space_bits | NUMBERS[name])]

    def _look(self, m, pending, wanted, left, offset):
        """See whether the core is busy, then what there is to do."""
        words = log2(self.config.line_words)
        self._register(m, "STATUS")
        status = STATUS(self.bus.dat_r)
        with m.If(self.bus.ack):
            m.next = "Idle"
            with m.If(~status.busy & pending):
                m.d.sync += [pending.eq(0), left.eq(self.out_bytes),
                             offset.eq(self.out_line << words)]
                with m.If(status.error.any()):
                    m.d.comb += self.events.failed.eq(1)
                with m.Elif(self.out_bytes.any()):
                    m.next = "Read"
            with m.Elif(~status.busy & wanted):
                m.d.sync += [left.eq(self.in_bytes), offset.eq(self.in_line << words)]
                m.next = "Receive"

    def _receive(self, m, outside, bad, last, needed, step):
        """Write a word of the input where it belongs, and judge the frame's length."""
        i, events = self.i, self.events
        early, faulty, so_far = Signal(), Signal(), Signal()
        m.d.comb += [
            self.receiving.eq(1), self.bus.we.eq(1), self.bus.stb.eq(i.valid & ~outside),
            i.ready.eq(i.valid & (self.bus.ack | bad)),
            early.eq((needed & ~i.p.keep).any() | i.p.last & ~last),
            faulty.eq(so_far | bad | early),
        ]
        with m.If(i.ready):
            m.d.comb += [events.refused.eq(bad), events.early.eq(early),
                         events.late.eq(last & ~i.p.last)]
            m.d.sync += [*step, so_far.eq(faulty & ~i.p.last & ~last)]
            with m.If(i.p.last):
                m.next = "Idle"
                with m.If(~faulty):
                    m.d.comb += events.received.eq(1)
                    with m.If(self.control.start):
                        m.next = "Start"
            with m.Elif(last):
                m.next = "Drop"
