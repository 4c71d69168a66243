"""Parameter memory: bias, multiplier and shift of every channel, a beat a cluster and cycle."""

from amaranth import Cat, Module, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.cells.ram import Ram1R1W, RamRW
from hw.config import CoreConfig, bits_for, log2
from hw.delay import delayed

SHIFT_BITS = 5
PARAM_SHAPE = data.StructLayout({"bias": signed(32), "multiplier": 32, "shift": SHIFT_BITS})


def word_address_bits(config: CoreConfig) -> int:
    """Bits of a 32-bit word address of the parameter space: four words a channel."""
    return bits_for(config.param_groups * config.C * 4)


class ParamMemory(wiring.Component):
    """Holds a word pair a channel; ``requant_units`` channels, a beat, are read together.

    Members
    -------
    w_en : In(1), w_addr : In, w_data : In(32)
        Words of a channel in the order shift, bias, multiplier, unused: the shift is stored with
        the other two, so it must precede them.
    addr{p} : In, o{p} : Out(array of PARAM_SHAPE)
        Beat read by cluster p, ``latency(config)`` cycles later.
    """

    @staticmethod
    def latency(config: CoreConfig) -> int:
        """Cycles from address to parameters."""
        return config.ram_latency + config.pipelined

    def __init__(self, config: CoreConfig):
        self.config = config
        beat = data.ArrayLayout(PARAM_SHAPE, config.requant_units)
        super().__init__(
            {"w_en": In(1), "w_addr": In(word_address_bits(config)), "w_data": In(32)}
            | {f"addr{p}": In(config.param_addr_bits) for p in range(config.P)}
            | {f"o{p}": Out(beat) for p in range(config.P)})

    def elaborate(self, platform):
        m = Module()
        config = self.config
        addrs = [delayed(m, getattr(self, f"addr{p}"), config.pipelined) for p in range(config.P)]
        unit_bits, split = log2(config.requant_units), config.shift_split
        kind, channel = self.w_addr[:2], self.w_addr[2:]
        shift = Signal(SHIFT_BITS)
        with m.If(self.w_en & (kind == 0)):
            m.d.sync += shift.eq(self.w_data)
        for unit in range(config.requant_units):
            selected = self.w_en & (channel[:unit_bits] == unit if unit_bits else 1)
            beat = channel[unit_bits:]
            bias = self._slice(m, f"bias{unit}", addrs, selected & (kind == 1), beat,
                               Cat(self.w_data, shift[:split]))
            scale = self._slice(m, f"scale{unit}", addrs, selected & (kind == 2), beat,
                                Cat(self.w_data, shift[split:]))
            for p in range(config.P):
                o = getattr(self, f"o{p}")[unit]
                m.d.comb += [o.bias.eq(bias[p][:32]), o.multiplier.eq(scale[p][:32]),
                             o.shift.eq(Cat(bias[p][32:], scale[p][32:]))]
        return m

    def _slice(self, m, name, addrs, write, address, word):
        """One RAM of all beats; its data for each cluster."""
        config, depth = self.config, self.config.param_depth
        if config.P == 1:
            ram = Ram1R1W(config.memory, len(word), depth)
            m.submodules[name] = ram
            m.d.comb += [ram.w_en.eq(write), ram.w_addr.eq(address), ram.w_data.eq(word),
                         ram.r_addr.eq(addrs[0])]
            return [ram.r_data]
        ram = RamRW(config.memory, len(word), depth, ports=2)
        m.submodules[name] = ram
        with m.If(write):
            m.d.comb += ram.p0.addr.eq(address)
        with m.Else():
            m.d.comb += ram.p0.addr.eq(addrs[0])
        m.d.comb += [ram.p0.en.eq(1), ram.p0.we.eq(write), ram.p0.w_data.eq(word),
                     ram.p1.en.eq(1), ram.p1.addr.eq(addrs[1])]
        return [ram.p0.r_data, ram.p1.r_data]
