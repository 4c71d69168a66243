# amaranth: UnusedElaboratable=no
"""Feeder and its parts: the bytes of every patch, stalls, throughput, clear."""

from hw.config import CoreConfig
from hw.feeder import Feeder
from hw.packer import Packer
from hw.segments import SegmentGenerator
from hw.words import WordGenerator
from tb.bench import run_cocotb
from tb.test_cells import Bundle

COMMON = {"act_lines": 160, "patch_lines": 16, "Q": 2, "param_groups": 16}
CONFIGS = {
    "byte": CoreConfig(P=2, L=2, C=4, V=8, align=1, **COMMON),
    "even": CoreConfig(P=1, L=4, C=4, V=4, align=2, patch_buffers=2, memory="ice40", F=1,
                       multiplier="sb_mac16", **COMMON | {"act_lines": 16384}),
    "word": CoreConfig(P=2, L=4, C=4, V=16, align=4, **COMMON),
    "line": CoreConfig(P=1, L=1, C=8, V=8, align=8, patch_buffers=8, **COMMON),
}


def parts(config: CoreConfig, name: str) -> dict:
    """Feeders and segment generators of each cluster, one of what is alike in both."""
    both = range(config.P)
    return ({f"feeder_{name}{index}": Feeder(config, index) for index in both}
            | {f"segments_{name}{index}": SegmentGenerator(config, index) for index in both}
            | {f"words_{name}": WordGenerator(config), f"packer_{name}": Packer(config)})


def test_feeder_writes_every_patch_byte_by_byte(tmp_path):
    bundle = Bundle({key: part for name, config in CONFIGS.items()
                     for key, part in parts(config, name).items()})
    given = {"configs": {name: config.items() for name, config in CONFIGS.items()}}
    run_cocotb(bundle, "tb.cocotb_feeder", name="feeder", work_dir=tmp_path, parameters=given)
