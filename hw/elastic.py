"""A register between two streams that cuts ``ready`` as well as ``valid``."""

from amaranth import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out


class Elastic(wiring.Component):
    """Two places for a value: the second takes what comes in the cycle in which the sink stops.

    Parameters
    ----------
    shape : ShapeLike
        Of the payload.

    Members
    -------
    i : In(stream), o : Out(stream)
    clear : In(1)
        Forget both values.

    Behaviour
    ---------
    A value a cycle, a cycle later. ``i.ready`` does not depend on ``o.ready``.
    """

    def __init__(self, shape):
        self.shape = shape
        super().__init__({"i": In(stream.Signature(shape)), "o": Out(stream.Signature(shape)),
                          "clear": In(1)})

    def elaborate(self, platform):
        m = Module()
        spare, waits = Signal(self.shape), Signal()
        m.d.comb += self.i.ready.eq(~waits)
        m.d.sync += waits.eq((waits | self.i.valid) & self.o.valid & ~self.o.ready)
        with m.If(~waits):
            m.d.sync += spare.eq(self.i.payload)
        with m.If(~self.o.valid | self.o.ready):
            m.d.sync += [self.o.valid.eq(waits | self.i.valid),
                         self.o.payload.eq(Mux(waits, spare, self.i.payload))]
        with m.If(self.clear):
            m.d.sync += [self.o.valid.eq(0), waits.eq(0)]
        return m
