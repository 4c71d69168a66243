"""What passing over zeros is worth on the presets themselves, and that it never costs anything."""

import random

import numpy as np
import pytest

from gen.compile import compile_model
from gen.targets import PRESETS, Target, resolve
from models.tflite_reader import parse
from sim.golden import run as golden_run
from sim.run import Session
from sim.sweep.layer import Shape, inputs, layer
from sim.sweep.measure import run
from tb.preset_core import simulator
from tb.tflite_builder import Net

ABLE = [name for name, target in PRESETS.items() if target.config.skips]
WIDER = pytest.param("ecp5-25k", ("skip=both",), marks=pytest.mark.long)    # no preset
SHAPES = (Shape(), Shape(side=8, outputs=32), Shape(side=12, channels=32, outputs=32),
          Shape(side=10, kernel=1, channels=144))
ACTIVATIONS, BOTH = 1.55, 2.6   # times as fast, half of them zero
LOSS = 1.02                     # times as long at most
NETWORKS = 16


@pytest.mark.parametrize("name, changes", [*((name, ()) for name in ABLE), WIDER])
def test_half_of_the_zeros_make_layers_of_presets_faster(name, changes):
    """Activations alone; with as many zero rows of weights besides on cores that pass over both."""
    target = resolve(name, changes)
    simulator(target.config)
    for number, shape in enumerate(SHAPES):
        assert shape.taps >= 144

        def cycles(activations, rows, skip="auto", shape=shape, seed=number):
            found, _, mismatches = run(target, layer(shape, target.config.C, rows, seed),
                                       inputs(shape, activations, seed), skip)
            assert not mismatches
            return found

        dense = cycles(0, 0, "off")
        assert dense >= ACTIVATIONS * cycles(0.5, 0), shape.text
        if target.config.row_masks:
            assert dense >= BOTH * cycles(0.5, 0.5), shape.text


@pytest.mark.parametrize("name, changes", [*((name, ()) for name in ABLE), WIDER])
def test_no_layer_takes_longer_for_passing_over_zeros(name, changes):
    """Waiting for pages aside, which layers before it no longer hide: the network is no slower."""
    target, rng, layers = resolve(name, changes), random.Random(4), 0
    binary = simulator(target.config)
    for number in range(NETWORKS):
        graph, x = random_case(rng, number, target)
        found = []
        for skip in ("off", "auto"):
            with Session(compile_model(graph, target, skip=skip), binary) as session:
                found.append(session.infer(x))
        dense, skipping = found
        assert np.array_equal(skipping.output, golden_run(graph, x[None])[graph.output])
        assert skipping.cycles <= LOSS * dense.cycles, number
        for before, after in zip(dense.layers, skipping.layers, strict=True):
            longest = LOSS * (before.cycles - before.stalls["page"])
            assert after.cycles - after.stalls["page"] <= longest, number
            layers += 1
    assert layers >= 2 * NETWORKS


def random_case(rng: random.Random, number: int, target: Target):
    """Convolutions of many sizes, few or many of whose weights and inputs are zero."""
    size = (rng.randint(3, 14), rng.randint(3, 14), rng.choice([1, 3, 4, 8, 16, 20, 32, 64]))
    net = Net((1, *size), seed=number, zero_point=rng.choice([-128, 0, 5]))
    for _ in range(rng.randint(1, 4)):
        net.conv(rng.choice([4, 8, 16, 24, 32, 48]), rng.choice([(1, 1), (3, 3), (1, 3), (2, 2)]),
                 stride=(rng.choice([1, 1, 2]),) * 2, activation=rng.choice(["RELU", "NONE"]))
    if number % 3 == 0:
        net.reshape().fully_connected(rng.randint(2, 16))
    net.prune_rows(rng.choice([0, 0, 0.05, 0.3, 0.7, 0.95]), target.config.C)
    graph, values = parse(net.bytes()), np.random.default_rng(number)
    x = values.integers(-128, 128, graph.tensors[graph.input].shape[1:], np.int8)
    zero = values.random(x.shape) < rng.choice([0, 0, 0.02, 0.1, 0.5, 0.9, 1])
    x[zero] = graph.tensors[graph.input].zero_point
    return graph, x
