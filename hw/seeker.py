"""One lane that passes over zeros without a queue: the next row of a mask that is not zero."""

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.config import CoreConfig, log2
from hw.packer import row_bits
from hw.scanner import lowest_bit


class Seeker(wiring.Component):
    """Walks the rows of a patch buffer that `hw.marks.Marks` shows, one a cycle.

    Members
    -------
    start : In(1), following : In
        Begin in the next cycle with the first row of this buffer, the one to come.
    ended : In(1), buffer : In, base : In
        No buffer is read; this one is; the weight row of its row 0.
    final : In
        The buffer's last row; not used in the cycle of ``start``.
    step, hold : In(1)
        Go on; the weight row stays the same.
    addr : Out, mask : In(window_rows)
        Window that is read, and what was read a cycle ago.
    row, weight : Out, some, last : Out(1)
        Current patch row and weight row; there is one, else a window without any; it is the lane's
        final one.
    ready : Out(1)
        ``start`` may come: the first window of the next buffer was read.

    Behaviour
    ---------
    A row a cycle, and a cycle for a window without any; the last window takes two at least, in
    which the first one of the next buffer is read.
    """

    LEAST = 2        # cycles of a buffer's last window

    def __init__(self, config: CoreConfig):
        self.config = config
        super().__init__({
            "start": In(1), "following": In(config.buffer_bits), "ended": In(1),
            "buffer": In(config.buffer_bits), "base": In(config.weight_addr_bits + 1),
            "final": In(row_bits(config)),
            "step": In(1), "hold": In(1),
            "addr": Out(config.mark_addr_bits), "mask": In(config.window_rows),
            "row": Out(row_bits(config)), "weight": Out(config.weight_addr_bits + 1),
            "some": Out(1), "last": Out(1), "ready": Out(1)})

    def elaborate(self, platform):
        m = Module()
        config = self.config
        inner = log2(config.window_rows)
        window, mask = Signal(config.window_bits), Signal(config.window_rows)
        behind = Signal.like(window)
        rest, place, tail = Signal.like(mask), Signal(inner), self.final[:inner]
        in_last, turns, load = Signal(), Signal(), Signal()
        m.d.comb += [
            rest.eq(Cat(bit & mask[:n].any() for n, bit in enumerate(mask))),
            place.eq(lowest_bit(mask)), self.row.eq(Cat(place, window)),
            in_last.eq(window == self.final[inner:]), turns.eq(in_last | self.ended),
            self.some.eq(mask.any() & ~(in_last & (place > tail))),
            self.last.eq(in_last & (~rest.any() | (place >= tail))),
            load.eq(self.step & ~rest.any() & ~in_last),
            self.weight.eq(Mux(self.hold, self.base, self.base + self.row)),
            # The window behind that of the mask is read, or the one behind what is loaded.
            behind.eq(Mux(load, window + 2, window + 1)),
            self.addr.eq(Cat(Mux(turns, self.start, behind),
                             Mux(turns, self.following, self.buffer))),
        ]
        m.d.sync += self.ready.eq(turns & ~self.start)
        with m.If(self.start | load):
            m.d.sync += [window.eq(Mux(self.start, 0, window + 1)), mask.eq(self.mask)]
        with m.Elif(self.step):
            m.d.sync += mask.eq(rest)
        return m
