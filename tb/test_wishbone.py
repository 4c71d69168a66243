# amaranth: UnusedElaboratable=no
"""The core's host port with a memory, under an independent library of bus models."""

from amaranth import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from hw.cells.ram import RamRW
from hw.config import CoreConfig
from hw.host import HostPort, wishbone
from hw.ports import PortArbiter, as_line
from tb.bench import run_cocotb

CONFIG = CoreConfig(P=1, L=2, C=4, V=8, Q="1/2", F=1, act_lines=48, weight_rows=256,
                    patch_lines=16, patch_buffers=2, param_groups=8)


class HostBench(wiring.Component):
    """Host port, arbiter and activation memory of a core that is always idle."""

    def __init__(self):
        super().__init__({"bus": In(wishbone(CONFIG))})

    def elaborate(self, platform):
        m = Module()
        m.submodules.host = host = HostPort(CONFIG)
        m.submodules.arbiter = arbiter = PortArbiter(CONFIG, 1, 1)
        m.submodules.act = act = RamRW(CONFIG.memory, CONFIG.line_bits, CONFIG.act_lines, CONFIG.F,
                                       CONFIG.line_masks)
        wiring.connect(m, wiring.flipped(self.bus), host.bus)
        wiring.connect(m, host.r, arbiter.r0)
        wiring.connect(m, arbiter.ram, act.p0)
        mask, data = as_line(CONFIG, host.w)
        m.d.comb += [arbiter.w0.valid.eq(host.w.valid), arbiter.w0.addr.eq(host.w.addr),
                     arbiter.w0.mask.eq(mask), arbiter.w0.data.eq(data),
                     host.w.ready.eq(arbiter.w0.ready)]
        return m


def test_host_port_answers_an_independent_master(tmp_path):
    run_cocotb(HostBench(), "tb.cocotb_wishbone", name="host", work_dir=tmp_path,
               parameters={"config": CONFIG.items()})
