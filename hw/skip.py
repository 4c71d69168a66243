"""Issues the rows that are not zero: every lane its own, together only at the end of a patch."""

from amaranth import Cat, Const, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In

from hw.config import CoreConfig, log2
from hw.delay import delayed
from hw.issue import issue_members, keep_apart, steal
from hw.masks import RowMasks, mask_write
from hw.nonzero import Nonzero
from hw.prefetch import Prefetch, visit_shape
from hw.scanner import Scanner


class SkipIssue(wiring.Component):
    """What `hw.issue.Issue` is to cores that do not scan: the same members, the same passes.

    Lanes run at their own pace through the rows whose masks show a byte that is not zero, and meet
    at the last row of every patch buffer (SparTen joins masks so; Cnvlutin lets lanes meet so).
    With ``d.packed`` they pass over weight rows that are not stored, too. Without both they take
    every row, all lanes the same.

    Members
    -------
    masks : In(mask_write)
        Where config.row_masks.

    Behaviour
    ---------
    A visit of a buffer takes as many cycles as the busiest lane has rows, at least one, and at
    least as `hw.prefetch.Prefetch` needs to read its windows. A lane that has no row to issue
    gives the multipliers a zero.
    """

    DEPTH = 16       # visits whose windows are in the queues, one for each of these at most

    def __init__(self, config: CoreConfig, index: int, spacing_bits: int):
        self.config, self.index = config, index
        masks = {"masks": In(mask_write(config))} if config.row_masks else {}
        super().__init__(issue_members(config, spacing_bits) | masks)

    def elaborate(self, platform):
        m = Module()
        d, config = self.d, self.config
        m.submodules.nonzero = nonzero = Nonzero(config)
        m.submodules.prefetch = prefetch = Prefetch(config, self.index)
        lanes = [Scanner(config) for _ in range(config.L)]
        m.d.comb += [
            nonzero.patch.eq(self.patch), nonzero.zero.eq(d.offset), nonzero.all.eq(~d.skip),
            nonzero.buffer.eq(prefetch.buffer), nonzero.window.eq(prefetch.window),
            prefetch.d.eq(d), prefetch.start.eq(self.start), prefetch.clear.eq(self.clear),
            prefetch.patch.eq(nonzero.o), prefetch.taken.eq(self.taken),
            prefetch.full.eq(Cat(lane.full for lane in lanes).any()),
            self.free.eq(prefetch.free), self.error_patch.eq(prefetch.error_patch),
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
        with m.If(self.start):
            m.d.sync += first.eq(~d.resume)
        part = delayed(m, visit.part, config.pipelined)
        m.d.sync += [
            self.o.valid.eq(any_step & ~self.clear), self.o.first.eq(first),
            self.o.last.eq(pass_end), self.o.buffer.eq(visit.buffer), self.o.part.eq(part),
            self.feed_stall.eq(~any_step & ~met), self.drain_stall.eq(~any_step & met)]
        for index, (lane, step) in enumerate(zip(lanes, steps, strict=True)):
            m.d.sync += [
                self.o.lanes[index].eq(step & lane.some), self.o.rows[index].eq(lane.row)]
        beyond = self._counted(m, lanes) if config.row_masks else self._based(m, lanes, visit)
        m.d.comb += self.error_address.eq(prefetch.error_address | beyond)
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
        stored = self._stored(m, prefetch, lanes) if config.row_masks else [~0] * config.L
        for index, lane in enumerate(lanes):
            m.submodules[f"lane{index}"] = lane
            mask = Signal(rows, name=f"mask{index}")
            m.d.sync += mask.eq(nonzero.masks[index] & cut & stored[index])
            m.d.comb += [lane.i_valid.eq(valid), lane.i.mask.eq(mask),
                         lane.i.number.eq(number[:-1]), lane.i.end.eq(number[-1])]

    def _stored(self, m, prefetch, lanes):
        """Rows of the windows that have weights, and where these are: with the other masks."""
        d, config = self.d, self.config
        m.submodules.masks = masks = RowMasks(config)
        m.d.comb += [masks.w.eq(self.masks), masks.addr.eq(prefetch.place)]
        place, found = delayed(m, prefetch.place, config.ram_latency), []
        for word, lane in zip(masks.o, lanes, strict=True):
            stored = Mux(d.packed, word.mask, Const(-1, config.window_rows))
            # Beyond all banks by however much: one bit says so.
            base = Cat(word.base[:len(place) - 1], word.base[len(place) - 1:].any())
            m.d.sync += [lane.i.stored.eq(stored), lane.i.base.eq(Mux(d.packed, base, place))]
            found.append(stored)
        return found

    def _based(self, m, lanes, visit):
        """Weight rows lie as the patch rows do."""
        for weight, lane in zip(self.o.weights, lanes, strict=True):
            m.d.sync += weight.eq(visit.base + Mux(self.d.hold, 0, lane.row))
        return 0

    def _counted(self, m, lanes):
        """Weight rows: so many stored ones behind their window's first. Whether one is missing."""
        config = self.config
        valid, wrong = delayed(m, self.o.valid & self.d.packed, 1), []
        for index, lane in enumerate(lanes):
            count = Signal(range(config.window_rows), name=f"count{index}")
            weight = Signal(config.weight_addr_bits + 2, name=f"weight{index}")
            m.d.sync += [count.eq(Mux(self.d.hold, 0, sum(lane.below))),
                         weight.eq(delayed(m, lane.base, 1) + count)]
            m.d.comb += self.o.weights[index].eq(weight)
            wrong.append(delayed(m, self.o.lanes[index], 1) & (weight >= config.weight_rows))
        return valid & Cat(wrong).any()
