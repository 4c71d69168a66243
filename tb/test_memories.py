# amaranth: UnusedElaboratable=no
"""Weights, arbiter, loader, counters, fetch and host port: Verilog against models, with stalls."""

import pytest

from hw.config import CoreConfig
from hw.counters import Counters
from hw.fetch import Fetch
from hw.host import HostPort
from hw.loader import Loader
from hw.ports import PortArbiter
from hw.weights import WeightBanks
from tb.bench import run_cocotb
from tb.test_cells import Bundle

CLIENTS = 3    # readers, and as many writers
CONFIGS = {
    "word_lines": CoreConfig(P=1, L=1, C=4, V=4, Q="1/4", F=1, act_lines=208, weight_rows=48,
                             patch_lines=16, param_groups=5),
    "two_clusters": CoreConfig(P=2, L=4, C=4, V=8, Q=2, F=2, act_lines=272, weight_rows=32,
                               patch_lines=16, param_groups=3, skip="both"),
    "wide_lines": CoreConfig(P=1, L=8, C=8, V=64, Q=1, F=2, act_lines=80, weight_rows=16,
                             patch_lines=16, param_groups=2),
    "ice40": CoreConfig(P=1, L=2, C=8, V=8, Q="1/4", F=1, act_lines=16384, weight_rows=256,
                        patch_lines=32, param_groups=4, memory="ice40", multiplier="sb_mac16"),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_memories_and_their_users_keep_their_contracts(name, tmp_path):
    config = CONFIGS[name]
    parts = {"weights": WeightBanks(config), "arbiter": PortArbiter(config, CLIENTS, CLIENTS),
             "loader": Loader(config), "counters": Counters(config), "fetch": Fetch(config),
             "host": HostPort(config)}
    run_cocotb(Bundle(parts), "tb.cocotb_memories", name=name, work_dir=tmp_path,
               parameters={"config": config.items(), "clients": CLIENTS, "seed": 11})
