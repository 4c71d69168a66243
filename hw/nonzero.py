"""Which bytes of a patch are not the zero point: bit masks of windows of rows, lane by lane."""

from amaranth import Array, Cat, Module, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.cells.ram import Ram1R1W
from hw.config import CoreConfig, log2
from hw.delay import delayed
from hw.packer import patch_write


class Nonzero(wiring.Component):
    """Compares the bytes of patch lines on their way to the patch buffers and keeps the verdicts.

    Members
    -------
    patch : In(patch_write)
    zero : In(signed 8), all : In(1)
        The byte that stands for zero; none does.
    o : Out(patch_write)
        The same, ``LATENCY`` cycles later; ``READABLE`` cycles after it the masks of its rows can
        be read.
    buffer, window : In
        What is read: masks of a buffer's rows ``window * window_rows`` on.
    masks : Out(array of L x window_rows)
        Bit r of lane l: row r of the window is not zero; ``config.ram_latency`` cycles later.
        Undefined behind the buffer's last row.
    """

    LATENCY = 1      # verdicts
    READABLE = 2     # window, memory

    def __init__(self, config: CoreConfig):
        self.config = config
        super().__init__({
            "patch": In(patch_write(config)), "zero": In(signed(8)), "all": In(1),
            "o": Out(patch_write(config)),
            "buffer": In(config.buffer_bits), "window": In(config.window_bits),
            "masks": Out(data.ArrayLayout(config.window_rows, config.L))})

    def elaborate(self, platform):
        m = Module()
        config = self.config
        rows, lines = config.rows_per_line, config.window_lines
        ram = Ram1R1W(config.memory, config.L * config.window_rows, config.mask_depth)
        m.submodules.ram = ram
        verdicts = Signal(config.V)
        zero = self.zero.as_unsigned()
        m.d.sync += [verdicts[b].eq(self.all | (self.patch.line.word_select(b, 8) != zero))
                     for b in range(config.V)]
        later = delayed(m, self.patch.as_value(), self.LATENCY)
        patch = data.View(patch_write(config), later)
        # A window's lines come one after the other; each write holds all that are there.
        address = patch.addr // lines
        position = patch.addr % lines
        for lane in range(config.L):
            kept = Signal(config.window_rows, name=f"kept{lane}")
            fresh = Cat(verdicts[lane + config.L * row] for row in range(rows))
            places = [Cat(kept[:rows * n], fresh) for n in range(lines)]
            with m.If(patch.valid):
                m.d.sync += kept.eq(Array(places)[position] if lines > 1 else places[0])
            m.d.comb += [ram.w_data.word_select(lane, config.window_rows).eq(kept),
                         self.masks[lane].eq(ram.r_data.word_select(lane, config.window_rows))]
        m.d.sync += [ram.w_en.eq(patch.valid), ram.w_addr.eq(address)]
        m.d.comb += [ram.r_addr.eq(Cat(self.window[:log2(config.windows)], self.buffer)),
                     self.o.eq(later)]
        return m

