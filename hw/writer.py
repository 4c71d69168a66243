"""Collects the bytes of a pass and writes them to the activation memory."""

from itertools import pairwise

from amaranth import Array, Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.config import CoreConfig, bits_for
from hw.ports import line_address_bits, write_client


def writer_members(config: CoreConfig) -> dict:
    """Members of both writers."""
    return {
        "push": In(1), "addr": In(line_address_bits(config)),
        "part": In(bits_for(config.groups_per_line)), "clear": In(1),
        "i_valid": In(1), "i": In(8 * config.requant_units),
        "w": Out(write_client(config)), "idle": Out(1)}


class ByteWriter(wiring.Component):
    """Writes every byte by itself, see ``CoreConfig.byte_writes``.

    Members
    -------
    As Writer's; ``addr`` and ``part`` are those of a pass when its first byte comes, which is
    before its ``push``.
    """

    def __init__(self, config: CoreConfig):
        self.config = config
        super().__init__(writer_members(config))

    def elaborate(self, platform):
        m = Module()
        config = self.config
        beat, waiting, latest = Signal(range(config.beats)), Signal(2), Signal(8)
        part = Signal.like(self.part)
        m.d.sync += waiting.eq(waiting + self.push - (self.i_valid & (beat == config.beats - 1)))
        with m.If(self.i_valid):
            m.d.sync += [beat.eq(beat + 1), self.w.valid.eq(1), latest.eq(self.i)]
            with m.If(beat == 0):
                m.d.sync += [self.w.addr.eq(self.addr), part.eq(self.part)]
            current = Mux(beat == 0, self.part, part)
            m.d.sync += self.w.mask.eq(Cat(
                (beat == byte % config.C) & (current == byte // config.C)
                for byte in range(config.V)))
        with m.Elif(self.w.ready):
            m.d.sync += self.w.valid.eq(0)
        m.d.comb += [self.idle.eq((waiting == 0) & ~self.w.valid),
                     self.w.data.eq(latest.replicate(config.V))]
        with m.If(self.clear):
            m.d.sync += [waiting.eq(0), beat.eq(0), self.w.valid.eq(0)]
        return m


class Writer(wiring.Component):
    """C bytes of a pass, a beat at a time, become one write of a line or a part of it.

    With ``twin`` each half of them becomes a line, one behind the other. Bytes whose beats are left
    out are those of an earlier pass.

    Parameters
    ----------
    config : CoreConfig
    depth : int
        Passes that may be on their way between ``push`` and their last byte.

    Members
    -------
    push : In(1), addr : In, part : In
        A pass will arrive: its line and which C bytes of it.
    i_valid : In(1), i : In(8 * requant_units), final : In
        A beat, channels in ascending order; the number of a pass's last one.
    twin : In(1)
        A pass is two pixels, where config.twins.
    w : Out(write_client)
    idle : Out(1)
        Nothing on its way.

    Behaviour
    ---------
    Never stalls its source: the write must be accepted before the next pass is complete, which the
    port's highest priority ensures.
    """

    def __init__(self, config: CoreConfig, depth: int):
        self.config, self.depth = config, depth
        super().__init__(writer_members(config) | {
            "final": In(range(config.beats)), "twin": In(int(config.twins))})

    def elaborate(self, platform):
        m = Module()
        config = self.config
        waiting = Signal(range(self.depth + 1))
        addrs = [Signal.like(self.addr, name=f"addr{i}") for i in range(self.depth)]
        parts = [Signal.like(self.part, name=f"part{i}") for i in range(self.depth)]
        with m.If(self.push):
            for queue, new in ((addrs, self.addr), (parts, self.part)):
                m.d.sync += [queue[0].eq(new)] + [b.eq(a) for a, b in pairwise(queue)]
        bytes_, beat = Signal(8 * config.C), Signal(range(config.beats))
        done, full, place = Signal(), Signal(), Signal.like(beat)      # the pass is, a line is
        m.d.comb += [done.eq(self.i_valid & (beat == self.final)), full.eq(done), place.eq(beat)]
        follows = self.twin & done if config.twins else 0               # another of the same pass
        if config.twins:
            half = config.beats // 2
            with m.If(self.twin):
                m.d.comb += [full.eq(self.i_valid & (beat % half == half - 1)),
                             place.eq(beat % half)]
        received = Signal.like(bytes_)
        m.d.comb += received.eq(bytes_)
        m.d.comb += received.word_select(place, len(self.i)).eq(self.i)
        with m.If(self.i_valid):
            m.d.sync += [bytes_.eq(received), beat.eq(Mux(done, 0, beat + 1))]
        m.d.sync += waiting.eq(waiting + self.push - done)
        oldest = waiting - 1
        part = Array(parts)[oldest] if self.depth > 1 else parts[0]
        first = Array(addrs)[oldest] if self.depth > 1 else addrs[0]
        with m.If(full):
            m.d.sync += [
                self.w.valid.eq(1),
                self.w.addr.eq(Mux(follows, self.w.addr + 1, first)),
                self.w.mask.eq(Cat(part == p for p in range(config.groups_per_line)
                                   for _ in range(config.C // 4))),
            ]
        with m.Elif(self.w.ready):
            m.d.sync += self.w.valid.eq(0)
        line = bytes_
        if config.P > config.F:      # another writer may go first: keep the line meanwhile
            line = Signal.like(bytes_)
            with m.If(done):
                m.d.sync += line.eq(received)
        m.d.comb += [self.w.data.eq(line.replicate(config.groups_per_line)),
                     self.idle.eq((waiting == 0) & ~self.w.valid)]
        with m.If(self.clear):
            m.d.sync += [waiting.eq(0), beat.eq(0), self.w.valid.eq(0)]
        return m
