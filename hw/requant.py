"""Requantizer: 32-bit psums to bytes, rounding as TensorFlow Lite Micro does."""

from amaranth import Cat, Module, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw import requant_scale
from hw.config import CoreConfig
from hw.requant_round import Clamp, Shifter
from hw.requant_scale import PipelinedScale, SerialScale


class Requantizer(wiring.Component):
    """Psum to byte: bias, multiplier, rounding right shift, zero point, clamp.

    Parameters
    ----------
    config : CoreConfig
        beat_cycles 1: one value per cycle through a 32x32 multiplier of ``multiplier`` cells;
        2 or 4: one value in so many cycles, 16 or 8 bits of the multiplier per cycle, without
        DSP cells.

    Members
    -------
    i_valid : In(1)
        i is a value; high at most once in beat_cycles cycles.
    i : In({acc, bias: signed(32), multiplier: 32, shift: 5, second: 1})
        Sampled while i_valid is high.
    zero_point, low, high : In(signed(8))
        For values with ``second`` clear; constant while any value is in flight.
    add_zero_point, add_low, add_high : In(signed(8))
        The same for values with ``second`` set.
    o_valid, o, o_second : Out
        The byte and its second, for one cycle.

    Behaviour
    ---------
    o_valid rises exactly latency(config) cycles after i_valid. With psum = acc + bias, wrapped
    to 32 bits, and h = floor((psum * multiplier + 2^30) / 2^31), which must fit 32 bits:
    o = (h + 2^(shift-1) - (h < 0)) >> shift, plus zero_point, limited to low..high (low <= high)
    without wrapping; for shift 0 the first term is h.

    Source
    ------
    MultiplyByQuantizedMultiplier of TensorFlow Lite Micro with its two roundings;
    the equality is tested against that rule (tb/test_requant.py).
    """

    def __init__(self, config: CoreConfig):
        self._config = config
        super().__init__({
            "i_valid": In(1), "i": In(requant_scale.VALUE),
            "zero_point": In(signed(8)), "low": In(signed(8)), "high": In(signed(8)),
            "add_zero_point": In(signed(8)), "add_low": In(signed(8)), "add_high": In(signed(8)),
            "o_valid": Out(1), "o": Out(signed(8)), "o_second": Out(1),
        })

    @staticmethod
    def latency(config: CoreConfig) -> int:
        """Cycles from i_valid to o_valid."""
        beat_cycles = config.beat_cycles
        return (config.pipelined + requant_scale.latency(beat_cycles)
                + Shifter.latency(beat_cycles) + Clamp.LATENCY)

    def elaborate(self, platform):
        """Scale, shift, clamp, one after the other."""
        m = Module()
        beat_cycles = self._config.beat_cycles
        scale = (PipelinedScale(self._config.multiplier) if beat_cycles == 1
                 else SerialScale(beat_cycles))
        m.submodules.scale = scale
        m.submodules.shifter = shifter = Shifter(beat_cycles)
        m.submodules.clamp = clamp = Clamp(beat_cycles)
        stage = m.d.sync if self._config.pipelined else m.d.comb  # parameters come a long way
        stage += [scale.i_valid.eq(self.i_valid), scale.i.eq(self.i)]
        m.d.comb += [
            shifter.i_valid.eq(scale.o_valid), shifter.i.eq(scale.o),
            shifter.i_side.eq(scale.o_side),
            clamp.i_valid.eq(shifter.o_valid), clamp.i.eq(shifter.o),
            clamp.i_side.eq(shifter.o_side),
            clamp.limits.eq(Cat(self.zero_point, self.low, self.high,
                                self.add_zero_point, self.add_low, self.add_high)),
            self.o_valid.eq(clamp.o_valid), self.o.eq(clamp.o), self.o_second.eq(clamp.o_second),
        ]
        return m
