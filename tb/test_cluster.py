# amaranth: UnusedElaboratable=no
"""Whole clusters against the golden model; feed, compute and drain behind each other."""

from dataclasses import replace

import numpy as np
import pytest

from gen.compile import compile_model
from gen.targets import PRESETS
from hw.cluster import Cluster
from hw.config import CoreConfig
from models.tflite_reader import parse
from sim.golden import run
from sim.run import Session
from tb.bench import run_cocotb
from tb.small_core import build
from tb.test_cells import Bundle
from tb.tflite_builder import Net

COMMON = {"act_lines": 1024, "patch_lines": 16, "param_groups": 64, "weight_rows": 256}
CONFIGS = {
    "two": CoreConfig(P=2, F=1, L=2, C=4, V=8, Q=2, **COMMON),
    "ice40": CoreConfig(P=1, F=1, L=2, C=4, V=8, Q="1/2", multiplier="sb_mac16", memory="ice40",
                        align=2, **COMMON | {"act_lines": 16384}),
    "skip": CoreConfig(P=2, F=2, L=4, C=4, V=8, Q=4, skip="both", **COMMON),
    "ecp5": CoreConfig(P=1, F=2, L=4, C=4, V=4, Q=1, multiplier="mult18x18d", memory="dp16kd",
                       mac_dsps=8, **COMMON | {"weight_rows": 512}),
}
BALANCED = CoreConfig(P=1, L=8, C=4, V=8, Q="1/4", F=1, act_lines=4096, patch_lines=16,
                      weight_rows=256, param_groups=16)
PASS_CYCLES = 16    # of each of feed, compute and drain
START_CYCLES = 120  # header and descriptor, the first patch, the last drain


@pytest.mark.parametrize("name", CONFIGS)
def test_cluster_equals_golden_layer_by_layer(name, tmp_path):
    config = CONFIGS[name]
    bundle = Bundle({f"cluster{index}": Cluster(config, index) for index in range(config.P)})
    run_cocotb(bundle, "tb.cocotb_cluster", name=name, work_dir=tmp_path,
               parameters={"config": config.items(), "seed": 5})


@pytest.fixture(scope="module")
def balanced(tmp_path_factory):
    """Return the simulator of a core whose three stages can be made equally slow."""
    return build(BALANCED, tmp_path_factory.mktemp("balanced"))


def measure(net: Net, binary) -> tuple:
    """Run a network; its last layer's description and what the core measured."""
    graph = parse(net.bytes())
    program = compile_model(graph, replace(PRESETS["ecp5-85k"], config=BALANCED))
    x = np.random.default_rng(1).integers(-128, 128, graph.tensors[graph.input].shape, np.int8)
    with Session(program, binary) as session:
        found = session.infer(x)
    golden = run(graph, x)
    for layer, done in zip(program.layers, found.layers, strict=True):
        assert np.array_equal(done.output, golden[layer.output.tensor])
    return program.layers[-1], found.layers[-1]


def test_core_hides_feed_and_drain_behind_compute(balanced):
    """128 bytes a patch: 16 lines to feed, 16 rows to multiply, 4 psums of 4 cycles to drain.

    The only port of the memory takes a write besides: the one bubble a pass.
    """
    assert BALANCED.beats * BALANCED.beat_cycles == PASS_CYCLES == 128 // BALANCED.V
    layer, measured = measure(Net((1, 12, 12, 128), seed=1).conv(4, (1, 1)), balanced)
    passes = 12 * 12 // BALANCED.P
    assert layer.rows == passes * PASS_CYCLES
    assert measured.cycles <= layer.rows + passes + START_CYCLES  # one after the other: 3 * rows
    assert measured.stalls["feed"] + measured.stalls["drain"] <= passes + START_CYCLES


@pytest.mark.parametrize(("channels", "depth"), [(20, 128), (40, 16), (8, 20)])
def test_core_spends_at_most_one_bubble_a_pass(balanced, channels, depth):
    """Patches that serve several groups; where a pass is shorter than its drain, the drain sets
    the pace.
    """
    layer, measured = measure(Net((1, 8, 8, depth), seed=2).conv(channels, (1, 1)), balanced)
    passes = 64 // BALANCED.P * -(-channels // BALANCED.C)
    pace = max(PASS_CYCLES, layer.rows // passes)
    assert measured.cycles <= passes * (pace + 1) + START_CYCLES
