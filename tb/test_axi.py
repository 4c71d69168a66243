# amaranth: UnusedElaboratable=no
"""The AXI ports of complete cores, under an independent library of bus models."""

import pytest

from hw.axi.core import AxiCore
from hw.config import CoreConfig
from tb.bench import run_cocotb

CONFIGS = {
    "plain": CoreConfig(P=1, L=2, C=4, V=8, Q="1/2", F=1, act_lines=256, weight_rows=256,
                        patch_lines=16, patch_buffers=2, param_groups=8),
    "ice40": CoreConfig(P=1, L=2, C=4, V=4, Q="1/4", F=1, act_lines=16384, weight_rows=256,
                        patch_lines=64, patch_buffers=2, param_groups=8, memory="ice40", pages=0),
}


@pytest.mark.parametrize("name", ("plain", pytest.param("ice40", marks=pytest.mark.long)))
def test_axi_ports_keep_their_contract(name, tmp_path):
    config = CONFIGS[name]
    run_cocotb(AxiCore(config), "tb.cocotb_axi", name=name, work_dir=tmp_path,
               parameters={"config": config.items()})
