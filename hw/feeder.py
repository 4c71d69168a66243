"""Reads the window of every output pixel and writes it, packed, to the patch buffers."""

from amaranth import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.config import CoreConfig
from hw.descriptor import order_shape
from hw.elastic import Elastic
from hw.packer import Packer, patch_write
from hw.ports import read_client, read_latency
from hw.segments import SegmentGenerator
from hw.words import WordGenerator, command_shape, word_shape


class Feeder(wiring.Component):
    """Address generators and packer of one cluster.

    Members
    -------
    d : In(order_shape(config)), start, clear : In(1)
    r : Out(read_client)
    free : In(patch_buffers), taken : Out(patch_buffers)
        Patch buffers that may be filled; that are being filled from now on.
    patch : Out(patch_write)

    Behaviour
    ---------
    Up to one line of the activation memory a cycle, ahead of the array by patch_buffers patches.
    """

    def __init__(self, config: CoreConfig, index: int):
        self.config, self.index = config, index
        super().__init__({
            "d": In(order_shape(config)), "start": In(1), "clear": In(1),
            "r": Out(read_client(config)), "free": In(config.patch_buffers),
            "taken": Out(config.patch_buffers),
            "patch": Out(patch_write(config))})

    def elaborate(self, platform):
        m = Module()
        m.submodules.segments = segments = SegmentGenerator(self.config, self.index)
        m.submodules.words = words = WordGenerator(self.config)
        m.submodules.packer = packer = Packer(self.config)
        wiring.connect(m, segments.o, words.i)
        command = words.o
        if self.config.pipelined:        # the port's answer goes no further
            m.submodules.elastic = elastic = Elastic(command_shape(self.config))
            wiring.connect(m, words.o, elastic.i)
            m.d.comb += elastic.clear.eq(self.clear)
            command = elastic.o
        m.d.comb += [
            segments.d.eq(self.d), segments.start.eq(self.start), segments.clear.eq(self.clear),
            words.d.eq(self.d), words.clear.eq(self.clear), words.free.eq(self.free),
            self.taken.eq(words.taken),
            self.r.valid.eq(command.valid & command.p.read), self.r.addr.eq(command.p.addr),
            command.ready.eq(~command.p.read | self.r.ready),
            packer.fill.eq(self.d.fill), packer.by_line.eq(self.d.by_channel),
            packer.clear.eq(self.clear),
            self.patch.eq(packer.o),
        ]
        # The command meets its line when that comes back.
        valid, word = command.valid & command.ready, command.p.word
        for stage in range(read_latency(self.config)):
            later_valid = Signal(name=f"valid{stage}")
            later = Signal(word_shape(self.config), name=f"word{stage}")
            m.d.sync += [later_valid.eq(valid & ~self.clear), later.eq(word)]
            valid, word = later_valid, later
        m.d.comb += [packer.i_valid.eq(valid), packer.i.eq(word), packer.line.eq(self.r.data)]
        return m
