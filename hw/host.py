"""The host port: Wishbone B4 classic to registers and memories."""

from amaranth import Cat, Const, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.config import PROGRAM_VERSION, CoreConfig, log2
from hw.layout import MAGIC, REGISTERS, Space
from hw.ports import read_client, word_client
from hw.stores import store_port


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
    start, stop : Out(1), program : Out
        Strobes of CONTROL, the PROGRAM register.
    busy, done : In(1), error : In(8), index : In(16), cycles : In(32)
    r : Out(read_client), w : Out(word_client), store : Out(store_port)

    Behaviour
    ---------
    Answers with ack, or with err: a memory while the core is busy, a part of a word, a read of a
    memory that cannot be read, a write of what cannot be written, an address beyond the memory.
    Registers can be read in parts; those that do not exist read as 0.
    """

    def __init__(self, config: CoreConfig):
        self.config = config
        super().__init__({
            "bus": In(wishbone(config)), "start": Out(1), "stop": Out(1),
            "program": Out(config.act_addr_bits), "busy": In(1), "done": In(1), "error": In(8),
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
            self.store.weight_addr.eq(line), self.store.word_addr.eq(offset),
            self.store.weight_data.eq(bus.dat_w.replicate(config.line_words)),
            self.store.word_data.eq(bus.dat_w),
        ]
        m.d.sync += [bus.ack.eq(0), bus.err.eq(0), self.start.eq(0), self.stop.eq(0)]
        limits = {Space.ACT: config.act_lines * config.line_words}
        if config.host_stores:
            limits |= {Space.WEIGHT: config.weight_rows * config.row_bytes // 4,
                       Space.PARAM: config.param_groups * config.C * 4, Space.TABLE: 256}
        allowed = Signal()
        with m.Switch(space):
            for name, limit in limits.items():
                with m.Case(name):
                    m.d.comb += allowed.eq((offset < limit) & ~self.busy & (bus.sel == 0xF)
                                           & (bus.we | (name == Space.ACT)))
        pending = Signal()                   # the memory is wanted
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
                    m.d.comb += [
                        self.store.weight_en.eq((space == Space.WEIGHT) << word),
                        self.store.param_en.eq(space == Space.PARAM),
                        self.store.table_en.eq(space == Space.TABLE),
                    ]
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
                with m.If(self.r.done):
                    m.d.sync += [bus.ack.eq(1), bus.dat_r.eq(self.r.data.word_select(word, 32))]
                    m.next = "Ready"
        return m

    def _registers(self, m, offset):
        """One access to a register."""
        bus = self.bus
        numbers = {name: number for name, number, _, _ in REGISTERS}
        values = {
            "ID": MAGIC, "VERSION": PROGRAM_VERSION, "CONFIG": self.config.hash,
            "STATUS": Cat(self.busy, self.done, Const(0, 6), self.error, self.index),
            "PROGRAM": self.program, "CYCLES": self.cycles,
        }
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
        with m.Elif((bus.sel == 0xF) & (offset == numbers["PROGRAM"])):
            m.d.sync += [bus.ack.eq(1), self.program.eq(bus.dat_w)]
        with m.Else():
            m.d.sync += bus.err.eq(1)
