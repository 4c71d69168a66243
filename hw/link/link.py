"""The host link: a serial line to the core's bus."""

from amaranth import Module, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hw.config import CoreConfig
from hw.host import wishbone
from hw.link.decoder import Decoder
from hw.link.encoder import Encoder
from hw.link.executor import Executor
from hw.link.slots import Slots
from hw.link.uart import Receiver, Transmitter


class Link(wiring.Component):
    """Executes the packets of a host, ``docs/link.md``, on the core's bus.

    Parameters
    ----------
    config : CoreConfig
        Of the core.
    divisor : int
        Clock cycles per bit of the line, 4..4095.

    Members
    -------
    rx : In(1), tx : Out(1)
        The line; rx as the pin has it.
    bus : Out(wishbone), core_rst : Out(1)
        The core; `core_rst` is high for a cycle when a load begins.
    boot : In(stream of bytes), booting : In(1)
        While `booting`, frames come from `boot` and not from the line, and nothing is sent.
    boot_failed : In(8)
        A code that replies tell; 0: none.
    armed : Out(1)
        A complete program is loaded.
    started : Out(1)
        The core is started in this cycle.
    fault : Out(1)
        In this cycle: a frame was dropped, or its packet not executed as a whole.
    idle : Out(1)
        No whole frame waits, none is executed.

    Behaviour
    ---------
    Every frame is executed entirely (as far as the core lets it) or not at all. After reset the
    core is not armed and no session is open.

    Raises
    ------
    ConfigError
        The divisor is out of range.
    """

    def __init__(self, config: CoreConfig, divisor: int):
        # On the ECP5 the memory's answer, late in its cycle, is kept for the next one.
        self._kept = config.pipelined
        self._slots, self._decoder, self._encoder = (
            Slots(), Decoder(Slots.READ_LATENCY + self._kept),
            Encoder(Slots.READ_LATENCY + self._kept))
        self._executor = Executor(config, divisor)
        self._receiver, self._transmitter = Receiver(divisor), Transmitter(divisor)
        super().__init__({
            "rx": In(1), "tx": Out(1, init=1), "bus": Out(wishbone(config)), "core_rst": Out(1),
            "boot": In(stream.Signature(unsigned(8))), "booting": In(1), "boot_failed": In(8),
            "armed": Out(1), "started": Out(1), "fault": Out(1), "idle": Out(1)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.receiver, m.submodules.transmitter = self._receiver, self._transmitter
        m.submodules.slots = self._slots
        m.submodules.decoder = self._decoder
        m.submodules.encoder, m.submodules.executor = self._encoder, self._executor
        receiver, slots, decoder, executor = (
            self._receiver, self._slots, self._decoder, self._executor)
        wiring.connect(m, receiver.o, slots.i)
        wiring.connect(m, decoder.o, executor.i)
        wiring.connect(m, executor.o, self._encoder.i)
        wiring.connect(m, self._encoder.o, self._transmitter.i)
        wiring.connect(m, executor.bus, wiring.flipped(self.bus))
        wiring.connect(m, receiver.other, wiring.flipped(self.boot))
        stage = m.d.sync if self._kept else m.d.comb
        stage += decoder.data.eq(slots.data)
        m.d.comb += [
            receiver.rx.eq(self.rx), receiver.choose.eq(self.booting),
            self.tx.eq(self._transmitter.tx), slots.hold.eq(self.booting),
            slots.addr.eq(decoder.addr),
            slots.release.eq(executor.release), executor.pending.eq(slots.pending),
            decoder.start.eq(executor.start), decoder.index.eq(executor.index),
            executor.end.eq(decoder.end), executor.sound.eq(decoder.sound),
            executor.silent.eq(self.booting), executor.boot_failed.eq(self.boot_failed),
            self.core_rst.eq(executor.core_rst), self.armed.eq(executor.armed),
            self.started.eq(executor.started), self.fault.eq(executor.fault),
            self.idle.eq(executor.idle & ~receiver.o.valid),
        ]
        return m
