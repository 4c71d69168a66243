"""The host port: Wishbone B4 classic to registers and memories."""

from amaranth import Cat, Const, Module, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.config import PROGRAM_VERSION, CoreConfig, log2
from hw.delay import delayed
from hw.layout import MAGIC, PATIENCE_BITS, REGISTERS, Space
from hw.ports import read_client, word_client
from hw.stores import inside, store_port, write_word

STATUS = data.StructLayout({"busy": 1, "done": 1, "zeros": 6, "error": 8, "index": 16})


def wishbone(config: CoreConfig) -> wiring.Signature:
    """Wishbone B4 classic, 32-bit data, word addresses {Space, offset}; seen from the master."""
    return wiring.Signature({
        "cyc": Out(1), "stb": Out(1), "we": Out(1), "adr": Out(3 + config.space_bits),
        "sel": Out(4), "dat_w": Out(32), "dat_r": In(32), "ack": In(1), "err": In(1)})


class HostPort(wiring.Component):
    """Registers of ``hw.layout.REGISTERS`` and windows to the memories.

    Members
    -------
    bus : In(wishbone)
    start, stop : Out(1), program, patience : Out
        Strobes of CONTROL, the registers PROGRAM and PATIENCE.
    busy, done : In(1), error : In(8), index : In(16), cycles : In(32)
    r : Out(read_client), w : Out(word_client), store : Out(store_port)

    Behaviour
    ---------
    Answers with ack, or with err: a part of a word, a read of a memory that cannot be read, a write
    of what cannot be written, an address beyond the memory, and while the core is busy any memory
    but the activations. Those are shared with the core: a write costs it a cycle, a read waits for
    a free one. Registers can be read in parts; those that do not exist read as 0.
    """

    def __init__(self, config: CoreConfig):
        self.config = config
        super().__init__({
            "bus": In(wishbone(config)), "start": Out(1), "stop": Out(1),
            "program": Out(config.act_addr_bits), "patience": Out(PATIENCE_BITS),
            "busy": In(1), "done": In(1), "error": In(8),
            "index": In(16), "cycles": In(32), "r": Out(read_client(config)),
            "w": Out(word_client(config)), "store": Out(store_port(config))})

    def elaborate(self, platform):
        m = Module()
        bus, config = self.bus, self.config
        word_bits = log2(config.line_words)
        offset, space = bus.adr[:config.space_bits], bus.adr[config.space_bits:]
        word, line = offset[:word_bits] if word_bits else Const(0, 1), offset[word_bits:]
        request = Signal()
        m.d.comb += [
            request.eq(bus.cyc & bus.stb & ~bus.ack & ~bus.err), self.r.addr.eq(line),
            self.w.addr.eq(line), self.w.word.eq(word), self.w.data.eq(bus.dat_w),
        ]
        m.d.sync += [bus.ack.eq(0), bus.err.eq(0), self.start.eq(0), self.stop.eq(0)]
        allowed, store = Signal(), Signal()
        m.d.comb += allowed.eq(inside(m, config, space, offset) & (bus.sel == 0xF)
                               & ((space == Space.ACT) | (bus.we & ~self.busy)))
        write_word(m, config, self.store, space, offset, bus.dat_w, store)
        pending = Signal()                   # the memory is wanted
        came = delayed(m, Cat(self.r.done, self.r.data.word_select(word, 32)), config.pipelined)
        with m.FSM():
            with m.State("Ready"):
                with m.If(request & (space == Space.REGS)):
                    self._registers(m, offset)
                with m.Elif(request & ~allowed):
                    m.d.sync += bus.err.eq(1)
                with m.Elif(request & bus.we & (space == Space.ACT)):
                    m.d.sync += pending.eq(1)
                    m.next = "Write"
                with m.Elif(request & bus.we):
                    m.d.comb += store.eq(1)
                    m.d.sync += bus.ack.eq(1)
                with m.Elif(request):
                    m.d.sync += pending.eq(1)
                    m.next = "Read"
            with m.State("Write"):
                m.d.comb += self.w.valid.eq(pending)
                with m.If(self.w.ready):
                    m.d.sync += [pending.eq(0), bus.ack.eq(1)]
                    m.next = "Ready"
            with m.State("Read"):
                m.d.comb += self.r.valid.eq(pending)
                with m.If(self.r.ready):
                    m.d.sync += pending.eq(0)
                with m.If(came[0]):
                    m.d.sync += [bus.ack.eq(1), bus.dat_r.eq(came[1:])]
                    m.next = "Ready"
        return m

    def _registers(self, m, offset):
        """One access to a register."""
        bus = self.bus
        numbers = {name: number for name, number, _, _ in REGISTERS}
        values = {
            "ID": MAGIC, "VERSION": PROGRAM_VERSION, "CONFIG": self.config.hash,
            "STATUS": Cat(self.busy, self.done, Const(0, STATUS["zeros"].width), self.error,
                          self.index),
            "PROGRAM": self.program, "CYCLES": self.cycles,
        }
        written = {"PROGRAM": self.program}
        if self.config.pages:
            values["PATIENCE"] = written["PATIENCE"] = self.patience
        with m.Switch(offset):
            for name, value in values.items():
                with m.Case(numbers[name]):
                    m.d.sync += bus.dat_r.eq(value)
            with m.Default():
                m.d.sync += bus.dat_r.eq(0)
        with m.If(~bus.we):
            m.d.sync += bus.ack.eq(1)
        with m.Elif((bus.sel == 0xF) & (offset == numbers["CONTROL"])):
            m.d.sync += [bus.ack.eq(1), self.start.eq(bus.dat_w[0]), self.stop.eq(bus.dat_w[1])]
        with m.Else():
            m.d.sync += bus.err.eq(1)
            for name, register in written.items():
                with m.If((bus.sel == 0xF) & (offset == numbers[name])):
                    m.d.sync += [bus.ack.eq(1), bus.err.eq(0), register.eq(bus.dat_w)]
