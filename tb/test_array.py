# amaranth: UnusedElaboratable=no
"""Operands and column pairs of every flavour: corner numbers, int32 wrap, latencies."""

from hw.columns import ColumnPair
from hw.config import CoreConfig
from hw.operands import Operands
from tb.bench import run_cocotb
from tb.test_cells import Bundle

CONFIGS = {
    "lut": CoreConfig(L=8, C=8, V=16, patch_lines=16),
    "lane": CoreConfig(L=1, C=4, V=4, Q=1, patch_lines=16, patch_buffers=2),
    "ecp5": CoreConfig(L=4, C=4, V=16, patch_lines=16, multiplier="mult18x18d", mac_dsps=8,
                       memory="dp16kd"),
    "skip": CoreConfig(L=2, C=4, V=8, patch_lines=16, skip="act"),
    "ice40": CoreConfig(L=2, C=4, V=8, Q=1, F=1, patch_lines=16, multiplier="sb_mac16",
                        memory="ice40", act_lines=16384),
}
DSPS = {"ecp5": 3, "ice40": 2}  # of L; with three of four, DSP cells and LUTs meet in one tree


def test_array_multiplies_what_the_patches_hold(tmp_path):
    parts = {}
    for name, config in CONFIGS.items():
        parts[f"operands_{name}"] = Operands(config)
        parts[f"columns_{name}"] = ColumnPair(config, DSPS.get(name, 0))
    given = {"configs": {name: config.items() for name, config in CONFIGS.items()}}
    run_cocotb(Bundle(parts), "tb.cocotb_array", name="array", work_dir=tmp_path, parameters=given)
