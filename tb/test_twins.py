"""Two pixels a pass: which layers become twins; model and core compute them bit for bit."""

import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gen.compile import compile_model
from gen.cycles import descriptors, predict
from gen.targets import PRESETS
from hw.config import CoreConfig
from models.tflite_reader import parse
from sim.golden import run
from sim.run import Session
from tb import small_core
from tb.test_lower import ACTIVATIONS, BUDGET, SEEDS, check, configs
from tb.tflite_builder import Net

CORES = {
    "pair": CoreConfig(P=2, L=2, C=8, V=8, Q=4, F=2, act_lines=4096, weight_rows=1024,
                       patch_lines=64, patch_buffers=4, param_groups=64, skip="both"),
    "single": CoreConfig(P=1, L=4, C=16, V=16, Q=2, F=1, act_lines=4096, weight_rows=1024,
                         patch_lines=64, patch_buffers=2, param_groups=64),
}
NETWORKS = 8


def program(net: Net, config: CoreConfig, skip: str = "off"):
    """A network compiled for a core, and its graph."""
    graph = parse(net.bytes())
    target = replace(PRESETS["ecp5-85k"], config=config)
    return compile_model(graph, target, skip=skip), graph


def twins(net: Net, config: CoreConfig) -> list[int]:
    """The field of every descriptor."""
    return [d["twin"] for d in descriptors(program(net, config)[0])]


def test_layers_of_few_channels_become_twins_where_that_saves_cycles():
    config = CORES["pair"]

    def image():
        return Net((1, 13, 16, 3), seed=1)
    assert twins(image().conv(4, (3, 3)), config) == [1]
    assert twins(image().conv(3, (3, 3), stride=(2, 2)), config) == [1]
    assert twins(image().conv(5, (3, 3)), config) == [0]                    # too many channels
    assert twins(Net((1, 13, 15, 3), seed=1).conv(4, (3, 3)), config) == [0]    # no whole pairs
    assert twins(Net((1, 13, 16, 12), seed=1).conv(4, (1, 1)), config) == [0]   # nothing shared
    assert twins(image().conv(4, (3, 3)), replace(config, F=1)) == [0]
    wide = replace(config, skip="off", V=16)
    assert twins(image().conv(4, (3, 3)), wide) == [0]
    fast = replace(config, C=16, V=16, Q=16)
    alone = replace(fast, F=1)
    with_twins, without = (sum(layer.total for layer in predict(program(net, core)[0]))
                           for net, core in ((image().conv(8, (3, 3)), fast),
                                             (image().conv(8, (3, 3)), alone)))
    assert with_twins < 0.95 * without


def test_sums_are_no_twins():
    net = Net((1, 6, 8, 4), seed=2)
    start = net.here
    assert twins(net.conv(4, (3, 3)).add(start), CORES["pair"]) == [0]


def test_lowering_equals_golden_for_twins():
    seen = []

    @settings(BUDGET, max_examples=60)
    @given(configs(F=2), st.tuples(st.integers(1, 6), st.integers(1, 4)),
           st.tuples(st.integers(1, 4), st.integers(2, 5)), st.integers(1, 3), st.integers(1, 3),
           st.booleans(), ACTIVATIONS, SEEDS)
    def case(config, size, kernel, step, depth, same, activation, seed):
        config = replace(config, V=max(config.C, config.L), align=1)
        net = Net((1, size[0] + 3, 2 * step * size[1] + (0 if same else kernel[1] - 1), depth),
                  seed=seed)
        net.conv(config.C // 2, kernel, stride=(1, step), activation=activation,
                 padding="SAME" if same else "VALID").conv(3, (1, 1))
        check(net, config)
        seen.append(max(twins(net, config)))
    case()
    assert sum(seen) >= len(seen) // 5


@pytest.mark.parametrize("name", CORES)
def test_core_computes_twins_in_the_predicted_cycles(name, tmp_path):
    config, rng = CORES[name], random.Random(name)
    binary, found = small_core.build(config, tmp_path), 0
    for number in range(NETWORKS):
        net = Net((1, rng.randint(3, 9), 2 * rng.randint(2, 9), rng.randint(1, 4)), seed=number)
        net.conv(rng.randint(1, config.C // 2), (rng.randint(1, 3), rng.randint(2, 5)),
                 stride=(rng.randint(1, 2), rng.randint(1, 3)), padding="SAME",
                 activation=rng.choice(["NONE", "RELU", "RELU6"]))
        net.depthwise((3, 3), padding="SAME").conv(rng.randint(1, 20), (1, 1))
        skip = "on" if config.row_masks and number % 2 else "off"
        compiled, graph = program(net, config, skip)
        shape = graph.tensors[graph.input].shape
        x = np.random.default_rng(number).integers(-128, 128, shape, np.int8)
        golden = run(graph, x)
        with Session(compiled, binary) as session:
            inference = session.infer(x)
        found += descriptors(compiled)[0]["twin"]
        for layer, ran, cycles in zip(compiled.layers, inference.layers, predict(compiled),
                                      strict=True):
            assert np.array_equal(ran.output, golden[layer.output.tensor]), (number, layer.name)
            assert skip == "on" or ran.cycles == cycles.total, (number, layer.name)
        assert np.array_equal(inference.output, golden[graph.output])
    assert found >= NETWORKS // 4
