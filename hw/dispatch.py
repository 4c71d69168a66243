"""Hands a checked descriptor to the unit that does its work, and keeps it for that."""

from contextlib import nullcontext

from amaranth import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.config import CoreConfig
from hw.descriptor import decoded, descriptor_shape, order_shape
from hw.layout import Opcode


class Dispatch(wiring.Component):
    """Between sequencer and units.

    Members
    -------
    d : In(descriptor_shape), check, launch : In(1)
        See `hw.sequencer.Sequencer`.
    order : Out(order_shape)
        The descriptor of the last ``check``, decoded.
    load, wait, work : Out(1)
        It begins: for the loader, the pager, the clusters.

    Behaviour
    ---------
    Where ``config.pipelined``, outputs follow their inputs by a cycle and ``order`` stays while the
    next descriptor is fetched. Else they are wires.
    """

    def __init__(self, config: CoreConfig):
        self.config = config
        super().__init__({
            "d": In(descriptor_shape(config)), "check": In(1), "launch": In(1),
            "order": Out(order_shape(config)), "load": Out(1), "wait": Out(1), "work": Out(1)})

    def elaborate(self, platform):
        m = Module()
        config, d, bits = self.config, self.d, decoded(self.config, self.d)
        stage = m.d.sync if config.pipelined else m.d.comb
        with m.If(self.check) if config.pipelined else nullcontext():
            stage += [self.order[name].eq(d[name]) for name in descriptor_shape(config).members]
            stage += [self.order[name].eq(bit) for name, bit in bits.items()]
        stage += [self.load.eq(self.launch & (d.op == Opcode.LOAD)),
                  self.wait.eq(self.launch & (d.op == Opcode.WAIT)),
                  self.work.eq(self.launch & (bits["is_array"] | (d.op == Opcode.ADD)))]
        return m
