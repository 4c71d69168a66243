"""Two Wishbone masters on one port."""

from amaranth import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.config import CoreConfig
from hw.host import wishbone


class BusShare(wiring.Component):
    """Lets two masters use one port, access by access; the first goes first.

    Members
    -------
    first, second : In(wishbone)
    bus : Out(wishbone)

    Behaviour
    ---------
    Adds no cycle. Who has begun an access keeps the port until its answer.
    """

    def __init__(self, config: CoreConfig):
        super().__init__({"first": In(wishbone(config)), "second": In(wishbone(config)),
                          "bus": Out(wishbone(config))})

    def elaborate(self, platform):
        m = Module()
        bus, begun, owner, chosen = self.bus, Signal(), Signal(), Signal()
        m.d.comb += chosen.eq(Mux(begun, owner, ~self.first.stb))
        m.d.sync += [owner.eq(chosen), begun.eq(bus.stb & ~bus.ack & ~bus.err)]
        for name in ("cyc", "stb", "we", "adr", "sel", "dat_w"):
            m.d.comb += getattr(bus, name).eq(
                Mux(chosen, getattr(self.second, name), getattr(self.first, name)))
        for master, mine in ((self.first, ~chosen), (self.second, chosen)):
            m.d.comb += [master.ack.eq(bus.ack & mine), master.err.eq(bus.err & mine),
                         master.dat_r.eq(bus.dat_r)]
        return m
