"""Walks the passes ahead of the lanes: which windows of which buffer, with which weights."""

from amaranth import Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.config import CoreConfig, bits_for, log2
from hw.descriptor import order_shape
from hw.issue import group_rows
from hw.packer import patch_write, row_bits
from hw.walk import PassWalk


def visit_shape(config: CoreConfig) -> data.StructLayout:
    """A walk through a patch buffer.

    ``ends``: a pass ends with it; ``release``: the buffer is free afterwards; ``base``: weight
    row of its first row, but for config.row_masks; ``ahead``: rows of a strip that come before the
    pass.
    """
    base = {} if config.row_masks else {"base": config.weight_addr_bits + 1}
    return data.StructLayout({
        "buffer": config.buffer_bits, "ends": 1, "release": 1, **base,
        "part": bits_for(config.groups_per_line), "ahead": row_bits(config)})


class Prefetch(wiring.Component):
    """Reads the windows of one visit after the other, as far ahead as the lanes' queues allow.

    Members
    -------
    d : In(order_shape(config)), start, clear : In(1)
    patch : In(patch_write), taken : In(patch_buffers), free : Out(patch_buffers)
        See `hw.issue.Issue`.
    done : In(1), visited : In(visit_shape)
        The lanes have ended their oldest visit, which is this one.
    full : In(1)
        Stop: a queue is almost full.
    visit_valid : Out(1), visit : Out(visit_shape)
        A visit begins; its windows follow.
    valid, end : Out(1), buffer, window : Out, rows : Out
        Read this window; it is the visit's last; it has at least so many rows, or one more than
        ``window_rows`` for all.
    place : Out
        Where config.row_masks: weight row of the window's first row, of packed layers its word
        of row masks.
    error_address, error_patch : Out(1)
        See `hw.issue.Issue`.

    Behaviour
    ---------
    A visit of n windows takes n + 2 cycles; that of a patch which is not there waits for it. Its
    first window is read ``LATENCY`` cycles after its commit.
    """

    OVERHEAD = 2
    LATENCY = 2      # fresh, active

    def __init__(self, config: CoreConfig, index: int):
        self.config, self.index = config, index
        super().__init__({
            "d": In(order_shape(config)), "start": In(1), "clear": In(1),
            "patch": In(patch_write(config)), "taken": In(config.patch_buffers),
            "free": Out(config.patch_buffers),
            "done": In(1), "visited": In(visit_shape(config)), "full": In(1),
            "visit_valid": Out(1), "visit": Out(visit_shape(config)),
            "valid": Out(1), "end": Out(1), "buffer": Out(config.buffer_bits),
            "window": Out(config.window_bits), "rows": Out(row_bits(config)),
            "error_address": Out(1), "error_patch": Out(1)}
            | ({"place": Out(config.weight_addr_bits + 1)} if config.row_masks else {}))

    def elaborate(self, platform):
        m = Module()
        d, config = self.d, self.config
        m.submodules.passes = passes = PassWalk(config, self.index)
        count = config.patch_buffers
        used, fresh = Signal(count), Signal(count)
        active, buffer = Signal(), Signal(config.buffer_bits)
        chosen = self._buffer(m, buffer)
        left, refetch, releases = Signal(row_bits(config)), Signal(), Signal()
        begin, over, ends, pause = Signal(), Signal(), Signal(), Signal()
        base, upcoming = self._weights(m, passes, ends)
        m.d.comb += [
            passes.d.eq(d), passes.start.eq(self.start), self.free.eq(~used),
            releases.eq(refetch | passes.last_group),
            begin.eq(~active & ~pause & fresh.bit_select(buffer, 1)),
            self.valid.eq(active & ~self.full), over.eq(self.valid & self.end),
            ends.eq(over & self.visit.ends),
            self.buffer.eq(buffer), self.rows.eq(left),
        ]
        m.d.sync += refetch.eq(d.by_channel | d.chunked)
        # A visit's windows, one a cycle; which is the last is known before. Then the walk steps.
        m.d.sync += [pause.eq(over), passes.step.eq(ends)]
        with m.If(begin):
            m.d.sync += [active.eq(1), left.eq(chosen.rows), self.end.eq(chosen.single),
                         self.window.eq(0)]
        with m.Elif(over):
            m.d.sync += [active.eq(0), buffer.eq(buffer + releases)]
        with m.Elif(self.valid):
            m.d.sync += [left.eq(left - config.window_rows), self.window.eq(self.window + 1),
                         self.end.eq(left <= 2 * config.window_rows)]
        m.d.sync += [self.visit_valid.eq(begin & ~self.clear), self.visit.buffer.eq(buffer),
                     self.visit.ends.eq(chosen.last), self.visit.release.eq(releases),
                     self.visit.ahead.eq(chosen.ahead),
                     self.visit.part.eq(passes.g % config.groups_per_line)]
        if config.row_masks:
            self._places(m, begin, base - chosen.ahead)
        else:
            m.d.sync += self.visit.base.eq(base - chosen.ahead)
        # Weights go on within a pass, then with the next group.
        behind = Signal(len(base))
        with m.If(begin):
            m.d.sync += behind.eq(base + chosen.own)
        with m.If(over):
            m.d.sync += base.eq(Mux(self.visit.ends, upcoming, behind))
        # Buffers are fresh from commit to visit, used until the lanes are done.
        ready, old, released = Signal(count), Signal(count), Signal(count)
        m.d.comb += [
            ready.eq(self.patch.commit << self.patch.addr[config.patch_addr_bits:]),
            old.eq((over & releases) << buffer),
            released.eq((self.done & self.visited.release) << self.visited.buffer)]
        m.d.sync += [fresh.eq((fresh & ~old) | ready), used.eq((used & ~released) | self.taken)]
        late = Signal()
        m.d.sync += late.eq(begin)
        beyond = Mux(d.hold, behind >= config.weight_rows, behind > config.weight_rows)
        if config.row_masks:
            beyond = Mux(d.packed, behind > config.row_mask_words, beyond)
        m.d.comb += [self.error_patch.eq(over & ~self.visit.ends & ~refetch),
                     self.error_address.eq(late & beyond & ~d.is_max)]
        with m.If(self.clear):
            m.d.sync += [active.eq(0), used.eq(0), fresh.eq(0), buffer.eq(0)]
        return m

    def _places(self, m, begin, first):
        """From window to window its rows' weights lie further on, or its masks, or nothing."""
        config, pitch = self.config, Signal(range(self.config.window_rows + 1))
        m.d.sync += pitch.eq(Mux(self.d.hold, 0, Mux(self.d.packed, 1, config.window_rows)))
        with m.If(begin):
            m.d.sync += self.place.eq(first)
        with m.Elif(self.valid):
            m.d.sync += self.place.eq(self.place + pitch)

    def _held_shape(self):
        """``own``: weight rows (words of masks) of its own; ``ahead``: rows before the first.

        ``single``: it has one window.
        """
        rows = row_bits(self.config)
        return data.StructLayout({"rows": rows, "single": 1, "last": 1, "own": rows, "ahead": rows})

    def _buffer(self, m, buffer):
        """What is known of a buffer since its commit."""
        config, patch, strip = self.config, self.patch, self.d.slides
        m.submodules.held = held = Memory(shape=self._held_shape(), depth=config.patch_buffers,
                                          init=[])
        write, read = held.write_port(), held.read_port(domain="comb")
        own = Mux(strip, self.d.kernel_h, Mux(self.d.hold, 0, patch.rows))
        if config.row_masks:
            windows = (patch.rows + config.window_rows - 1) >> log2(config.window_rows)
            own = Mux(self.d.packed, windows, own)
        m.d.comb += [
            write.en.eq(patch.commit), write.addr.eq(patch.addr[config.patch_addr_bits:]),
            write.data.rows.eq(patch.rows), write.data.single.eq(patch.rows <= config.window_rows),
            write.data.last.eq(patch.last), write.data.own.eq(own),
            write.data.ahead.eq(Mux(strip, patch.rows - self.d.kernel_h, 0)),
            read.addr.eq(buffer)]
        return read.data

    def _weights(self, m, passes, ends):
        """Weight row of the next visit, and of the next pass: the next group's, or the first's."""
        d, width = self.d, self.config.weight_addr_bits + 1
        stride, first = Signal(width), Signal(width)
        group_rows(m, self.config, self.index, d, stride, first)
        base, group_base, upcoming = Signal(width), Signal(width), Signal(width)
        m.d.sync += upcoming.eq(Mux(passes.last_group | d.hold, first, group_base + stride))
        with m.If(d.slides & ~passes.wrap):
            m.d.sync += upcoming.eq(group_base)
        with m.If(self.start):
            m.d.sync += [group_base.eq(first), base.eq(first)]
        with m.Elif(ends):
            m.d.sync += group_base.eq(upcoming)
        return base, upcoming
