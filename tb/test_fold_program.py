"""Folded programs: the golden model's bytes on the core, wrong constants found, reports."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, reject
from hypothesis import strategies as st

import systolith
from gen.compile import compile_model
from gen.fold import fold_channels
from gen.image import load, to_bytes
from gen.report import markdown, summarize
from gen.targets import PRESETS, resolve
from hw.config import CoreConfig
from models.graph import Graph, ModelError
from models.tflite_reader import parse
from sim.compare import Comparison, compare_layers, unfold
from sim.golden import run
from sim.run import Session
from tb.program_model import run_program
from tb.pruned_networks import KINDS, budget, constant_net, inputs_of, pruned_nets, weights
from tb.small_core import build
from tb.tflite_builder import Net

SMALL = CoreConfig(P=1, L=2, C=4, V=8, F=1, Q=1, align=1, act_lines=4096, weight_rows=1024,
                   patch_lines=16, patch_buffers=2, param_groups=40, memory="plain",
                   multiplier="lut")
TARGET = replace(PRESETS["ecp5-85k"], config=SMALL)


@budget(60)
@given(pruned_nets(tuple(kind for kind in KINDS if kind != "depthwise")),
       st.sampled_from([SMALL, PRESETS["up5k"].config, PRESETS["ecp5-85k"].config]))
def test_folded_program_equals_golden(net, config):
    graph = parse(net.bytes())
    target = replace(TARGET, config=config)
    try:
        compile_model(graph, target, fold=False)
    except ModelError:
        reject()  # drawn weights near zero; but what compiles as it is compiles folded
    program = compile_model(graph, target)
    x = inputs_of(graph, 1)
    golden, lost = run(graph, x), {tensor.tensor: tensor for tensor in program.folded}
    for i, values in run_program(program, x).items():
        whole = unfold(lost[i], values, golden[i]) if i in lost else values
        assert np.array_equal(whole, golden[i])


def mixed_net() -> Net:
    """Folds in a convolution, both sides of an addition, a pool and a dense layer."""
    net = constant_net(30, padding="VALID", stride=(1, 1))
    start = net.conv(12, (1, 1), weights=weights((12, 1, 1, 5), 0, 4, 5, 11)).here
    net.conv(12, (1, 1), weights=weights((12, 1, 1, 12), 4, 5, 7)).add(start, activation="RELU")
    return net.max_pool().reshape().fully_connected(7).softmax()


def chain_net() -> Net:
    """Every layer but the last loses channels; padding shows in one of them."""
    net = constant_net(0).conv(9, weights=weights((9, 3, 3, 5), 0, 8)).average_pool(padding="SAME")
    return net.conv(6, padding="SAME").conv(8, (2, 2), weights=weights((8, 2, 2, 6), 1),
                                            padding="VALID", activation="RELU").conv(3, (1, 1))


def simulated(graph: Graph, program, binary) -> Comparison:
    """Run the core on two inputs and compare every tensor with the original network's."""
    comparison, x = Comparison(), inputs_of(graph, 2)
    golden = run(graph, x)
    with Session(program, binary) as session:
        for row in range(2):
            compare_layers(comparison, program, golden, row, row, session.infer(x[row]))
    return comparison


@pytest.fixture(scope="module")
def binary(tmp_path_factory):
    return build(SMALL, tmp_path_factory.mktemp("small"))


@pytest.mark.parametrize("net", [mixed_net(), chain_net()], ids=["mixed", "chain"])
def test_folded_and_unfolded_core_equal_golden(net, binary):
    graph = parse(net.bytes())
    folded, unfolded = (compile_model(graph, TARGET, fold=fold) for fold in (True, False))
    assert folded.folded and not unfolded.folded
    for program in (folded, unfolded):
        comparison = simulated(graph, program, binary)
        assert comparison.first is None
    macs = [sum(layer.macs for layer in program.layers) for program in (unfolded, folded)]
    assert macs[0] - macs[1] == folded.folded_macs > 0


@pytest.mark.parametrize("number", range(len(fold_channels(parse(mixed_net().bytes())).tensors)))
def test_a_wrong_constant_is_found(number, binary):
    """Of every folded tensor, whether the core writes it, adds past it or only reshapes it."""
    graph = parse(mixed_net().bytes())
    program = compile_model(graph, TARGET)
    wrong = program.folded[number]
    first = next(i for i, value in enumerate(wrong.constants) if value is not None)
    constants = (*wrong.constants[:first], wrong.constants[first] ^ 1, *wrong.constants[first + 1:])
    tensors = list(program.folded)
    tensors[number] = replace(wrong, constants=constants)
    found = simulated(graph, replace(program, folded=tuple(tensors)), binary).first
    assert found is not None and wrong.name in found.layer
    assert found.index[-1] == wrong.removed[first]
    assert (found.expected, found.got) == (wrong.constants[first], constants[first])


def test_program_file_and_reports_tell_what_was_folded(tmp_path):
    program = compile_model(parse(mixed_net().bytes()), TARGET)
    (tmp_path / "p.bin").write_bytes(to_bytes(program))
    assert load(tmp_path / "p.bin") == program
    count = sum(len(tensor.constants) for tensor in program.folded)
    text = f"folded: {count} constant or unread channels of {len(program.folded)} tensors, "
    assert f"{text}{program.folded_macs:,} MACs less." in markdown(program)
    values = summarize(program)["folded"]
    assert values["macs"] == program.folded_macs
    assert values["tensors"][0]["op"] == program.folded[0].name
    assert values["tensors"][0]["removed"] == list(program.folded[0].removed)
    assert "folded" not in markdown(compile_model(parse(mixed_net().bytes()), TARGET, fold=False))


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "mixed.tflite"
    path.write_bytes(mixed_net().bytes())
    return path


@pytest.mark.parametrize("target", [[], ["--target", "up5k"]])
@pytest.mark.parametrize("flag", [[], ["--no-fold"]])
def test_check_says_what_was_folded(model, capsys, flag, target):
    assert systolith.main(["check", str(model), *flag, *target]) == 0
    out = capsys.readouterr().out
    assert ("folded: " in out) == (not flag)
    assert ("1x4x4x5" in out) == bool(flag)


def test_compiled_and_generated_cores_fold_alike(tmp_path, monkeypatch):
    """A core generated with --fit takes the program compiled with --fit."""
    monkeypatch.setattr("gen.verilog.emit", lambda config, bus: "")
    model, hashes = tmp_path / "wide.tflite", []
    net = Net((1, 8), seed=1).fully_connected(512, weights=weights((512, 8), *range(0, 512, 2)))
    model.write_bytes(net.fully_connected(600).bytes())
    for flag in ([], ["--no-fold"]):
        folder = tmp_path / f"out{len(flag)}"
        common = [*flag, "--target", "ecp5-85k", "-o", str(folder)]
        assert systolith.main(["compile", str(model), "--fit", *common]) == 0
        assert systolith.main(["generate", "--fit", str(model), *common]) == 0
        report = json.loads((folder / "report.json").read_text())
        core = resolve(str(folder / "config.toml")).config
        assert report["config_hash"] == f"{core.hash:08x}"
        assert bool(report["folded"]["tensors"]) == (not flag)
        hashes.append(report["config_hash"])
    assert hashes[0] != hashes[1]
