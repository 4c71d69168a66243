"""Everything of a board but its clock, its reset and its pads."""

from amaranth import ClockSignal, DomainRenamer, Module, Mux, ResetSignal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.config import CoreConfig
from hw.core import Core
from hw.flash.boot import Boot
from hw.flash.layout import PADS, FlashConfig
from hw.link.link import Link


class System(wiring.Component):
    """A core behind its host link, that boots from flash and fetches its pages there.

    Parameters
    ----------
    config : CoreConfig
        Of the core.
    divisor : int
        Clock cycles per bit of the serial line.
    flash : FlashConfig, optional
        Without one the host loads programs, and only those that fit the core.

    Members
    -------
    rx : In(1), tx : Out(1)
        The serial line; rx as the pin has it.
    flash : Out(hw.flash.layout.PADS)
        If there is a flash.
    ready, busy, error : Out(1)
        A program is loaded; the core runs; the boot failed.

    Behaviour
    ---------
    After reset the flash boots, if there is one, then the host is heard. Hold the reset of the
    domain ``sync`` after configuration as `hw.core.Core` says.
    """

    def __init__(self, config: CoreConfig, *, divisor: int, flash: FlashConfig | None = None):
        self._config = config
        self._core, self._link = Core(config), Link(config, divisor)
        self._boot = Boot(flash) if flash else None
        pads = {"flash": Out(PADS)} if flash else {}
        super().__init__(
            {"rx": In(1), "tx": Out(1, init=1),
             "ready": Out(1), "busy": Out(1), "error": Out(1)} | pads)

    def elaborate(self, platform):
        m = Module()
        core, link, boot = self._core, self._link, self._boot
        m.submodules.core = DomainRenamer("core")(core)      # it declares its own clock domain
        m.submodules.link = link
        wiring.connect(m, link.bus, core.bus)
        m.d.comb += [
            core.clk.eq(ClockSignal()), core.rst.eq(ResetSignal() | link.core_rst),
            link.rx.eq(self.rx), self.tx.eq(link.tx), self.ready.eq(link.armed),
        ]
        with m.If(link.started):
            m.d.sync += self.busy.eq(1)
        with m.Elif(core.irq | core.rst):
            m.d.sync += self.busy.eq(0)
        if boot:
            m.submodules.boot = boot
            join(m, link, boot)
            wiring.connect(m, boot.pads, wiring.flipped(self.flash))
            m.d.comb += [self.error.eq(boot.failed), boot.rewind.eq(1)]
        if boot and self._config.pages:
            wiring.connect(m, boot.pages, core.pages)
            m.d.comb += boot.rewind.eq(core.rewind)
        return m


def join(m: Module, link: Link, boot: Boot):
    """The boot is the link's host until it has ended."""
    wiring.connect(m, boot.frames, link.boot)
    m.d.comb += [
        link.booting.eq(boot.booting), link.boot_failed.eq(Mux(boot.failed, boot.state, 0)),
        boot.armed.eq(link.armed), boot.idle.eq(link.idle), boot.refused.eq(link.fault),
    ]
