"""Two columns of the array: L processing elements each, adder trees and accumulators."""

from amaranth import Module, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.cells.gated import GatedSum
from hw.cells.mac import MacPair, MacSum
from hw.config import CoreConfig, log2


def operand_shape(config: CoreConfig):
    """Amaranth shape of an activation at the multipliers: x - offset, or x + 128 if narrow."""
    return config.operand_width if config.narrow else signed(config.operand_width)


class ColumnPair(wiring.Component):
    """psum += sum over L lanes of act * weight, for two neighbouring output channels.

    Columns come in pairs because a multiplier flavour may share a cell between two of them.

    Parameters
    ----------
    config : CoreConfig
    dsps : int
        How many of the L MacPairs are DSP cells; the rest are made of LUTs.

    Members
    -------
    acts0, acts1 : In(array of L operands)
        Equal but for CHANNEL mode, in which every column has its own.
    weights0, weights1 : In(array of L int8)
    valid, first : In(1)
        Aligned with the operands: accumulate; start a new psum instead of adding.
    psum0, psum1 : Out(signed 32)

    Behaviour
    ---------
    psums show operands ``latency(config)`` cycles later and wrap at 32 bits.
    """

    def __init__(self, config: CoreConfig, dsps: int):
        self.config, self.dsps = config, dsps
        operands = data.ArrayLayout(operand_shape(config), config.L)
        weights = data.ArrayLayout(signed(config.weight_width), config.L)
        super().__init__({
            "acts0": In(operands), "acts1": In(operands), "weights0": In(weights),
            "weights1": In(weights), "valid": In(1), "first": In(1),
            "psum0": Out(signed(config.acc_width)), "psum1": Out(signed(config.acc_width))})

    @staticmethod
    def latency(config: CoreConfig) -> int:
        """Cycles from operands to psums."""
        return MacPair.latency(config) + log2(config.L) + 1

    def elaborate(self, platform):
        m = Module()
        terms: tuple[list, list] = ([], [])
        for lane in range(self.config.L):
            adds = self.config.narrow and lane % 2
            mac = MacSum() if adds else MacPair(self.config, dsp=lane < self.dsps)
            m.submodules[f"mac{lane}"] = mac
            m.d.comb += [mac.act0.eq(self.acts0[lane]), mac.act1.eq(self.acts1[lane]),
                         mac.w0.eq(self.weights0[lane]), mac.w1.eq(self.weights1[lane])]
            if adds:                             # the first level of the tree
                m.d.comb += [mac.c0.eq(terms[0].pop()), mac.c1.eq(terms[1].pop())]
            for found, name in zip(terms, ("s0", "s1") if adds else ("p0", "p1"), strict=True):
                found.append(getattr(mac, name))
        valid, first = self.valid, self.first
        for stage in range(MacPair.latency(self.config) + log2(self.config.L)):
            later = Signal(2, name=f"control{stage}")
            m.d.sync += later.eq(valid | first << 1)
            valid, first = later[0], later[1]
        for column, psum in enumerate((self.psum0, self.psum1)):
            lanes = self._tree(m, terms[column], column)
            m.submodules[f"sum{column}"] = total = GatedSum(
                len(psum), len(lanes), len(psum), cells=self.config.carry_gates)
            m.d.comb += [total.a.eq(psum), total.a_on.eq(~first), total.b.eq(lanes),
                         total.b_on.eq(1)]
            with m.If(valid):
                m.d.sync += psum.eq(total.s)
        return m

    @staticmethod
    def _tree(m, terms, column):
        """Registered binary adder tree."""
        while len(terms) > 1:
            sums = []
            for index in range(0, len(terms), 2):
                total = Signal(signed(len(terms[0]) + 1), name=f"sum{column}_{len(terms)}_{index}")
                m.d.sync += total.eq(terms[index] + terms[index + 1])
                sums.append(total)
            terms = sums
        return terms[0]
