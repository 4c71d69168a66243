# amaranth: UnusedElaboratable=no
"""Sequencer and dispatch: their Verilog against the rules of docs/core.md."""

import pytest

from hw.dispatch import Dispatch
from hw.sequencer import Sequencer
from tb.bench import run_cocotb
from tb.test_cells import Bundle
from tb.test_memories import CONFIGS

NAMES = ("word_lines", "two_clusters", "wide_lines")


@pytest.mark.parametrize("name", NAMES)
def test_sequencer_runs_checks_and_recovers(name, tmp_path):
    config = CONFIGS[name]
    run_cocotb(Bundle({"sequencer": Sequencer(config), "dispatch": Dispatch(config)}),
               "tb.cocotb_sequencer", name=name, work_dir=tmp_path,
               parameters={"config": config.items(), "seed": 4})
