"""Executes LOAD: copies lines of the activation memory to weights, parameters or the table."""

from amaranth import Array, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.config import CoreConfig, log2
from hw.descriptor import DESCRIPTOR_SHAPE
from hw.layout import Space
from hw.ports import read_client
from hw.stores import store_port


class Loader(wiring.Component):
    """Copies ``d.groups`` lines from ``d.res_base`` on.

    Members
    -------
    d : In(DESCRIPTOR_SHAPE), start, clear : In(1)
    r : Out(read_client), store : Out(store_port)
    idle : Out(1), error : Out(1)
        Nothing left to copy; a destination beyond its memory, which is not written.

    Behaviour
    ---------
    Weights take a line a cycle; parameters and table a line per read and V/4 words.
    """

    def __init__(self, config: CoreConfig):
        self.config = config
        super().__init__({
            "d": In(DESCRIPTOR_SHAPE), "start": In(1), "clear": In(1),
            "r": Out(read_client(config)), "store": Out(store_port(config)),
            "idle": Out(1, init=1), "error": Out(1)})

    def elaborate(self, platform):
        m = Module()
        d, config, store = self.d, self.config, self.store
        words = config.V // 4
        to_read, to_write = Signal(16), Signal(16)
        line, word = Signal(config.line_bits), Signal(range(max(2, words)))
        is_weight, single = Signal(), Signal()     # single: a line is on its way or being written
        m.d.comb += [
            is_weight.eq(d.zero_point == Space.WEIGHT),
            self.r.valid.eq((to_read != 0) & (is_weight | ~single)), self.idle.eq(to_write == 0),
        ]
        accepted = self.r.valid & self.r.ready
        with m.If(accepted):
            m.d.sync += [to_read.eq(to_read - 1), self.r.addr.eq(self.r.addr + 1), single.eq(1)]
        writing = Signal()
        write_line = Signal()
        m.d.sync += write_line.eq(0)
        with m.If(self.r.done):
            m.d.sync += line.eq(self.r.data)
            with m.If(is_weight):
                m.d.sync += [write_line.eq(~self.clear), to_write.eq(to_write - 1)]
            with m.Else():
                m.d.sync += writing.eq(1)
        limits = {Space.WEIGHT: config.weight_rows * config.row_bytes // config.V,
                  Space.PARAM: config.param_groups * config.C * 4, Space.TABLE: 256}
        target = Signal(max(limit.bit_length() for limit in limits.values()) + 1)
        beyond = Signal()
        with m.Switch(d.zero_point):
            for space, limit in limits.items():
                with m.Case(space):
                    m.d.comb += beyond.eq(target >= limit)
        copied = Signal()
        with m.If(writing):
            m.d.sync += word.eq(word + 1)
            with m.If(word == words - 1):
                m.d.sync += [writing.eq(0), word.eq(0), single.eq(0), to_write.eq(to_write - 1)]
        m.d.comb += [
            copied.eq(write_line | writing), self.error.eq(copied & beyond),
            store.weight_en.eq(write_line & ~beyond), store.weight_data.eq(line),
            store.weight_addr.eq(target), store.word_addr.eq(target),
            store.param_en.eq(writing & ~beyond & (d.zero_point == Space.PARAM)),
            store.table_en.eq(writing & ~beyond & (d.zero_point == Space.TABLE)),
            store.word_data.eq(Array(line.word_select(w, 32) for w in range(words))[word]),
        ]
        with m.If(self.start):
            m.d.sync += [
                to_read.eq(d.groups), to_write.eq(d.groups), self.r.addr.eq(d.res_base),
                target.eq(Mux(is_weight, d.out_base << log2(config.row_bytes // config.V),
                              d.out_base << log2(config.C * 4))), single.eq(0),
            ]
        with m.Elif(copied):
            m.d.sync += target.eq(target + 1)
        with m.If(self.clear):
            m.d.sync += [to_read.eq(0), to_write.eq(0), writing.eq(0), single.eq(0), word.eq(0)]
        return m
