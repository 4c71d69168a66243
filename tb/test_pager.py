# amaranth: UnusedElaboratable=no
"""The pager's Verilog against its contract: order, time, stalls, nonsense, silence."""

import pytest

from hw.pager import Pager
from tb.bench import run_cocotb
from tb.test_cells import Bundle
from tb.test_memories import CONFIGS


@pytest.mark.parametrize("name", CONFIGS)
def test_pager_keeps_its_contract(name, tmp_path):
    config = CONFIGS[name]
    run_cocotb(Bundle({"pager": Pager(config)}), "tb.cocotb_pager", name=name, work_dir=tmp_path,
               parameters={"config": config.items(), "seed": 5})
