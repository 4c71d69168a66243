"""One lane: which patch row meets which weight row next."""

from amaranth import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.config import CoreConfig
from hw.packer import row_bits


class Lane(wiring.Component):
    """Walks all rows of a patch buffer in order.

    For cores whose lanes do not pass over rows, as `hw.seeker` and `hw.scanner` do.

    Members
    -------
    start : In(1), base : In, single : In(1)
        Begin in the next cycle at row 0 of a buffer, weights from row ``base`` on; the buffer has
        just one row.
    rows : In
        Rows of the current buffer; not used in the cycle of ``start``, which keeps paths short.
    step : In(1), hold : In(1)
        The current row is being issued; the weight row stays the same.
    row, weight : Out
        Current patch row and weight row.
    last : Out(1)
        The current row is the lane's final one.
    some, ready : Out(1)
        There is a row; ``start`` may come: always, see `hw.seeker.Seeker`.
    """

    def __init__(self, config: CoreConfig):
        self.config = config
        super().__init__({
            "start": In(1), "base": In(config.weight_addr_bits + 1), "single": In(1),
            "rows": In(row_bits(config)),
            "step": In(1), "hold": In(1), "row": Out(row_bits(config)),
            "weight": Out(config.weight_addr_bits + 1), "last": Out(1),
            "some": Out(1, init=1), "ready": Out(1, init=1)})

    def elaborate(self, platform):
        m = Module()
        with m.If(self.start):
            m.d.sync += [self.row.eq(0), self.last.eq(self.single)]
        with m.Elif(self.step):
            m.d.sync += [self.row.eq(self.row + 1), self.last.eq(self.row + 2 == self.rows)]
        with m.If(self.start):
            m.d.sync += self.weight.eq(self.base)
        with m.Elif(self.step & ~self.hold):
            m.d.sync += self.weight.eq(self.weight + 1)
        return m
