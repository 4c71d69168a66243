# amaranth: UnusedElaboratable=no
"""The pager's Verilog against its contract: order, time, stalls, nonsense, silence."""

import pytest

from hw.config import CoreConfig
from hw.pager import Pager
from tb.bench import run_cocotb
from tb.test_cells import Bundle

CONFIGS = {
    "word_lines": CoreConfig(P=1, L=1, C=4, V=4, Q="1/4", F=1, act_lines=208, weight_rows=48,
                             patch_lines=16, param_groups=5),
    "two_clusters": CoreConfig(P=2, L=4, C=4, V=8, Q=2, F=2, act_lines=272, weight_rows=32,
                               patch_lines=16, param_groups=3),
    "ice40": CoreConfig(P=1, L=2, C=8, V=8, Q="1/4", F=1, act_lines=16384, weight_rows=256,
                        patch_lines=32, param_groups=4, memory="ice40", multiplier="sb_mac16"),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_pager_keeps_its_contract(name, tmp_path):
    config = CONFIGS[name]
    run_cocotb(Bundle({"pager": Pager(config)}), "tb.cocotb_pager", name=name, work_dir=tmp_path,
               parameters={"config": config.items(), "seed": 5})
