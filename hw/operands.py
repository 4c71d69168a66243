"""From the lanes' patch lines to what the multipliers take."""

from amaranth import Array, Cat, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.cells.ram import Ram1R1W
from hw.columns import operand_shape
from hw.config import CoreConfig, log2
from hw.delay import delayed
from hw.issue import issue_shape
from hw.layout import STRIP_ROWS
from hw.packer import patch_write


class Operands(wiring.Component):
    """Patch memory of a cluster (all its buffers) and the selection of operands from its lines.

    Members
    -------
    patch : In(patch_write)
    issue : In(issue_shape)
    channel : In(1)
        Column c takes byte c of a line (CHANNEL) instead of all columns their lane's byte.
    start : In(1), delay : In(4)
        A layer begins; rows that a line takes from one lane to the next, less 1, where
        config.strips.
    offset : In(signed 8)
        Subtracted from the bytes of lanes, not from those of channels; narrow multipliers ignore
        it and add 128 to both.
    acts : Out(array of L x C operands)
        For every PE. Lanes from ``channel_lanes(config)`` on do not take part in CHANNEL.
    part : Out(C int8)
        The issued group's C bytes of the line (MAX), ``part_latency(config)`` cycles later.

    Behaviour
    ---------
    ``acts`` follow ``issue`` by ``latency(config)`` cycles, one row a cycle.
    """

    def __init__(self, config: CoreConfig):
        self.config = config
        columns = data.ArrayLayout(operand_shape(config), config.C)
        super().__init__({
            "patch": In(patch_write(config)), "issue": In(issue_shape(config)), "channel": In(1),
            "start": In(1), "delay": In(range(STRIP_ROWS)), "offset": In(signed(8)),
            "acts": Out(data.ArrayLayout(columns, config.L)),
            "part": Out(data.ArrayLayout(signed(8), config.C))})

    @staticmethod
    def channel_lanes(config: CoreConfig) -> int:
        """Lanes that take part in CHANNEL."""
        return config.L if config.strips else 1

    @staticmethod
    def latency(config: CoreConfig) -> int:
        """Cycles from an issued row to its operands."""
        return Operands.part_latency(config) + 2 * config.pipelined

    @staticmethod
    def part_latency(config: CoreConfig) -> int:
        """Cycles from an issued row to ``part``."""
        return config.ram_latency + 2 * config.pipelined

    def elaborate(self, platform):
        m = Module()
        config = self.config
        per_line, lane_bits = config.rows_per_line, log2(config.rows_per_line)
        read = config.ram_latency + config.pipelined          # from an issued row to its line
        select = delayed(m, Cat(row[:lane_bits] for row in self.issue.rows), read)
        used = delayed(m, self.issue.lanes, read + config.pipelined)
        part = delayed(m, self.issue.part, read - config.pipelined)
        line, slots = Signal(data.ArrayLayout(8, config.V)), []
        for lane in range(config.L):
            ram = Ram1R1W(config.memory, 8 * per_line, config.patch_depth)
            m.submodules[f"patch{lane}"] = ram
            row = self.issue.rows[lane]
            address = Mux(self.channel, row, row >> lane_bits)[:config.patch_addr_bits]
            m.d.comb += [
                ram.w_en.eq(self.patch.valid), ram.w_addr.eq(self.patch.addr),
                ram.w_data.eq(Cat(self.patch.line.word_select(lane + config.L * r, 8)
                                  for r in range(per_line))),
                ram.r_addr.eq(delayed(m, Cat(address, self.issue.buffer), config.pipelined)),
            ]
            for r in range(per_line):
                m.d.comb += line[lane + config.L * r].eq(ram.r_data.word_select(r, 8))
            slots.append(ram.r_data)
        parts = Array(Cat(line[config.C * g + c] for c in range(config.C))
                      for g in range(config.groups_per_line))
        stage = m.d.sync if config.pipelined else m.d.comb
        stage += self.part.as_value().eq(parts[part] if len(parts) > 1 else parts[0])
        lines = [self.part.as_value()]
        if config.strips:
            lines += self._delays(m)
        for lane, acts in enumerate(self.acts):
            byte = Signal(signed(8), name=f"byte{lane}")
            shared = Signal(operand_shape(config), name=f"shared{lane}")
            chosen = select.word_select(lane, lane_bits) if lane_bits else 0
            takes = used[lane] if config.skips else 1
            stage += [byte.eq(slots[lane].word_select(chosen, 8)),
                      shared.eq(Mux(takes, self._operand(byte, self.offset), 0))]
            if lane >= len(lines):
                stage += [act.eq(shared) for act in acts]
                continue
            own = Signal(data.ArrayLayout(signed(8), config.C), name=f"own{lane}")
            stage += own.eq(lines[lane])
            stage += [act.eq(Mux(self.channel, self._operand(byte, 0), shared))
                      for act, byte in zip(acts, own, strict=True)]
        return m

    def _operand(self, byte, offset):
        """What a multiplier takes for a byte."""
        return Cat(byte[:7], ~byte[7]) if self.config.narrow else byte - offset

    def _delays(self, m):
        """The part as the lanes behind lane 0 see it: each ``delay + 1`` rows after the one before.

        Every row goes into the first ring in the place of that which leaves it for the second ...
        """
        valid = delayed(m, self.issue.valid & self.channel, self.part_latency(self.config))
        line = self.part.as_value()
        for n in range(self.channel_lanes(self.config) - 1):
            # A slot for each ring, as one net to all is slow: initial values keep them apart.
            slot = Signal(range(STRIP_ROWS), init=n, name=f"slot{n}")
            with m.If(self.start):
                m.d.sync += slot.eq(0)
            with m.Elif(valid):
                m.d.sync += slot.eq(Mux(slot == self.delay, 0, slot + 1))
            ring = Memory(shape=len(line), depth=STRIP_ROWS, init=[])
            m.submodules[f"ring{n}"] = ring
            write, read = ring.write_port(), ring.read_port(domain="comb")
            m.d.comb += [write.en.eq(valid), write.addr.eq(slot), write.data.eq(line),
                         read.addr.eq(slot)]
            line = read.data
            yield line
