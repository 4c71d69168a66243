# amaranth: UnusedElaboratable=no
"""Walks, lanes and issue: which row meets which weights, when, and what stalls."""

from hw.config import CoreConfig
from hw.issue import Issue
from hw.lane import Lane
from hw.skip import SkipIssue
from hw.walk import GroupWalk, PixelWalk
from tb.bench import run_cocotb
from tb.test_cells import Bundle

COMMON = {"act_lines": 160, "patch_lines": 16, "Q": 2, "param_groups": 16, "weight_rows": 2048}
CONFIGS = {
    "two": CoreConfig(P=2, L=2, C=4, V=8, **COMMON),
    "one": CoreConfig(P=1, L=4, C=4, V=4, patch_buffers=2, **COMMON),
    "skip": CoreConfig(P=2, L=4, C=4, V=8, patch_buffers=8, skip="act", **COMMON),
    "both": CoreConfig(P=2, L=2, C=4, V=8, patch_buffers=4, skip="both", **COMMON),
    "seek": CoreConfig(P=1, L=2, C=8, V=8, F=1, patch_buffers=4, skip="act", memory="ice40",
                       multiplier="sb_mac16", **COMMON | {"act_lines": 16384}),
    "wide": CoreConfig(P=1, L=1, C=8, V=8, patch_buffers=8, **COMMON),
}
SPACING_BITS = 7


def issue_of(config: CoreConfig):
    """Return the class that issues rows in this core."""
    return SkipIssue if config.scans else Issue


def parts(config: CoreConfig, name: str) -> dict:
    """One lane, and of each cluster an issue and the walks."""
    found = {f"lane_{name}0": Lane(config)}
    for index in range(config.P):
        found |= {f"issue_{name}{index}": issue_of(config)(config, index, SPACING_BITS),
                  f"pixels_{name}{index}": PixelWalk(config, index),
                  f"groups_{name}{index}": GroupWalk(config, index)}
    return found


def test_lanes_meet_every_row_with_its_weights(tmp_path):
    bundle = Bundle({key: part for name, config in CONFIGS.items()
                     for key, part in parts(config, name).items()})
    given = {"configs": {name: config.items() for name, config in CONFIGS.items()}}
    run_cocotb(bundle, "tb.cocotb_lanes", name="lanes", work_dir=tmp_path, parameters=given)
