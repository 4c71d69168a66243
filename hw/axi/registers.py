"""The registers of the streams, in front of the core's port."""

from amaranth import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.axi.layout import BLOCK_BITS, CONTROL, ERRORS, EVENTS, STATUS, STREAM_REGISTERS
from hw.config import CoreConfig
from hw.host import wishbone
from hw.layout import Space


def byte_count_bits(config: CoreConfig) -> int:
    """Bits that count the bytes of a tensor, up to the whole activation memory."""
    return config.byte_addr_bits + 1


class StreamRegisters(wiring.Component):
    """Registers of ``hw.axi.layout.STREAM_REGISTERS``; passes on what is for the core.

    Members
    -------
    bus : In(wishbone), core : Out(wishbone)
    control : Out(CONTROL), in_line, in_bytes, out_line, out_bytes : Out
    receiving, sending : In(1), events : In(EVENTS)
        Of STREAM_STATUS; events are strobes.
    received, alarm : Out(1)
        That bit of STREAM_STATUS; one of its errors.

    Behaviour
    ---------
    Answers as the core's own registers do: a cycle later, with ``err`` to a write of a part or of
    a register that does not exist.
    """

    def __init__(self, config: CoreConfig):
        self.config, count = config, byte_count_bits(config)
        super().__init__({
            "bus": In(wishbone(config)), "core": Out(wishbone(config)), "control": Out(CONTROL),
            "in_line": Out(config.act_addr_bits), "in_bytes": Out(count),
            "out_line": Out(config.act_addr_bits), "out_bytes": Out(count),
            "receiving": In(1), "sending": In(1), "events": In(EVENTS),
            "received": Out(1), "alarm": Out(1)})

    def elaborate(self, platform):
        m = Module()
        bus, core, config = self.bus, self.core, self.config
        block = STREAM_REGISTERS[0][1] >> BLOCK_BITS
        mine, ack, err, data = Signal(), Signal(), Signal(), Signal(32)
        offset, space = bus.adr[:config.space_bits], bus.adr[config.space_bits:]
        m.d.comb += mine.eq((space == Space.REGS) & (offset[BLOCK_BITS:] == block))
        for name in ("we", "adr", "sel", "dat_w"):
            m.d.comb += getattr(core, name).eq(getattr(bus, name))
        m.d.comb += [
            core.cyc.eq(bus.cyc & ~mine), core.stb.eq(bus.stb & ~mine),
            bus.ack.eq(core.ack | ack), bus.err.eq(core.err | err),
            bus.dat_r.eq(Mux(mine, data, core.dat_r)),
        ]
        request, accept, cleared = Signal(), Signal(), Signal(STATUS)
        m.d.comb += request.eq(bus.cyc & bus.stb & mine & ~ack & ~err)
        m.d.sync += [ack.eq(request & (accept | ~bus.we)), err.eq(request & bus.we & ~accept),
                     data.eq(0)]
        events = Signal(EVENTS)
        m.d.sync += events.eq(events.as_value() & ~cleared.events.as_value()
                              | self.events.as_value())
        with m.If(self.events.sent):
            m.d.sync += events.received.eq(0)
        status = Signal(STATUS)
        m.d.comb += [
            status.receiving.eq(self.receiving), status.sending.eq(self.sending),
            status.events.eq(events), self.received.eq(events.received),
            self.alarm.eq(sum(events[name] for name in ERRORS).any()),
        ]
        with m.Switch(offset[:BLOCK_BITS]):
            for name, number, _, _ in STREAM_REGISTERS:
                register = status if name == "STREAM_STATUS" else self._register(name)
                with m.Case(number % (1 << BLOCK_BITS)):
                    m.d.sync += data.eq(register)
                    m.d.comb += accept.eq(bus.sel.all())
                    with m.If(request & bus.we & accept):
                        if register is status:
                            m.d.comb += cleared.eq(bus.dat_w)
                        else:
                            m.d.sync += register.eq(bus.dat_w)
        return m

    def _register(self, name):
        """The register behind a name of the table."""
        return self.control if name == "STREAM_CONTROL" else getattr(self, name.lower())
