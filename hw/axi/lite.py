"""AXI4-Lite to Wishbone."""

from amaranth import Module, Mux, Shape, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.axi.signals import OKAY, SLVERR, axi_lite
from hw.config import CoreConfig
from hw.host import wishbone


def byte_address_bits(config: CoreConfig) -> int:
    """Bits of a byte address: a word address of the core's Wishbone port and two more."""
    return Shape.cast(wishbone(config).members["adr"].shape).width + 2


class AxiLite(wiring.Component):
    """An AXI4-Lite subordinate that is a Wishbone master.

    Members
    -------
    axi : In(axi_lite)
        Byte address = word address * 4; its two lowest bits and the protection bits are ignored.
    bus : Out(wishbone)

    Behaviour
    ---------
    Every channel has a register: no output depends on an input of the same cycle. One access at a
    time; reads and writes take turns. ``err`` becomes SLVERR, strobes become ``sel``; a write
    without any strobe is OKAY and does nothing.

    Source
    ------
    Arm IHI 0022, "AMBA AXI Protocol Specification", AXI4-Lite.
    """

    def __init__(self, config: CoreConfig):
        super().__init__({"axi": In(axi_lite(byte_address_bits(config))),
                          "bus": Out(wishbone(config))})

    def elaborate(self, platform):
        m = Module()
        axi, bus = self.axi, self.bus
        write_addr, data, strobes = (Signal.like(s) for s in (bus.adr, bus.dat_w, bus.sel))
        read_addr = Signal.like(bus.adr)
        has_write_addr, has_data, has_read_addr = Signal(), Signal(), Signal()
        m.d.comb += [axi.awready.eq(~has_write_addr), axi.wready.eq(~has_data),
                     axi.arready.eq(~has_read_addr)]
        with m.If(axi.awvalid & axi.awready):
            m.d.sync += [has_write_addr.eq(1), write_addr.eq(axi.awaddr[2:])]
        with m.If(axi.wvalid & axi.wready):
            m.d.sync += [has_data.eq(1), data.eq(axi.wdata), strobes.eq(axi.wstrb)]
        with m.If(axi.arvalid & axi.arready):
            m.d.sync += [has_read_addr.eq(1), read_addr.eq(axi.araddr[2:])]
        with m.If(axi.bready):
            m.d.sync += axi.bvalid.eq(0)
        with m.If(axi.rready):
            m.d.sync += axi.rvalid.eq(0)

        active, idle_write = Signal(), bus.we & ~strobes.any()
        m.d.comb += [
            bus.cyc.eq(active & ~idle_write), bus.stb.eq(bus.cyc),
            bus.adr.eq(Mux(bus.we, write_addr, read_addr)), bus.dat_w.eq(data),
            bus.sel.eq(Mux(bus.we, strobes, 0xF)),
        ]
        response = Mux(bus.err, SLVERR, OKAY)
        with m.If(~active):
            writes = has_write_addr & has_data & ~axi.bvalid
            reads = has_read_addr & ~axi.rvalid
            m.d.sync += [active.eq(writes | reads), bus.we.eq(writes & ~(reads & bus.we))]
        with m.Elif(bus.ack | bus.err | idle_write):
            m.d.sync += active.eq(0)
            with m.If(bus.we):
                m.d.sync += [has_write_addr.eq(0), has_data.eq(0), axi.bvalid.eq(1),
                             axi.bresp.eq(response)]
            with m.Else():
                m.d.sync += [has_read_addr.eq(0), axi.rvalid.eq(1), axi.rdata.eq(bus.dat_r),
                             axi.rresp.eq(response)]
        return m
