"""Reads the second tensor of an addition (and the first, where no convolution makes it)."""

from amaranth import Array, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.config import CoreConfig, bits_for
from hw.delay import delayed
from hw.descriptor import order_shape
from hw.ports import line_address_bits, read_client, read_latency


class ResidualReader(wiring.Component):
    """Line fetches for the drain.

    Members
    -------
    d : In(order_shape(config)), clear : In(1)
    offset, part : In
        Of the pass in hand, see OutputWalk.
    start : In(1)
        Fetch the residual of this pass.
    pairs : In(1), paired : In(1)
        While high, fetch first and second tensor of this pass; it is done with.
    r : Out(read_client)
    bytes : Out(8 * C), first_valid, second_valid : Out(1)
        The C bytes of the first tensor, of the residual.
    """

    def __init__(self, config: CoreConfig):
        self.config = config
        super().__init__({
            "d": In(order_shape(config)), "clear": In(1),
            "offset": In(line_address_bits(config)),
            "part": In(bits_for(config.groups_per_line)), "start": In(1), "pairs": In(1),
            "paired": In(1), "r": Out(read_client(config)), "bytes": Out(8 * config.C),
            "first_valid": Out(1), "second_valid": Out(1)})

    def elaborate(self, platform):
        m = Module()
        config = self.config
        part, opens = Signal.like(self.part), Signal()
        first, second = self.offset + self.d.a_base, self.offset + self.d.res_base
        with m.If(self.start | opens):
            m.d.sync += part.eq(self.part)
        part_back = part
        if config.overlaps:           # the next pass's start may come before this one's bytes
            part_back, sums = delayed(m, part, read_latency(config)), (first, second)
            first, second = (Signal.like(self.offset, name=name) for name in ("first", "second"))
            with m.If(self.start | opens):
                m.d.sync += [first.eq(sums[0]), second.eq(sums[1])]
        parts = Array(self.r.data.word_select(g, 8 * config.C)
                      for g in range(config.groups_per_line))
        m.d.comb += self.bytes.eq(parts[part_back] if len(parts) > 1 else self.r.data)
        want_first, want_second, expect_first = Signal(), Signal(), Signal()
        settle = Signal(2)                        # offset is valid two cycles after a step
        pair_open = Signal()
        m.d.comb += [
            self.r.valid.eq(want_first | want_second),
            self.r.addr.eq(Mux(want_first, first, second)),
            self.first_valid.eq(self.r.done & expect_first),
            self.second_valid.eq(self.r.done & ~expect_first),
        ]
        with m.If(self.r.ready):
            with m.If(want_first):
                m.d.sync += [want_first.eq(0), want_second.eq(1)]
            with m.Else():
                m.d.sync += want_second.eq(0)
        with m.If(self.first_valid):
            m.d.sync += expect_first.eq(0)
        with m.If(self.start):
            m.d.sync += want_second.eq(1)
        with m.If(~self.pairs | self.paired | pair_open):
            m.d.sync += settle.eq(0)
        with m.Elif(settle != 3):
            m.d.sync += settle.eq(settle + 1)
        with m.Else():
            m.d.comb += opens.eq(1)
            m.d.sync += [pair_open.eq(1), want_first.eq(1), expect_first.eq(1)]
        with m.If(self.paired | self.clear):
            m.d.sync += pair_open.eq(0)
        with m.If(self.clear):
            m.d.sync += [want_first.eq(0), want_second.eq(0), expect_first.eq(0)]
        return m
