"""Issues the rows that are not zero: every lane its own, together only at the end of a patch."""

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory

from hw.config import CoreConfig, log2
from hw.delay import delayed
from hw.issue import issue_members, keep_apart, steal
from hw.nonzero import Nonzero
from hw.prefetch import Prefetch, visit_shape
from hw.scanner import Scanner


class SkipIssue(wiring.Component):
    """What `hw.issue.Issue` is to cores that take every row: the same members, the same passes.

    Lanes run at their own pace through the rows whose masks show a byte that is not zero, and meet
    at the last row of every patch buffer (SparTen joins masks so; Cnvlutin lets lanes meet so).
    Without ``d.skip`` they take every row, all lanes the same.

    Behaviour
    ---------
    A visit of a buffer takes as many cycles as the busiest lane has rows, at least one, and at
    least as `hw.prefetch.Prefetch` needs to read its windows. A lane that has no row to issue
    gives the multipliers a zero.
    """

    DEPTH = 16       # visits whose windows are in the queues, one for each of these at most

    def __init__(self, config: CoreConfig, index: int, spacing_bits: int):
        self.config, self.index = config, index
        super().__init__(issue_members(config, spacing_bits))

    def elaborate(self, platform):
        m = Module()
        d, config = self.d, self.config
        m.submodules.nonzero = nonzero = Nonzero(config)
        m.submodules.prefetch = prefetch = Prefetch(config, self.index)
        lanes = [Scanner(config) for _ in range(config.L)]
        m.d.comb += [
            nonzero.patch.eq(self.patch), nonzero.zero.eq(d.offset),
            nonzero.buffer.eq(prefetch.buffer), nonzero.window.eq(prefetch.window),
            prefetch.d.eq(d), prefetch.start.eq(self.start), prefetch.clear.eq(self.clear),
            prefetch.patch.eq(nonzero.o), prefetch.taken.eq(self.taken),
            prefetch.full.eq(Cat(lane.full for lane in lanes).any()),
            self.free.eq(prefetch.free), self.error_address.eq(prefetch.error_address),
            self.error_patch.eq(prefetch.error_patch),
        ]
        self._windows(m, nonzero, prefetch, lanes)
        # The visit that the lanes are at.
        m.submodules.visits = visits = Memory(shape=visit_shape(config), depth=self.DEPTH, init=[])
        write, read = visits.write_port(), visits.read_port(domain="comb")
        visit, finish = read.data, Signal()
        m.d.comb += [write.en.eq(prefetch.visit_valid), write.data.eq(prefetch.visit),
                     prefetch.done.eq(finish), prefetch.visited.eq(visit)]
        m.d.sync += [write.addr.eq(write.addr + prefetch.visit_valid),
                     read.addr.eq(read.addr + finish)]
        # Lanes wait at their last row for the others, and with a pass's last for the drain.
        wait, held, first = Signal(len(self.spacing)), Signal(), Signal(init=1)
        met, pass_end, any_step = Signal(), Signal(), Signal()
        stolen = steal(m, config, self.pause, any_step)
        steps = [lane.valid & ~stolen & (~lane.last | finish) for lane in lanes]
        m.d.comb += [
            met.eq(Cat(lane.valid & lane.last for lane in lanes).all()),
            finish.eq(met & ~stolen & ~(visit.ends & held)), pass_end.eq(finish & visit.ends),
            any_step.eq(Cat(steps).any()),
        ]
        for lane, step in zip(lanes, steps, strict=True):
            m.d.comb += [lane.step.eq(step), lane.clear.eq(self.clear)]
        keep_apart(m, pass_end, self.spacing, wait, held)
        with m.If(pass_end):
            m.d.sync += first.eq(1)
        with m.Elif(any_step & (lanes[0].row >= visit.ahead)):
            m.d.sync += first.eq(0)
        part = delayed(m, visit.part, config.pipelined)
        m.d.sync += [
            self.o.valid.eq(any_step & ~self.clear), self.o.first.eq(first),
            self.o.last.eq(pass_end), self.o.buffer.eq(visit.buffer), self.o.part.eq(part),
            self.feed_stall.eq(~any_step & ~met), self.drain_stall.eq(~any_step & met)]
        for index, (lane, step) in enumerate(zip(lanes, steps, strict=True)):
            m.d.sync += [
                self.o.lanes[index].eq(step & lane.some), self.o.rows[index].eq(lane.row),
                self.o.weights[index].eq(visit.base + Mux(d.hold, 0, lane.row))]
        with m.If(self.clear):
            m.d.sync += [write.addr.eq(0), read.addr.eq(0), first.eq(1), held.eq(0), wait.eq(0)]
        return m

    def _windows(self, m, nonzero, prefetch, lanes):
        """Masks on their way from memory to the queues, cut behind the buffer's last row."""
        config = self.config
        rows = config.window_rows
        tail = Signal(rows)
        below = prefetch.rows[:log2(rows)]
        m.d.sync += tail.eq(Mux(prefetch.end & below.any(), (1 << below) - 1, ~0))
        latency = config.ram_latency
        cut = delayed(m, tail, latency - 1)
        valid = delayed(m, prefetch.valid & ~self.clear, latency + 1)
        number = delayed(m, Cat(prefetch.window, prefetch.end), latency + 1)
        for index, lane in enumerate(lanes):
            m.submodules[f"lane{index}"] = lane
            mask = Signal(rows, name=f"mask{index}")
            m.d.sync += mask.eq((nonzero.masks[index] | ~self.d.skip.replicate(rows)) & cut)
            m.d.comb += [lane.i_valid.eq(valid), lane.i.mask.eq(mask),
                         lane.i.number.eq(number[:-1]), lane.i.end.eq(number[-1])]
