"""A lane that passes over zeros: it finds the next row of a window that is not zero."""

from amaranth import Const, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.config import CoreConfig, log2
from hw.packer import row_bits


def window_shape(config: CoreConfig) -> data.StructLayout:
    """Rows ``number * window_rows`` on that are not zero; ``end``: a buffer's last window.

    Where config.row_masks: ``stored``, rows that have a weight row, one after the other from
    ``base`` on.
    """
    weights = {"stored": config.window_rows, "base": config.weight_addr_bits + 1}
    return data.StructLayout(
        {"mask": config.window_rows, "number": config.window_bits, "end": 1}
        | (weights if config.row_masks else {}))


class Scanner(wiring.Component):
    """Takes windows and gives the rows that their masks show, one a cycle.

    Cnvlutin and SparTen search their bit masks so, too: the lowest bit first, then it is cleared.

    Members
    -------
    i_valid : In(1), i : In(window_shape)
        A window. Empty ones need not come, but the last one of each buffer.
    full : Out(1)
        ``ROOM`` windows may still come.
    clear : In(1)
    valid : Out(1), row : Out, some, last : Out(1)
        There is a row; without ``some`` none, because the last window was empty. It is the
        buffer's last.
    base : Out, below : Out(window_rows)
        Where config.row_masks: of its window; a bit for each weight row that precedes its own.
    step : In(1)
        The row is taken; only while ``valid``.

    Behaviour
    ---------
    The row follows its window, if nothing is before it, ``LATENCY`` cycles later.
    """

    DEPTH = 16       # windows in the queue, a memory of LUTs
    ROOM = 8         # of these, that may still come when it says that it is full
    LATENCY = 2      # mask, row

    def __init__(self, config: CoreConfig):
        self.config = config
        weights = {"base": Out(config.weight_addr_bits + 1), "below": Out(config.window_rows)}
        super().__init__({
            "i_valid": In(1), "i": In(window_shape(config)), "full": Out(1), "clear": In(1),
            "valid": Out(1), "row": Out(row_bits(config)), "some": Out(1), "last": Out(1),
            "step": In(1)} | (weights if config.row_masks else {}))

    def elaborate(self, platform):
        m = Module()
        shape, queue_bits = window_shape(self.config), log2(self.DEPTH)
        m.submodules.queue = queue = Memory(shape=shape, depth=self.DEPTH, init=[])
        write, read = queue.write_port(), queue.read_port(domain="comb")
        level, waits, take = Signal(queue_bits + 1), Signal(), Signal()
        push = self.i_valid & (self.i.mask.any() | self.i.end)
        m.d.comb += [write.en.eq(push), write.data.eq(self.i)]
        m.d.sync += [write.addr.eq(write.addr + push), read.addr.eq(read.addr + take),
                     level.eq(level + push - take),
                     self.full.eq(level >= self.DEPTH - self.ROOM)]
        # The window that is searched, and the row that was found in it.
        there, window, load = Signal(), Signal(shape), Signal()
        rest = without_lowest(window.mask)
        m.d.comb += [load.eq(~self.valid | self.step),
                     waits.eq(level.any()),
                     take.eq((waits | push) & (~there | (load & ~rest.any())))]
        with m.If(take):             # past the queue, if that is empty
            m.d.sync += [there.eq(1), window.eq(Mux(waits, read.data, self.i))]
        with m.Elif(load):
            m.d.sync += [there.eq(rest.any()), window.mask.eq(rest)]
        with m.If(load):
            lowest = lowest_bit(window.mask)
            m.d.sync += [
                self.valid.eq(there), self.some.eq(window.mask.any()),
                self.last.eq(window.end & ~rest.any()),
                self.row.eq((window.number << log2(self.config.window_rows)) | lowest)]
            if self.config.row_masks:
                lower = ~window.mask & (window.mask - 1)[:len(window.mask)]
                m.d.sync += [self.base.eq(window.base), self.below.eq(window.stored & lower)]
        with m.If(self.clear):
            m.d.sync += [level.eq(0), write.addr.eq(0), read.addr.eq(0), there.eq(0),
                         self.valid.eq(0)]
        return m


def lowest_bit(mask):
    """Index of the lowest bit that is set."""
    if len(mask) == 1:
        return Const(0)
    half = len(mask) // 2
    low, high = mask[:half], mask[half:]
    upper = ~low.any()
    below = Mux(upper, lowest_bit(high), lowest_bit(low))
    return (upper << log2(half)) | below


def without_lowest(mask):
    """The mask without its lowest bit, which is m & (m - 1)."""
    return mask & (mask - 1)[:len(mask)]
