"""Row masks: which weight rows of a packed layer are stored, and where."""

from amaranth import Module
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.cells.ram import Ram1R1W
from hw.config import CoreConfig, bits_for, log2

BASE_BITS = 16       # of a weight row, beside the mask in a word of 32 bits


def row_mask_shape(config: CoreConfig) -> data.StructLayout:
    """What is known of a window of a lane's weight rows.

    ``mask``: rows that are stored, one after the other from row ``base`` of the lane's bank on;
    the others are zero.
    """
    return data.StructLayout({"mask": config.window_rows, "base": BASE_BITS})


def mask_write(config: CoreConfig) -> data.StructLayout:
    """A word on its way into the row masks: that of lane ``addr % L``, window ``addr // L``."""
    return data.StructLayout({"en": 1, "addr": mask_address_bits(config), "data": 32})


def mask_address_bits(config: CoreConfig) -> int:
    """Bits of a 32-bit word address of the row masks: a word a window and lane."""
    return bits_for(config.row_mask_words * config.L)


class RowMasks(wiring.Component):
    """A cluster's copy of ``row_mask_words`` words of L masks, all written together.

    Members
    -------
    w : In(mask_write)
        Its data as `row_mask_shape` lays them out.
    addr : In, o : Out(array of L x row_mask_shape)
        A window of all lanes, read ``config.ram_latency`` cycles later, also while others are
        written.
    """

    def __init__(self, config: CoreConfig):
        self.config = config
        super().__init__({
            "w": In(mask_write(config)), "addr": In(bits_for(config.row_mask_words)),
            "o": Out(data.ArrayLayout(row_mask_shape(config), config.L))})

    def elaborate(self, platform):
        m = Module()
        config, lane_bits = self.config, log2(self.config.L)
        for lane in range(config.L):
            shape = row_mask_shape(config)
            ram = Ram1R1W(config.memory, shape.size, config.row_mask_words)
            m.submodules[f"lane{lane}"] = ram
            chosen = self.w.addr[:lane_bits] == lane if lane_bits else 1
            m.d.comb += [ram.w_en.eq(self.w.en & chosen), ram.w_addr.eq(self.w.addr[lane_bits:]),
                         ram.w_data.eq(self.w.data), ram.r_addr.eq(self.addr),
                         self.o[lane].eq(ram.r_data)]
        return m
