# amaranth: UnusedElaboratable=no
"""Passing over zeros: masks, scanners and the issue on their Verilog; the compiler's choice."""

import pytest

from gen.skip import skipping
from hw.config import ConfigError, CoreConfig
from hw.nonzero import Nonzero
from hw.scanner import Scanner
from hw.skip import SkipIssue
from tb.bench import run_cocotb
from tb.test_cells import Bundle
from tb.test_lanes import SPACING_BITS

COMMON = {"act_lines": 160, "Q": 2, "param_groups": 16, "weight_rows": 2048, "skip": "act"}
CONFIGS = {
    "two": CoreConfig(P=2, L=4, C=4, V=8, patch_lines=64, patch_buffers=8, **COMMON),
    "lines": CoreConfig(P=1, L=1, C=32, V=32, patch_lines=16, patch_buffers=2, **COMMON),
    "rows": CoreConfig(P=1, L=8, C=4, V=8, patch_lines=16, patch_buffers=8, **COMMON),
}


def test_lanes_pass_over_zeros_only(tmp_path):
    parts = {}
    for name, config in CONFIGS.items():
        parts |= {f"nonzero_{name}0": Nonzero(config), f"scanner_{name}0": Scanner(config)}
        parts |= {f"issue_{name}{index}": SkipIssue(config, index, SPACING_BITS)
                  for index in range(config.P)}
    given = {"configs": {name: config.items() for name, config in CONFIGS.items()}}
    run_cocotb(Bundle(parts), "tb.cocotb_skip", name="skip", work_dir=tmp_path, parameters=given)


def test_skipping_needs_a_core_that_can():
    with pytest.raises(ConfigError, match=r"--skip on must meet a core with skip=act"):
        skipping(None, CoreConfig(), "on")
    with pytest.raises(ConfigError, match="skip must be off with memory=ice40"):
        CoreConfig(skip="act", memory="ice40", V=8, C=8, F=1, act_lines=16384)
