"""The weight banks: one per lane, read by every cluster through a port of its own."""

from amaranth import Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.cells.ram import Ram1R1W, RamRW
from hw.config import CoreConfig, bits_for


def line_address_bits(config: CoreConfig) -> int:
    """Bits of the address of V bytes among the weights: row, then block of lanes."""
    return bits_for(config.weight_rows * config.row_bytes // config.V)


class WeightBanks(wiring.Component):
    """L banks of ``weight_rows`` rows of C int8.

    Members
    -------
    w_en : In(V / 4), w_addr : In, w_data : In(8 * V)
        Write words of V bytes, which are V/C neighbouring lanes of a row: byte address / V, as
        the bytes lie in a program.
    addrs{p} : In(array of L), o{p} : Out(array of L rows)
        Rows read by cluster p, ``latency(config)`` cycles later. A write takes the place of
        cluster 0's read where P = 2.
    """

    @staticmethod
    def latency(config: CoreConfig) -> int:
        """Cycles from address to rows; two clusters take one more to reach all banks."""
        return config.ram_latency + (config.P == 2)

    def __init__(self, config: CoreConfig):
        self.config = config
        addrs = data.ArrayLayout(config.weight_addr_bits, config.L)
        rows = data.ArrayLayout(data.ArrayLayout(signed(config.weight_width), config.C), config.L)
        super().__init__(
            {"w_en": In(config.line_words), "w_addr": In(line_address_bits(config)),
             "w_data": In(config.line_bits)}
            | {f"addrs{p}": In(addrs) for p in range(config.P)}
            | {f"o{p}": Out(rows) for p in range(config.P)})

    def elaborate(self, platform):
        m = Module()
        config = self.config
        lanes_per_line = config.V // config.C
        blocks = config.L // lanes_per_line
        block_bits = bits_for(blocks) if blocks > 1 else 0
        row, block = self.w_addr[block_bits:], self.w_addr[:block_bits]
        for lane in range(config.L):
            words, part = config.C // 4, lane % lanes_per_line
            write = Signal(words, name=f"write{lane}")
            with m.If(block == lane // lanes_per_line if block_bits else 1):
                m.d.comb += write.eq(self.w_en.word_select(part, words))
            data_in = self.w_data.word_select(part, 8 * config.C)
            if config.P == 1:
                for word in range(words):
                    ram = Ram1R1W(config.memory, 32, config.weight_rows)
                    m.submodules[f"bank{lane}_{word}"] = ram
                    m.d.comb += [
                        ram.w_en.eq(write[word]), ram.w_addr.eq(row),
                        ram.w_data.eq(data_in.word_select(word, 32)),
                        ram.r_addr.eq(self.addrs0[lane]),
                        self.o0[lane].as_value().word_select(word, 32).eq(ram.r_data),
                    ]
            else:
                ram = RamRW(config.memory, 8 * config.C, config.weight_rows, 2, words)
                m.submodules[f"bank{lane}"] = ram
                m.d.comb += [ram.p0.en.eq(1), self.o0[lane].eq(ram.p0.r_data),
                             ram.p1.en.eq(1), self.o1[lane].eq(ram.p1.r_data)]
                m.d.sync += [
                    ram.p0.we.eq(write), ram.p0.w_data.eq(data_in),
                    ram.p0.addr.eq(Mux(write.any(), row, self.addrs0[lane])),
                    ram.p1.addr.eq(self.addrs1[lane]),
                ]
        return m
