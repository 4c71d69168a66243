"""The core with AXI ports."""

from amaranth import ClockDomain, DomainRenamer, Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.axi.lite import AxiLite, byte_address_bits
from hw.axi.pages import PageFrames
from hw.axi.registers import StreamRegisters
from hw.axi.share import BusShare
from hw.axi.signals import (
    BEAT,
    PAGE_BEAT,
    axi_lite,
    axi_stream,
    connect_lite,
    connect_stream,
    flat,
)
from hw.axi.streams import Streams
from hw.config import CoreConfig
from hw.core import Core

LITE, INPUT, OUTPUT, PAGES = "s_axil", "s_axis", "m_axis", "s_axis_pages"


class AxiCore(wiring.Component):
    """A `Core` with AXI4-Lite for control and memories, and AXI4-Streams for tensors.

    Parameters
    ----------
    config : CoreConfig

    Members
    -------
    aclk, aresetn : In(1)
        Reset is synchronous, active low.
    s_axil_* : AXI4-Lite subordinate
        The core's address map in bytes and the registers of ``hw.axi.layout``.
    s_axis_*, m_axis_* : AXI4-Stream
        Input and output tensors, see `hw.axi.streams.Streams`.
    s_axis_pages_* : AXI4-Stream, rewind : Out(1)
        The backing store, where config.pages: see `hw.axi.pages.PageFrames`.
    irq : Out(1)
        High from the end of a program until the next start, and while a stream's error is set.
    """

    def __init__(self, config: CoreConfig):
        self.config = config
        pages = flat(PAGES, In(axi_stream(PAGE_BEAT))) | {"rewind": Out(1)}
        super().__init__(
            {"aclk": In(1), "aresetn": In(1), "irq": Out(1)}
            | flat(LITE, In(axi_lite(byte_address_bits(config))))
            | flat(INPUT, In(axi_stream(BEAT))) | flat(OUTPUT, Out(axi_stream(BEAT)))
            | (pages if config.pages else {}))

    def elaborate(self, platform):
        m = Module()
        m.domains.axi = axi = ClockDomain()          # the core has its own, without reset
        config, here = self.config, DomainRenamer("axi")
        m.submodules.core = core = Core(config)
        lite, registers = AxiLite(config), StreamRegisters(config)
        share, streams = BusShare(config), Streams(config)
        m.submodules.lite, m.submodules.registers = here(lite), here(registers)
        m.submodules.share, m.submodules.streams = here(share), here(streams)
        m.d.comb += [core.clk.eq(self.aclk), core.rst.eq(~self.aresetn),
                     axi.clk.eq(self.aclk), axi.rst.eq(~self.aresetn),
                     streams.irq.eq(core.irq), self.irq.eq(core.irq | registers.alarm)]
        connect_lite(m, self, LITE, lite.axi)
        wiring.connect(m, lite.bus, registers.bus)
        wiring.connect(m, registers.core, share.first)
        wiring.connect(m, streams.bus, share.second)
        wiring.connect(m, share.bus, core.bus)
        connect_stream(m, self, INPUT, streams.i)
        connect_stream(m, self, OUTPUT, streams.o)
        for name in ("control", "received", "in_line", "in_bytes", "out_line", "out_bytes"):
            m.d.comb += getattr(streams, name).eq(getattr(registers, name))
        for name in ("receiving", "sending", "events"):
            m.d.comb += getattr(registers, name).eq(getattr(streams, name))
        if config.pages:
            frames = PageFrames()
            m.submodules.frames = here(frames)
            connect_stream(m, self, PAGES, frames.i)
            wiring.connect(m, frames.o, core.pages)
            m.d.comb += [frames.rewind.eq(core.rewind), self.rewind.eq(core.rewind)]
        return m
