# amaranth: UnusedElaboratable=no
"""Drain, writer, output walk, parameters, beats and residuals: their Verilog against golden."""

import pytest

from hw.beats import BeatCounter
from hw.config import CoreConfig
from hw.drain import Drain
from hw.offsets import OutputWalk
from hw.params import ParamMemory
from hw.requant import Requantizer
from hw.residual import ResidualReader
from hw.writer import ByteWriter, Writer
from tb.bench import run_cocotb
from tb.test_cells import Bundle

TINY = {"L": 4, "C": 4, "V": 8, "act_lines": 256, "weight_rows": 16, "patch_lines": 16,
        "param_groups": 12}
CONFIGS = {
    "quarter": CoreConfig(**TINY, P=1, F=1, Q="1/4"),
    "half_two_clusters": CoreConfig(**TINY, P=2, F=1, Q=1),
    "one": CoreConfig(**TINY | {"V": 16}, P=1, F=2, Q=1),
    "fastest": CoreConfig(**TINY | {"V": 4}, P=2, F=1, Q=4),
    "twins": CoreConfig(**TINY | {"V": 8, "C": 8}, P=1, F=2, Q=4),
    "slow_twins": CoreConfig(**TINY | {"V": 16, "C": 16}, P=2, F=2, Q=2),
    "bytes": CoreConfig(L=4, C=8, V=8, P=1, F=1, Q="1/4", act_lines=16384, weight_rows=256,
                        patch_lines=32, param_groups=12, memory="ice40", multiplier="sb_mac16",
                        acc_width=24),
}
INDEX = {"half_two_clusters": 1, "fastest": 1}
PARTS = ["beats_follow_start_at_their_distance", "walk_visits_every_output_once",
         "writer_joins_beats_to_lines", "parameters_come_back_as_beats",
         "residuals_arrive_whatever_the_port_does"]
DRAINS = ["drain_equals_golden_at_the_promised_distance", "drain_forgets_everything_when_cleared"]


def given(name: str) -> dict:
    config = CONFIGS[name]
    return {"config": config.items(), "index": INDEX.get(name, 0), "seed": 5,
            "delay": Drain.behind(config)}


@pytest.mark.parametrize("name", CONFIGS)
def test_drain_equals_golden_for_every_operation(name, tmp_path):
    run_cocotb(Drain(CONFIGS[name], INDEX.get(name, 0)), "tb.cocotb_drain", name=name,
               work_dir=tmp_path, parameters=given(name), testcase=DRAINS)


@pytest.mark.parametrize("name", CONFIGS)
def test_parts_of_the_drain_keep_their_contracts(name, tmp_path):
    config = CONFIGS[name]
    writer = Writer(config, Drain.writer_depth(config))
    parts = {"beats": BeatCounter(config), "walk": OutputWalk(config, INDEX.get(name, 0)),
             "writer": ByteWriter(config) if config.byte_writes else writer,
             "params": ParamMemory(config), "residual": ResidualReader(config)}
    run_cocotb(Bundle(parts), "tb.cocotb_drain", name=name, work_dir=tmp_path,
               parameters=given(name), testcase=PARTS)


@pytest.mark.parametrize(("q", "cycles"), [("1/4", 16), ("1/2", 8), (1, 4), (2, 2)])
def test_drain_occupies_a_pass_for_as_long_as_its_beats(q, cycles):
    config = CoreConfig(**TINY, Q=q)
    assert Drain.cycles(config) == cycles
    assert Drain.add_cycles(config) == 2 * cycles
    small = CONFIGS["bytes"]
    assert Drain.add_cycles(small) >= 2 * Drain.cycles(small)
    behind = Drain.lead(small) + Requantizer.latency(small) + 2
    assert Drain.pending(small) == behind // small.beat_cycles - 1 >= 1
