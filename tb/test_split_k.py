"""Convolutions whose column groups exceed the weight banks: portion by portion, the same bytes."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from gen.compile import compile_model
from gen.cycles import descriptors, predict
from gen.lower.split_k import portions
from gen.lower.steps import Step, no_params
from gen.targets import PRESETS
from hw.config import CoreConfig
from hw.layout import Opcode
from models.graph import Graph
from models.tflite_reader import parse
from sim import golden
from sim.compare import Comparison, compare_layers
from sim.run import Session
from tb.program_model import run_program
from tb.small_core import build
from tb.tflite_builder import Net

SMALL = CoreConfig(P=1, L=2, C=4, V=4, Q=Fraction(1), F=1, act_lines=16384, weight_rows=32,
                   patch_lines=16, patch_buffers=2, param_groups=16)
CORES = {
    "P1": SMALL,
    "P2": replace(SMALL, P=2, L=4, Q=Fraction(2), F=2),
    "both": replace(SMALL, P=2, L=4, Q=Fraction(2), skip="both"),
    "ice40": replace(SMALL, C=8, V=8, Q=Fraction(1, 4), align=2, act_lines=16384, weight_rows=256,
                     multiplier="sb_mac16", memory="ice40"),
}


def networks(config: CoreConfig) -> dict[str, Graph]:
    """Windows of two to four times the banks: bytes, segments and rows of them; with an ADD."""
    depth = config.weight_rows * config.L
    side = max(3, int((2 * depth / 13) ** 0.5))
    return {
        "one vector": parse(Net((1, 1, 1, 3 * depth + 5), seed=1).reshape()
                            .fully_connected(2 * config.C + 3).bytes()),
        "one image": parse(Net((1, side, side, 13), seed=2).conv(13, (1, 1)).reshape()
                           .fully_connected(config.C + 1, activation="RELU").bytes()),
        "padded": parse(Net((1, 3, 3, depth // 4 + 3), seed=3)
                        .conv(config.C + 2, (3, 3), stride=(2, 1), padding="SAME").bytes()),
        "residual": _residual(depth // 8 + 4)}


def _residual(depth: int) -> Graph:
    net = Net((1, 2, 2, depth), seed=4).conv(depth, (1, 1))
    start = net.here
    return parse(net.conv(depth, (3, 3), padding="SAME").add(start).bytes())


def resumed(program) -> int:
    """Descriptors that go on with the psums of the one before."""
    return sum(d["op"] == Opcode.CONV and d["resume"] for d in descriptors(program))


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("depth", [1000, 3000, 5000, 9001])
def test_presets_take_vectors_of_thousands(name, depth):
    target = PRESETS[name]
    target = replace(target, config=replace(target.config, acc_width=32))
    graph = parse(Net((1, 1, 1, depth), seed=depth).reshape().fully_connected(9).bytes())
    program = compile_model(graph, target)
    whole = depth <= target.config.weight_rows * target.config.L
    assert (resumed(program) == 0) == whole
    x = np.random.default_rng(depth).integers(-128, 128, (1, 1, 1, depth), np.int8)
    found = run_program(program, x)[program.output.tensor]
    np.testing.assert_array_equal(found, golden.run(graph, x)[program.output.tensor])


@pytest.mark.parametrize("core", CORES)
def test_cores_resume_psums(core, tmp_path):
    config = CORES[core]
    binary = build(config, tmp_path)
    for name, graph in networks(config).items():
        program = compile_model(graph, replace(PRESETS["ecp5-85k"], config=config))
        assert resumed(program), name
        x = np.random.default_rng(7).integers(-128, 128, graph.tensors[graph.input].shape, np.int8)
        x[np.random.default_rng(8).random(x.shape) < 0.5] = graph.tensors[graph.input].zero_point
        expected = {tensor: value[None] for tensor, value in golden.run(graph, x).items()}
        comparison = Comparison()
        with Session(program, binary) as session:
            inference = session.infer(x)
            compare_layers(comparison, program, expected, 0, 0, inference)
        assert comparison.first is None, f"{name}: {comparison.first}"
        if not config.skips:        # whose visits' costs are assumed here
            predicted = sum(layer.total for layer in predict(program))
            assert predicted == pytest.approx(inference.cycles, rel=0.02), name


@pytest.mark.parametrize("shape", [(1, 1, 700), (5, 1, 64), (3, 7, 40), (2, 3, 300), (255, 1, 8)])
def test_portions_cover_the_patch_once(shape):
    height, segments, size = shape
    fields = {"kernel_h": height, "segments": segments, "segment_bytes": size, "segment_pitch": 999}
    step = Step(op=Opcode.CONV, fields=fields, groups=1, weights=np.zeros((1, 0), np.uint8),
                params=no_params(SMALL), output=0)
    found = list(portions(step, SMALL))
    assert [0, *(part.end for part in found)] == [*(part.first for part in found),
                                                  height * segments * size]
    most = SMALL.weight_rows // 2 * SMALL.L
    assert all(0 < part.end - part.first <= most for part in found)
    assert all(part.end - part.first == part.rows * part.segments * part.size for part in found)
