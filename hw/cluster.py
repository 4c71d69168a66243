"""One cluster: feeder, lanes, columns and drain, working on its own pixels or groups."""

from amaranth import Array, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.columns import ColumnPair
from hw.config import CoreConfig, bits_for
from hw.delay import delayed
from hw.descriptor import order_shape
from hw.drain import Drain
from hw.feeder import Feeder
from hw.issue import Issue
from hw.masks import mask_write
from hw.operands import Operands
from hw.params import PARAM_SHAPE
from hw.ports import read_client, write_client
from hw.skip import SkipIssue
from hw.weights import WeightBanks


class Cluster(wiring.Component):
    """Computes its share of a descriptor, from activation memory to activation memory.

    Members
    -------
    d : In(order_shape(config)), start, clear : In(1)
        ``d`` is constant from ``start`` until two cycles after ``idle``; ``clear`` ends everything
        at once.
    feed, residual : Out(read_client), w : Out(write_client)
    weight_addrs : Out(array of L row addresses), weights : In(array of L rows of C int8)
        Rows arrive ``WeightBanks.latency`` cycles after their addresses.
    param_addr : Out, params : In(array of PARAM_SHAPE)
    t_en, t_addr, t_data : In
        Writes of the table.
    masks : In(mask_write)
        Writes of the row masks, where config.row_masks.
    pause : In(1)
        See `hw.issue.Issue`.
    idle, written : Out(1)
        See `hw.drain.Drain`.
    issued : Out(range(L + 1)), feed_stall, drain_stall : Out(1)
        What the lanes do this cycle, for the counters: how many issue a row.
    error_address, error_patch : Out(1)
    """

    def __init__(self, config: CoreConfig, index: int):
        self.config, self.index = config, index
        row = data.ArrayLayout(signed(config.weight_width), config.C)
        super().__init__({
            "d": In(order_shape(config)), "start": In(1), "clear": In(1),
            "feed": Out(read_client(config)), "residual": Out(read_client(config)),
            "w": Out(write_client(config)),
            "weight_addrs": Out(data.ArrayLayout(config.weight_addr_bits, config.L)),
            "weights": In(data.ArrayLayout(row, config.L)),
            "param_addr": Out(config.param_addr_bits),
            "params": In(data.ArrayLayout(PARAM_SHAPE, config.requant_units)),
            "t_en": In(1), "t_addr": In(8), "t_data": In(32), "pause": In(1),
            "idle": Out(1), "written": Out(1),
            "issued": Out(range(config.L + 1)), "feed_stall": Out(1), "drain_stall": Out(1),
            "error_address": Out(1), "error_patch": Out(1)}
            | ({"masks": In(mask_write(config))} if config.row_masks else {}))

    @staticmethod
    def weights_after(config: CoreConfig) -> int:
        """Cycles from an issued row to the addresses of its weights."""
        return Operands.latency(config) - WeightBanks.latency(config)

    def elaborate(self, platform):
        m = Module()
        d, config = self.d, self.config
        longest = Issue.apart(config, Drain.add_cycles(config))
        m.submodules.feeder = feeder = Feeder(config, self.index)
        m.submodules.issue = issue = (SkipIssue if config.scans else Issue)(
            config, self.index, bits_for(longest + 1))
        m.submodules.operands = operands = Operands(config)
        m.submodules.drain = drain = Drain(config, self.index)
        wiring.connect(m, feeder.r, wiring.flipped(self.feed))
        wiring.connect(m, drain.r, wiring.flipped(self.residual))
        wiring.connect(m, drain.w, wiring.flipped(self.w))
        begin = Signal()
        m.d.comb += [
            begin.eq(self.start & d.is_array),
            feeder.d.eq(d), feeder.start.eq(begin), feeder.clear.eq(self.clear),
            feeder.free.eq(issue.free), issue.taken.eq(feeder.taken), issue.patch.eq(feeder.patch),
            issue.d.eq(d), issue.start.eq(begin), issue.clear.eq(self.clear),
            issue.pause.eq(self.pause),
            issue.spacing.eq(self._spacing(m, longest)),
            operands.patch.eq(feeder.patch), operands.issue.eq(issue.o),
            operands.offset.eq(d.offset), operands.start.eq(begin),
            operands.delay.eq(d.kernel_h - 1),
            drain.d.eq(d), drain.start.eq(self.start), drain.clear.eq(self.clear),
            drain.params.eq(self.params), self.param_addr.eq(drain.param_addr),
            drain.t_en.eq(self.t_en), drain.t_addr.eq(self.t_addr), drain.t_data.eq(self.t_data),
            self.idle.eq(drain.idle), self.written.eq(drain.written),
            self.issued.eq(sum(issue.o.lanes)),
            self.feed_stall.eq(issue.feed_stall & ~drain.idle),
            self.drain_stall.eq(issue.drain_stall),
            self.error_address.eq(issue.error_address), self.error_patch.eq(issue.error_patch),
        ]
        if config.row_masks:
            m.d.comb += issue.masks.eq(self.masks)
        stage = m.d.sync if config.pipelined else m.d.comb
        stage += operands.channel.eq(d.by_channel)
        self._array(m, issue.o, operands, drain)
        self._maximum(m, issue.o, operands, drain)
        return m

    def _spacing(self, m, longest):
        """Cycles between two passes of the descriptor."""
        d, config = self.d, self.config
        if not config.short_drains:
            return Mux(d.add, longest, Issue.apart(config, Drain.cycles(config)))
        spacing = Signal(range(longest + 1))
        stage = m.d.sync if config.pipelined else m.d.comb     # it is the same all the time
        stage += spacing.eq(Mux(d.add, longest, Array(
            Issue.apart(config, Drain.cycles(config, spare)) for spare in range(config.beats)
        )[d.spare]))
        return spacing

    def _array(self, m, issued, operands, drain):
        """Weights and operands to the columns, psums and their announcement to the drain."""
        config, is_max = self.config, self.d.is_max
        latency = Operands.latency(config)
        valid = delayed(m, issued.valid & ~is_max, latency)
        first = delayed(m, issued.first, latency)
        ahead = self.weights_after(config) - config.row_masks
        for lane in range(config.L):
            m.d.comb += self.weight_addrs[lane].eq(delayed(m, issued.weights[lane], ahead))
        for pair in range(config.C // 2):
            columns = ColumnPair(config, self._dsps(pair))
            m.submodules[f"columns{pair}"] = columns
            for lane in range(config.L):
                m.d.comb += [columns.weights0[lane].eq(self.weights[lane][2 * pair]),
                             columns.weights1[lane].eq(self.weights[lane][2 * pair + 1])]
                m.d.comb += [columns.acts0[lane].eq(operands.acts[lane][2 * pair]),
                             columns.acts1[lane].eq(operands.acts[lane][2 * pair + 1])]
            m.d.comb += [columns.valid.eq(valid), columns.first.eq(first),
                         drain.psums[2 * pair].eq(columns.psum0),
                         drain.psums[2 * pair + 1].eq(columns.psum1)]
        final = issued.valid & issued.last & ~is_max & ~self.clear
        early = latency + ColumnPair.latency(config) - Drain.lead(config)
        m.d.comb += drain.early.eq(delayed(m, final, early))

    def _dsps(self, pair: int) -> int:
        """MacPairs of this column pair that are DSP cells: mac_dsps spread pair by pair."""
        config = self.config
        if config.multiplier == "sb_mac16":
            return config.L
        before = (self.index * config.C // 2 + pair) * config.L
        return max(0, min(config.L, config.mac_dsps // 2 - before))

    def _maximum(self, m, issued, operands, drain):
        """Rows of MAX go to the drain as they are."""
        latency, is_max = Operands.part_latency(self.config), self.d.is_max
        m.d.comb += [drain.row.eq(operands.part),
                     drain.row_valid.eq(delayed(m, issued.valid & is_max, latency)),
                     drain.row_first.eq(delayed(m, issued.first, latency))]
        final = issued.valid & issued.last & is_max & ~self.clear
        m.d.comb += drain.row_last.eq(delayed(m, final, latency))
