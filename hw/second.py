"""What the drain's second round works on: the bytes of one tensor and those of the other."""

from amaranth import Cat, Module, Mux, ResetInserter, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import In, Out

from hw.config import CoreConfig

QUEUE_DEPTH = 16     # passes on their way: what a memory of LUTs holds


def second_members(config: CoreConfig) -> dict:
    """Members of both kinds."""
    unit_bits = 8 * config.requant_units
    return {
        "first_valid": In(1), "first": In(8 * config.C), "second_valid": In(1),
        "second": In(8 * config.C), "keep": In(1), "kept": In(unit_bits), "lone": In(1),
        "pair": In(1), "take": In(1), "last": In(1), "beat": In(range(config.beats)),
        "clear": In(1), "ready": Out(1), "a": Out(unit_bits), "b": Out(unit_bits)}


def collected(m: Module, config: CoreConfig, keep, clear, pending: int = 0):
    """Strobe after all but ``pending`` of the beats that ``keep`` announces; whether more come."""
    count, done = Signal(range(config.beats + 1)), Signal()
    with m.If(keep):
        m.d.sync += count.eq(Mux(count == config.beats - 1, 0, count + 1))
    with m.If(clear):
        m.d.sync += count.eq(0)
    m.d.sync += done.eq(keep & (count == config.beats - 1 - pending) & ~clear)
    return done, count.any()


class Firsts(wiring.Component):
    """First operands that no requantizer makes: maxima (MAX), or the first tensor's bytes (ADD).

    Members
    -------
    row_valid, row_first, row_last : In(1), row : In(array of C int8)
        Rows of a pass of MAX; its maxima follow the last.
    bytes_valid : In(1), bytes : In(8 * C)
        The first tensor's.
    o_valid : Out(1), o : Out(8 * C)
        A cycle later.
    """

    def __init__(self, config: CoreConfig):
        rows = data.ArrayLayout(signed(8), config.C)
        super().__init__({
            "row_valid": In(1), "row_first": In(1), "row_last": In(1), "row": In(rows),
            "bytes_valid": In(1), "bytes": In(8 * config.C), "o_valid": Out(1), "o": Out(rows)})

    def elaborate(self, platform):
        m = Module()
        m.d.sync += self.o_valid.eq(self.bytes_valid | self.row_last)
        for c, (byte, found) in enumerate(zip(self.row, self.o, strict=True)):
            with m.If(self.bytes_valid | (self.row_valid & (self.row_first | (byte > found)))):
                m.d.sync += found.eq(Mux(self.bytes_valid, self.bytes.word_select(c, 8), byte))
        return m


class SecondQueues(wiring.Component):
    """Operands of several passes in the order in which they come.

    Members
    -------
    first_valid : In(1), first : In(8 * C)
        See Firsts.
    second_valid : In(1), second : In(8 * C)
        The second tensor's bytes, in a later cycle than the first's arrived.
    keep : In(1), kept : In(8 * requant_units)
        A beat of the first round's bytes.
    lone, pair : In(1)
        There is no second tensor (MAX), there are two (ADD).
    take : In(1), last : In(1), beat : In
        A beat of the pass in hand is being taken; it is its last; its number, valid in advance.
    ready : Out(1)
        A pass's operands are there; not that which is being taken.
    a, b : Out(8 * requant_units)
        The beat's operands.
    clear : In(1)
    """

    def __init__(self, config: CoreConfig):
        self.config = config
        super().__init__(second_members(config))

    def elaborate(self, platform):
        m = Module()
        config, width, unit_bits = self.config, 8 * self.config.C, len(self.a)
        reset = ResetInserter(self.clear)
        m.submodules.firsts = firsts = reset(SyncFIFO(width=width, depth=QUEUE_DEPTH))
        m.submodules.seconds = seconds = reset(SyncFIFO(width=width, depth=QUEUE_DEPTH))
        collector, busy = Signal(width), Signal()
        with m.If(self.keep):
            m.d.sync += collector.eq(Cat(collector, self.kept)[unit_bits:])
        done, _ = collected(m, config, self.keep, self.clear)
        m.d.comb += [
            firsts.w_en.eq(done | self.first_valid),
            firsts.w_data.eq(Mux(self.first_valid, self.first, collector)),
            seconds.w_en.eq(self.second_valid), seconds.w_data.eq(self.second),
            firsts.r_en.eq(self.take & self.last),
            seconds.r_en.eq(self.take & self.last & ~self.lone),
            self.a.eq(firsts.r_data.word_select(self.beat, unit_bits)),
            self.b.eq(seconds.r_data.word_select(self.beat, unit_bits)),
            self.ready.eq((firsts.r_level > busy) & (self.lone | (seconds.r_level > busy))),
        ]
        with m.If(self.take):        # the beats between may be some cycles apart
            m.d.sync += busy.eq(~self.last)
        with m.If(self.clear):
            m.d.sync += busy.eq(0)
        return m


class SecondRegisters(wiring.Component):
    """Operands of one pass, consumed from the bottom: for drains that do one pass at a time.

    Parameters
    ----------
    config : CoreConfig
    pending : int
        Beats that may still come when the second round begins: one in each of its beats.

    Members
    -------
    As SecondQueues's; ``ready`` is high for a cycle, in which the second round begins.
    """

    def __init__(self, config: CoreConfig, pending: int):
        self.config, self.pending = config, pending
        super().__init__(second_members(config))

    def elaborate(self, platform):
        m = Module()
        unit_bits = len(self.a)
        first, second = Signal(8 * self.config.C), Signal(8 * self.config.C)
        done, more = collected(m, self.config, self.keep, self.clear, self.pending)
        with m.If(self.first_valid):
            m.d.sync += first.eq(self.first)
        with m.Elif(self.keep | (self.take & ~more)):    # once a beat
            m.d.sync += first.eq(Cat(first, self.kept)[unit_bits:])
        with m.If(self.second_valid):
            m.d.sync += second.eq(self.second)
        with m.Elif(self.take):
            m.d.sync += second.eq(second >> unit_bits)
        loaded = Signal()
        m.d.sync += loaded.eq(self.second_valid & self.pair & ~self.clear)
        m.d.comb += [self.ready.eq(done | (self.first_valid & self.lone) | loaded),
                     self.a.eq(first.word_select(
                         Mux(self.lone | self.pair, 0, self.pending), unit_bits)),
                     self.b.eq(second[:unit_bits])]
        return m
