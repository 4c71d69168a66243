"""Drains psums behind the next pass: shadow registers, requantizers, additions, output."""

from amaranth import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.beats import BeatCounter
from hw.cells.ram import Ram1R1W
from hw.config import CoreConfig, log2
from hw.delay import delayed
from hw.descriptor import order_shape
from hw.issue import Issue
from hw.layout import Opcode
from hw.offsets import OutputWalk
from hw.params import PARAM_SHAPE, ParamMemory
from hw.ports import read_client, write_client
from hw.requant import Requantizer
from hw.residual import ResidualReader
from hw.second import Firsts, SecondQueues, SecondRegisters
from hw.writer import ByteWriter, Writer


class Drain(wiring.Component):
    """From the psums of a pass to its line in the activation memory.

    Round 1 requantizes C psums, ``requant_units`` a beat. With ``add``, the bytes wait for the
    last of them; round 2 adds the residual and requantizes the sums. ADD and MAX have round 2 only.
    Where ``config.overlaps``, several passes are between their rounds, and round 1 goes first.

    Members
    -------
    d : In(order_shape(config)), start, clear : In(1)
    early : In(1)
        A pass's psums will be final in ``lead(config)`` cycles.
    psums : In(array of C int32)
    row_valid, row_first, row_last : In(1), row : In(C int8)
        Rows of the passes of MAX.
    param_addr : Out, params : In(array of PARAM_SHAPE)
    t_en : In(1), t_addr : In(8), t_data : In(32)
        Writes of the table.
    r : Out(read_client), w : Out(write_client)
    idle, written : Out(1)
        Every pass of the descriptor is where nothing can keep it: it will be in the memory before
        the feeder or the residual reader, started by what follows ``idle`` in the core, reads. And:
        it is there. ``d`` may change from the third cycle after ``idle`` on.

    Behaviour
    ---------
    Takes a pass every ``cycles(config, d.spare)`` cycles, every ``add_cycles(config)`` with
    ``add``; the issuer keeps passes that far apart, so nothing here ever stalls.
    """

    def __init__(self, config: CoreConfig, index: int):
        self.config, self.index = config, index
        super().__init__({
            "d": In(order_shape(config)), "start": In(1), "clear": In(1), "early": In(1),
            "psums": In(data.ArrayLayout(signed(config.acc_width), config.C)),
            "row_valid": In(1), "row_first": In(1), "row_last": In(1),
            "row": In(data.ArrayLayout(signed(8), config.C)),
            "param_addr": Out(config.param_addr_bits),
            "params": In(data.ArrayLayout(PARAM_SHAPE, config.requant_units)),
            "t_en": In(1), "t_addr": In(8), "t_data": In(32),
            "r": Out(read_client(config)), "w": Out(write_client(config)),
            "idle": Out(1), "written": Out(1)})

    @staticmethod
    def cycles(config: CoreConfig, spare: int = 0) -> int:
        """Cycles that a pass of which so many beats are left out occupies the drain."""
        return (config.beats - spare) * config.beat_cycles

    @staticmethod
    def lead(config: CoreConfig) -> int:
        """Cycles from the fetch of a beat's parameters, table entries and psums to their use."""
        return ParamMemory.latency(config) + config.pipelined

    @staticmethod
    def behind(config: CoreConfig) -> int:
        """Cycles from the last beat's fetch to its byte."""
        return Drain.lead(config) + Requantizer.latency(config)

    @staticmethod
    def ahead(config: CoreConfig, sums: bool = False) -> int:
        """Cycles from ``idle`` to ``written``, with ``add`` or without.

        The core launches the next descriptor two cycles after ``idle``, and 7 later it reads the
        first line that it computes with; a write may wait a cycle for another cluster's.
        """
        return min(7 + (config.P <= config.F), Drain.behind(config)) * (
            config.pipelined and not sums)

    @staticmethod
    def add_cycles(config: CoreConfig) -> int:
        """Cycles that a pass with a residual occupies the drain: two rounds and the way between.

        Nobody waits for the way where passes overlap.
        """
        if config.overlaps:
            return 2 * Drain.cycles(config)
        between = config.ram_latency + Requantizer.latency(config) + 2
        between -= config.beat_cycles * (Drain.pending(config) + 1)
        return 2 * Drain.cycles(config) + 1 + between

    @staticmethod
    def pending(config: CoreConfig) -> int:
        """Beats of the first round whose bytes come during the second, where none overlap."""
        slow = config.beat_cycles > 1 and not config.overlaps
        behind = Drain.behind(config) + 2             # the last beat's fetch
        return max(0, min(config.beats, behind // config.beat_cycles) - 1) if slow else 0

    def elaborate(self, platform):
        m = Module()
        d, config = self.d, self.config
        late = self._late(m)
        m.submodules.walk = walk = OutputWalk(config, self.index)
        m.submodules.beats = beats = BeatCounter(config)
        m.submodules.residual = residual = ResidualReader(config)
        writer = (ByteWriter(config) if config.byte_writes
                  else Writer(config, self.writer_depth(config)))
        m.submodules.writer = writer
        wiring.connect(m, residual.r, wiring.flipped(self.r))
        wiring.connect(m, writer.w, wiring.flipped(self.w))

        if not config.byte_writes:
            m.d.comb += [writer.final.eq(self._final(late)), writer.twin.eq(late.twin)]
        # Which round runs: 1 from the psums, 2 from bytes and residual.
        is_conv_add, alone = Signal(), Signal()
        stage = m.d.sync if config.pipelined else m.d.comb     # they are the same all the time
        stage += [is_conv_add.eq((d.op == Opcode.CONV) & d.add),
                  alone.eq((d.op == Opcode.ADD) | d.is_max)]
        operands = (SecondQueues(config) if config.overlaps
                    else SecondRegisters(config, self.pending(config)))
        m.submodules.operands = operands
        second, want_first, waits = Signal(), Signal(), Signal()
        m.d.comb += [
            want_first.eq((self.early & ~alone) | waits), beats.clear.eq(self.clear),
            beats.final.eq(self._final(d)),
            beats.start.eq(beats.free & (want_first | operands.ready)),
        ]
        m.d.sync += waits.eq(want_first & ~beats.free & ~self.clear)
        with m.If(beats.start):
            m.d.sync += second.eq(~want_first)
        final = Signal()                 # what a pass needs of the walk is used
        m.d.comb += [
            final.eq(beats.last & (alone | ~second if config.overlaps else second | ~is_conv_add)),
            walk.d.eq(d), walk.start.eq(self.start), walk.step.eq(final),
            walk.clear.eq(self.clear),
            writer.push.eq(final), writer.addr.eq(d.out_base + walk.offset),
            writer.part.eq(walk.part), writer.clear.eq(self.clear),
            residual.d.eq(d), residual.offset.eq(walk.offset), residual.part.eq(walk.part),
            residual.clear.eq(self.clear),
            residual.start.eq(delayed(m, self.early & is_conv_add, 2)),  # offset has settled
            residual.pairs.eq((d.op == Opcode.ADD) & ~walk.finished),
            residual.paired.eq(final),
        ]
        with m.If(beats.fetch):
            group = Mux(second, d.add_param, d.param_base + Mux(d.uniform, 0, walk.group))
            stage += self.param_addr.eq(Cat(beats.beat[:log2(config.beats)], group)
                                           if config.beats > 1 else group)
        m.submodules.firsts = firsts = Firsts(config)
        m.d.comb += [
            firsts.row.eq(self.row), firsts.row_valid.eq(self.row_valid),
            firsts.row_first.eq(self.row_first), firsts.row_last.eq(self.row_last),
            firsts.bytes.eq(residual.bytes), firsts.bytes_valid.eq(residual.first_valid),
            operands.first_valid.eq(firsts.o_valid), operands.first.eq(firsts.o),
            operands.second_valid.eq(residual.second_valid), operands.second.eq(residual.bytes),
            operands.lone.eq(d.is_max), operands.pair.eq(d.op == Opcode.ADD),
            operands.take.eq(beats.fetch & second), operands.clear.eq(self.clear),
            operands.beat.eq(beats.beat), operands.last.eq(beats.last),
        ]
        self._requantize(m, beats, operands, writer, second, late)
        m.d.comb += [self.written.eq(walk.finished & writer.idle), self.idle.eq(self.written)]
        if ahead := self.ahead(config):
            # Of the cycles from here to `written`, behind + 1, the last ones are not waited for.
            since = Signal(self.behind(config) + 1 - ahead)
            m.d.sync += since.eq(Mux(self.start, 0, Cat(walk.finished, since)))
            m.d.comb += self.idle.eq(Mux(is_conv_add, self.written, walk.finished & since[-1]))
        return m

    def _final(self, d):
        """The number of a round's last beat."""
        return ~d.spare if self.config.short_drains else Const(self.config.beats - 1)

    def _late(self, m):
        """The descriptor as the requantizers' end has it, which the next one overtakes."""
        if not self.config.pipelined:
            return self.d
        late = Signal.like(self.d)
        with m.If(delayed(m, self.start, self.behind(self.config))):
            m.d.sync += late.eq(self.d)
        return late

    @staticmethod
    def writer_depth(config: CoreConfig) -> int:
        """Passes that the writer was told of and whose last byte has not come."""
        on_their_way = Drain.behind(config)
        shortest = Drain.cycles(config)
        if config.short_drains:
            shortest = min(shortest, Issue.apart(config, Drain.cycles(config, config.beats - 2)))
        # Where passes overlap, through both rounds and waiting for the second.
        return on_their_way // shortest + (4 if config.overlaps else 1)

    def _requantize(self, m, beats, operands, writer, second, late):
        """Feed the requantizers from shadow or sums; route their bytes to round 2 or the writer."""
        d, config, units = self.d, self.config, self.config.requant_units
        stage = m.d.sync if config.pipelined else m.d.comb
        latency = self.lead(config)
        fire, is_second = delayed(m, beats.fetch, latency), delayed(m, second, latency)
        shadow = Signal(config.acc_width * config.C)
        with m.If(delayed(m, self.early, latency)):
            m.d.sync += shadow.eq(self.psums)
        with m.Elif(fire & ~is_second):
            m.d.sync += shadow.eq(shadow >> config.acc_width * units)
        outputs, o_valid, o_second = Signal(8 * units), Signal(), Signal()
        keep = o_valid & (late.op == Opcode.CONV) & late.add & ~o_second
        m.d.comb += [operands.keep.eq(keep), operands.kept.eq(outputs)]

        for unit in range(units):
            m.submodules[f"requant{unit}"] = requant = Requantizer(config)
            m.submodules[f"table{unit}"] = table = Ram1R1W(config.memory, 32, config.table_depth)
            a, b = (delayed(m, operand.word_select(unit, 8), config.pipelined)
                    for operand in (operands.a, operands.b))
            is_max, no_table = d.is_max, Signal(name=f"no_table{unit}")
            stage += no_table.eq(is_max & ~d.table_first)
            looked_up, other = Signal(8, name=f"looked_up{unit}"), Signal(8, name=f"other{unit}")
            stage += [looked_up.eq(Mux(d.table_first, a, b)),
                      other.eq(Mux(d.table_first & ~is_max, b, a))]
            difference = Signal(signed(9), name=f"difference{unit}")
            m.d.sync += difference.eq(other.as_signed() - d.z_other)
            difference = delayed(m, difference, latency - 2 * config.pipelined - 1)
            m.d.comb += [
                table.w_en.eq(self.t_en), table.w_addr.eq(self.t_addr),
                table.w_data.eq(self.t_data),
                table.r_addr.eq(looked_up),
                requant.i_valid.eq(fire), requant.i.second.eq(is_second),
                requant.i.acc.eq(Mux(is_second, Mux(no_table, 0, table.r_data) + (difference << 19),
                                     shadow.word_select(unit, config.acc_width).as_signed())),
                requant.i.bias.eq(self.params[unit].bias),
                requant.i.multiplier.eq(self.params[unit].multiplier),
                requant.i.shift.eq(self.params[unit].shift),
                *(getattr(requant, name).eq(late[name]) for name in (
                    "zero_point", "low", "high", "add_zero_point", "add_low", "add_high")),
                outputs.word_select(unit, 8).eq(requant.o),
            ]
            if unit == 0:
                m.d.comb += [o_valid.eq(requant.o_valid), o_second.eq(requant.o_second)]
        m.d.comb += [writer.i.eq(outputs), writer.i_valid.eq(o_valid & ~keep)]
