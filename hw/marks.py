"""Which bytes of a patch multiply to zero: a mask a window and lane, each lane reads its own."""

from amaranth import Array, Cat, Module, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.cells.ram import Ram1R1W
from hw.config import CoreConfig, log2
from hw.packer import patch_write


class Marks(wiring.Component):
    """Looks at patch lines on their way to the patch buffers and keeps what it saw.

    For lanes that seek (`hw.seeker.Seeker`); those that scan have `hw.nonzero.Nonzero`.

    Members
    -------
    patch : In(patch_write)
    zero : In(signed 8), all : In(1)
        The byte that stands for zero; none does.
    addrs : In(array of L window addresses)
        Window and above it buffer that each lane reads.
    masks : Out(array of L x window_rows)
        Bit r: row r of the window is not zero; ``config.ram_latency`` cycles later. Undefined
        behind the buffer's last row.
    """

    def __init__(self, config: CoreConfig):
        self.config = config
        super().__init__({
            "patch": In(patch_write(config)), "zero": In(signed(8)), "all": In(1),
            "addrs": In(data.ArrayLayout(config.mark_addr_bits, config.L)),
            "masks": Out(data.ArrayLayout(config.window_rows, config.L))})

    def elaborate(self, platform):
        m = Module()
        config, patch = self.config, self.patch
        rows, lines = config.rows_per_line, config.window_lines
        marked = Signal(config.V)
        zero = self.zero.as_unsigned()
        m.d.comb += [marked[b].eq(self.all | (patch.line.word_select(b, 8) != zero))
                     for b in range(config.V)]
        for lane in range(config.L):
            ram = Ram1R1W(config.memory, config.window_rows, config.mask_depth)
            m.submodules[f"lane{lane}"] = ram
            fresh = Cat(marked[lane + config.L * row] for row in range(rows))
            # A window's lines come one after the other; each write holds all that are there.
            kept = Signal(config.window_rows - rows, name=f"kept{lane}")
            places = [Cat(kept[:rows * n], fresh.replicate(lines - n)) for n in range(lines)]
            seen = Signal(config.window_rows, name=f"seen{lane}")
            m.d.comb += seen.eq(Array(places)[patch.addr[:log2(lines)]] if lines > 1 else fresh)
            with m.If(patch.valid):
                m.d.sync += kept.eq(seen)
            m.d.comb += [
                ram.w_en.eq(patch.valid), ram.w_addr.eq(patch.addr >> log2(lines)),
                ram.w_data.eq(seen), ram.r_addr.eq(self.addrs[lane]),
                self.masks[lane].eq(ram.r_data)]
        return m
