"""Issues rows of the filled patch buffers to the array, pass after pass, without bubbles."""

from amaranth import Array, Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.config import NARROW_ZERO, CoreConfig, bits_for
from hw.delay import delayed
from hw.descriptor import order_shape
from hw.lane import Lane
from hw.marks import Marks
from hw.packer import patch_write, row_bits
from hw.seeker import Seeker
from hw.walk import PassWalk

PAUSE_CYCLES = 6      # from a free cycle until the pager, which sees it late, needs no other
PAUSE_PITCH = PAUSE_CYCLES + 2    # from one stolen cycle to the next


def issue_shape(config: CoreConfig) -> data.StructLayout:
    """One row of every lane: patch rows, weight rows, and where in its pass it stands.

    ``part`` is that of the row before where ``config.pipelined``, and ``weights`` that of the row
    before where ``config.row_masks``. ``lanes``: those that have a row; the others add nothing.
    """
    return data.StructLayout({
        "valid": 1, "lanes": config.L, "first": 1, "last": 1, "buffer": config.buffer_bits,
        "part": bits_for(config.groups_per_line),
        "rows": data.ArrayLayout(row_bits(config), config.L),
        "weights": data.ArrayLayout(config.weight_addr_bits, config.L)})


def issue_members(config: CoreConfig, spacing_bits: int) -> dict:
    """Members of `Issue` and `hw.skip.SkipIssue`."""
    return {
        "d": In(order_shape(config)), "start": In(1), "clear": In(1),
        "patch": In(patch_write(config)), "taken": In(config.patch_buffers),
        "free": Out(config.patch_buffers),
        "spacing": In(spacing_bits), "pause": In(1), "o": Out(issue_shape(config)),
        "feed_stall": Out(1), "drain_stall": Out(1),
        "error_address": Out(1), "error_patch": Out(1)}


def group_rows(m: Module, config: CoreConfig, index: int, d, stride: Signal, first: Signal):
    """Drive the weight rows from a cluster's group to its next, and the first row of its first."""
    m.d.comb += [stride.eq(d.group_rows), first.eq(d.w_base)]
    if config.P == 2:
        m.d.comb += stride.eq(Mux(d.split, d.group_rows << 1, d.group_rows))
        if index:
            m.d.comb += first.eq(d.w_base + Mux(d.split & ~d.hold, d.group_rows, 0))


def keep_apart(m: Module, pass_end: Value, spacing: Value, wait: Signal, held: Signal):
    """Hold the final row of a pass for ``spacing`` (see `Issue`): ``wait`` cycles."""
    with m.If(pass_end):
        m.d.sync += [wait.eq(spacing - 1), held.eq(spacing != 1)]
    with m.Else():
        m.d.sync += [wait.eq(wait - wait.any()), held.eq(wait[1:].any())]


def steal(m: Module, config: CoreConfig, pause: Value, issue: Value) -> Value:
    """The cycles that ``pause`` asks for: one, unless a cycle without a row comes before."""
    if config.P == 1:
        return Const(0)
    stolen, given = Signal(), Signal(range(PAUSE_CYCLES + 1))
    m.d.sync += [stolen.eq(pause & issue & ~given.any()),
                 given.eq(Mux(given.any(), given - 1, Mux(pause & ~issue, PAUSE_CYCLES, 0)))]
    return stolen


class Issue(wiring.Component):
    """Keeps the state of the patch buffers and steps the lanes through them.

    Members
    -------
    d : In(order_shape(config)), start, clear : In(1)
    patch : In(patch_write), taken : In(patch_buffers), free : Out(patch_buffers)
        Buffers filled by the packer, taken by the word generator, free again.
    spacing : In
        Final rows of two passes are at least so far apart: as the drain of one takes, and not less
        than ``apart`` allows.
    pause : In(1)
        Leave a cycle without a row: a weight waits to be written (P = 2). It is, and ``pause``
        falls, within PAUSE_CYCLES.
    o : Out(issue_shape)
    feed_stall, drain_stall : Out(1)
        Nothing issued for want of a patch, of a free shadow.
    error_address, error_patch : Out(1)
        A weight row outside the banks; a patch larger than a buffer in a layer that is not chunked.

    Behaviour
    ---------
    A row a cycle: the next pass follows its predecessor without a bubble if its patch is there.
    """

    def __init__(self, config: CoreConfig, index: int, spacing_bits: int):
        self.config, self.index = config, index
        super().__init__(issue_members(config, spacing_bits))

    @staticmethod
    def apart(config: CoreConfig, cycles: int) -> int:
        """``spacing`` for a drain of so many cycles: a step of the walk takes some, too."""
        return max(cycles, 3 if config.pipelined and not config.skips else 2)

    def elaborate(self, platform):
        m = Module()
        d, config = self.d, self.config
        m.submodules.passes = passes = PassWalk(config, self.index)
        lanes = [(Seeker if config.seeks else Lane)(config) for _ in range(config.L)]
        for index, lane in enumerate(lanes):
            m.submodules[f"lane{index}"] = lane
        refetch = Signal()
        m.d.comb += [passes.d.eq(d), passes.start.eq(self.start)]
        stage = m.d.sync if config.pipelined else m.d.comb
        stage += [refetch.eq(d.by_channel | d.chunked)]
        # One pass after the other; what hangs on `begin` is known before it.
        active, buffer, first = Signal(), Signal(config.buffer_bits), Signal(init=1)
        issue, met, buffer_end, pass_end, release, begin = (
            Signal(), Signal(), Signal(), Signal(), Signal(), Signal())
        wait, held, ready = Signal(len(self.spacing)), Signal(), Signal()
        is_last, rows_now = Signal(), Signal(row_bits(config))
        full, rows, chunk_last, single = self._buffers(m, release, buffer)
        stolen = steal(m, config, self.pause, issue)
        releases = refetch | passes.last_group
        following = Signal.like(buffer)          # the buffer that the next pass reads
        m.d.comb += [
            following.eq(buffer + (active & releases)),
            met.eq(Cat(lane.last for lane in lanes).all()),
            ready.eq(Cat(lane.ready for lane in lanes).all()),
            issue.eq(active & ~stolen & ~(met & (is_last & held | ~ready))),
            buffer_end.eq(issue & met),
            pass_end.eq(buffer_end & is_last),
            release.eq(buffer_end & releases),
            begin.eq(~self.clear & (~active | buffer_end)
                     & (full.bit_select(following, 1) | (active & ~releases))),
            self.feed_stall.eq(~active | ~issue & met & ~ready),
            self.drain_stall.eq(~issue & ~self.feed_stall),
            self.error_patch.eq(buffer_end & ~is_last & ~refetch),
        ]
        with m.If(begin):
            m.d.sync += [active.eq(1), is_last.eq(chunk_last.bit_select(following, 1)),
                         rows_now.eq(rows[following])]
        with m.Elif(buffer_end):
            m.d.sync += active.eq(0)
        warming = self._warming(m, begin, following, issue)
        with m.If(buffer_end):
            m.d.sync += [buffer.eq(following), first.eq(is_last)]
        with m.Elif(issue & ~warming):
            m.d.sync += first.eq(0)
        keep_apart(m, pass_end, self.spacing, wait, held)

        base = self._weights(m, lanes, passes, buffer_end, pass_end, rows_now)
        shared = {"start": begin, "hold": d.hold | warming, "base": base}
        if config.seeks:
            self._marks(m, lanes)
            shared |= {"buffer": buffer, "following": following, "ended": ~active,
                       "final": rows_now - 1}
        else:
            shared |= {"rows": rows_now, "single": single.bit_select(following, 1)}
        beyond = []
        for index, lane in enumerate(lanes):
            m.d.comb += [getattr(lane, name).eq(value) for name, value in shared.items()]
            m.d.comb += [
                lane.step.eq(issue & (~lane.last | met)),
                self.o.lanes[index].eq(lane.step & lane.some),
                self.o.rows[index].eq(lane.row), self.o.weights[index].eq(lane.weight)]
            beyond.append(self.o.lanes[index] & (lane.weight >= config.weight_rows))
        with m.If(self.start):
            m.d.sync += first.eq(~d.resume)
        m.d.comb += [
            self.o.valid.eq(issue), self.o.first.eq(first), self.o.last.eq(met & is_last),
            self.o.buffer.eq(buffer), self.o.part.eq(passes.g % config.groups_per_line),
            self.error_address.eq(Cat(beyond).any() & ~d.is_max),
        ]
        with m.If(self.clear):
            m.d.sync += [active.eq(0), buffer.eq(0), first.eq(1), held.eq(0), wait.eq(0)]
        return m

    def _buffers(self, m, release, buffer):
        """Which are full; of each the rows, whether a patch ends with it, and if it has one row."""
        config, count = self.config, self.config.patch_buffers
        used, full, chunk_last, single = (
            Signal(count, name=name) for name in ("used", "full", "chunk_last", "single"))
        rows = Array(Signal(row_bits(config), name=f"rows{b}") for b in range(count))
        released, committed = Signal(count), Signal(count)
        filled = self.patch.addr[config.patch_addr_bits:]
        m.d.comb += [released.eq(release << buffer), committed.eq(self.patch.commit << filled),
                     self.free.eq(~used)]
        # Seekers read a window a cycle after it was written.
        m.d.sync += [used.eq((used & ~released) | self.taken),
                     full.eq((full & ~released) | delayed(m, committed, config.seeks))]
        for b in range(count):
            with m.If(committed[b]):
                m.d.sync += [rows[b].eq(self.patch.rows), chunk_last[b].eq(self.patch.last),
                             single[b].eq(self.patch.rows == 1)]
        with m.If(self.clear):
            m.d.sync += [used.eq(0), full.eq(0)]
        return full, rows, chunk_last, single

    def _marks(self, m, lanes):
        """What is not zero in the patch buffers, window by window to each lane."""
        m.submodules.marks = marks = Marks(self.config)
        zero = NARROW_ZERO if self.config.narrow else self.d.offset
        m.d.comb += [marks.patch.eq(self.patch), marks.all.eq(~self.d.skip), marks.zero.eq(zero)]
        for lane, addr, mask in zip(lanes, marks.addrs, marks.masks, strict=True):
            m.d.comb += [addr.eq(lane.addr), lane.mask.eq(mask)]

    def _warming(self, m, begin, following, issue):
        """In a strip, rows of columns left of the window's last one: they only fill the delays."""
        config, patch = self.config, self.patch
        if not config.strips:
            return Const(0)
        warming, left = Signal(), Signal(row_bits(config))
        some = Signal(config.patch_buffers)
        ahead = Array(Signal(row_bits(config), name=f"ahead{b}") for b in range(len(some)))
        filled = patch.addr[config.patch_addr_bits:]
        with m.If(patch.commit):
            m.d.sync += [
                ahead[filled].eq(patch.rows - self.d.kernel_h),
                some.bit_select(filled, 1).eq(self.d.slides
                                              & (patch.rows != self.d.kernel_h))]
        with m.If(begin):
            m.d.sync += [left.eq(ahead[following]), warming.eq(some.bit_select(following, 1))]
        with m.Elif(issue):
            m.d.sync += [left.eq(left - 1), warming.eq(warming & (left != 1))]
        return warming

    def _weights(self, m, lanes, passes, buffer_end, pass_end, rows):
        """Weight row of the next pass: on within a pass, the next group's, or the first group's."""
        d, width = self.d, self.config.weight_addr_bits + 1
        group_base, stride, first = Signal(width), Signal(width), Signal(width)
        group_rows(m, self.config, self.index, d, stride, first)
        upcoming, found = Signal(width), Signal(width)
        visit_base, base = Signal(width), Signal(width)    # of this visit, of that to come
        m.d.comb += found.eq(Mux(passes.last_group | d.hold, first, group_base + stride))
        with m.If(d.slides & ~passes.wrap):
            m.d.comb += found.eq(group_base)
        stage = m.d.sync if self.config.pipelined else m.d.comb
        stage += [upcoming.eq(found), passes.step.eq(pass_end)]   # in time: see ``spacing``
        behind = visit_base + rows if self.config.seeks else lanes[0].weight + 1
        with m.If(pass_end):
            m.d.comb += base.eq(upcoming)
        with m.Elif(buffer_end):                 # an unfinished pass goes on
            m.d.comb += base.eq(Mux(d.hold, first, behind))
        with m.Else():
            m.d.comb += base.eq(visit_base)
        m.d.sync += visit_base.eq(Mux(self.start, first, base))
        with m.If(self.start):
            m.d.sync += group_base.eq(first)
        with m.Elif(pass_end):
            m.d.sync += group_base.eq(upcoming)
        return visit_base if self.config.seeks else base
