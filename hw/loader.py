"""Executes LOAD: copies lines of the activation memory to the memories beside it."""

from amaranth import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.config import CoreConfig, log2
from hw.descriptor import order_shape
from hw.layout import Space
from hw.ports import read_client, read_latency
from hw.stores import space_words, store_port


class Loader(wiring.Component):
    """Copies ``d.groups`` lines from ``d.res_base`` on.

    Members
    -------
    d : In(order_shape(config)), start, clear : In(1)
    r : Out(read_client), store : Out(store_port)
    idle : Out(1), error : Out(1)
        Nothing left to copy; a destination beyond its memory, which is not written.

    Behaviour
    ---------
    Weights take a line a cycle; parameters and table a word a cycle, or on the iCE40 a word a
    read, which needs no register for the line.
    """

    def __init__(self, config: CoreConfig):
        self.config = config
        super().__init__({
            "d": In(order_shape(config)), "start": In(1), "clear": In(1),
            "r": Out(read_client(config)), "store": Out(store_port(config)),
            "idle": Out(1, init=1), "error": Out(1)})

    def elaborate(self, platform):
        m = Module()
        d, config, store = self.d, self.config, self.store
        words = config.line_words
        to_read, reading = Signal.like(d.groups), Signal()                 # lines, some left
        between = Signal(range(read_latency(config) + 2))                  # read, not yet copied
        word = Signal(range(max(2, words)))
        is_weight, on_its_way, line_end = Signal(), Signal(), Signal()
        came, copied, source = Signal(), Signal(), self.r.data
        m.d.comb += [
            is_weight.eq(d.zero_point == Space.WEIGHT),
            line_end.eq(is_weight | (word == words - 1)),
            self.idle.eq(~reading & (between == 0)),
            came.eq(self.r.done & ~self.idle & ~self.clear),
        ]
        if config.pipelined:
            held, source = Signal(), Signal(config.line_bits)              # words of a line wait
            soon = word + read_latency(config) + 1 >= words                # they are done when
            m.d.comb += [                                                  # another comes
                self.r.valid.eq(reading & (is_weight | (~on_its_way & (~held | soon)))),
                copied.eq(Mux(is_weight, came, held & ~self.clear))]
            read_end = 1
            with m.If(copied & line_end):
                m.d.sync += held.eq(0)
            with m.If(came & ~is_weight):
                m.d.sync += [held.eq(1), source.eq(self.r.data)]
        else:
            m.d.comb += [self.r.valid.eq(reading & (is_weight | ~on_its_way)),
                         copied.eq(came)]
            read_end = line_end
        read = self.r.valid & self.r.ready & read_end
        m.d.sync += between.eq(between + read - (copied & line_end))
        with m.If(self.r.valid & self.r.ready):
            m.d.sync += on_its_way.eq(1)
        with m.If(read):
            m.d.sync += [to_read.eq(to_read - 1), reading.eq(to_read != 1),
                         self.r.addr.eq(self.r.addr + 1)]
        with m.If(came):
            m.d.sync += on_its_way.eq(0)
        with m.If(copied):
            m.d.sync += word.eq(Mux(line_end, 0, word + 1))

        limits = space_words(config)           # of weights a line is written at a time
        limits[Space.WEIGHT] //= config.line_words
        del limits[Space.ACT]
        target = Signal(max(limit.bit_length() for limit in limits.values()) + 1)
        beyond = Signal()
        with m.Switch(d.zero_point):
            for space, limit in limits.items():
                with m.Case(space):
                    m.d.comb += beyond.eq(target >= limit)
        write = copied & ~beyond
        m.d.comb += [
            self.error.eq(copied & beyond),
            store.weight_en.eq((write & is_weight).replicate(config.line_words)),
            store.weight_addr.eq(target), store.weight_data.eq(self.r.data),
            store.param_en.eq(write & (d.zero_point == Space.PARAM)),
            store.table_en.eq(write & (d.zero_point == Space.TABLE)),
            store.mask_en.eq(write & (d.zero_point == Space.MASK)),
            store.word_addr.eq(target), store.word_data.eq(source.word_select(word, 32)),
        ]
        first = Mux(is_weight, d.out_base << log2(config.row_bytes // config.V),
                    d.out_base << log2(config.C * 4))
        if config.row_masks:
            first = Mux(d.zero_point == Space.MASK, d.out_base << log2(config.L), first)
        with m.If(self.start):
            m.d.sync += [to_read.eq(d.groups), reading.eq(d.groups.any()),
                         self.r.addr.eq(d.res_base), target.eq(first), on_its_way.eq(0),
                         word.eq(0)]
        with m.Elif(copied):
            m.d.sync += target.eq(target + 1)
        with m.If(self.clear):
            m.d.sync += [reading.eq(0), between.eq(0)]
            if config.pipelined:
                m.d.sync += held.eq(0)
        return m
