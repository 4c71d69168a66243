"""The sweep: the layer that it is about, the command, and what is published of it."""

import csv
from dataclasses import replace

import numpy as np
import pytest

from gen.compile import compile_model
from gen.cycles import predict
from gen.targets import resolve
from models.validate import validate
from sim import golden
from sim.activity import visit_costs
from sim.sweep import __main__ as command
from sim.sweep.layer import Shape, inputs, layer
from sim.sweep.measure import Point
from sim.sweep.picture import draw
from tb.conftest import ROOT
from tb.preset_core import simulator

SMALL = ["--target", "ecp5-85k", "--side", "8", "--outputs", "32", "--step", "40"]
SHARES = ("0", "0.4", "0.8")
POINT = Point(target="core", zeros="both", share=0.5, dense_cycles=1000, cycles=400,
              predicted_cycles=500, mismatches=0)
PUBLISHED, WITHIN = ROOT / "docs" / "sweep.csv", 0.02


def test_layer_has_the_zeros_that_are_asked_for():
    shape = Shape(side=10, outputs=24, channels=20)
    graph = layer(shape, 8, 0.3, seed=2)
    validate(graph)
    weights = graph.tensors[1].data.reshape(3, 8, shape.taps)
    assert shape.taps == 180
    assert ((weights == 0).all(axis=1).sum(axis=1) == 54).all(), "of each group"
    assert (weights == 0).sum() == 3 * 8 * 54
    assert not np.array_equal(weights[0, 0] == 0, weights[1, 0] == 0)
    x = inputs(shape, 0.45, seed=2)
    assert (x == graph.tensors[0].zero_point).sum() == 900
    y = golden.run(graph, x)[graph.output]
    assert y.std() > 10 and np.mean(abs(y.astype(int)) >= 127) < 0.05, "int8 shows the sums"


def test_command_measures_all_kinds_of_zeros(tmp_path, capsys):
    simulator(resolve("ecp5-85k").config)
    assert command.main([*SMALL, "-o", str(tmp_path / "new")]) == 0
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["sweep.csv", "sweep.svg"]
    points = list(csv.DictReader((tmp_path / "new" / "sweep.csv").read_text().splitlines()))
    assert [(point["zeros"], point["share"]) for point in points] == [
        (zeros, share) for zeros in ("activations", "rows", "both") for share in SHARES]
    for point in points:
        assert point["target"] == "ecp5-85k" and point["mismatches"] == "0"
        assert 1 <= float(point["measured"]) <= float(point["ideal"]) + 1e-5
        assert abs(float(point["predicted"]) / float(point["measured"]) - 1) < 0.05
        assert (float(point["measured"]) > 1.2) == (point["share"] != "0")
    assert float(points[-2]["ideal"]) == pytest.approx(1 / 0.36, 1e-4)
    both, rows = float(points[-2]["measured"]), float(points[-5]["measured"])
    assert both > 1.2 * rows
    out = capsys.readouterr().out
    assert "ecp5-85k, 80% zeros in both" in out and "left out" not in out


def test_command_leaves_out_what_a_core_cannot_pass_over(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(command, "sweep", lambda target, *_: [replace(POINT, zeros="activations")])
    assert command.main(["--target", "ecp5-25k", "-o", str(tmp_path)]) == 0
    assert "ecp5-25k: left out rows and both, as skip=act passes over activations only" in \
        capsys.readouterr().out


def test_command_ends_with_1_on_mismatches(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(command, "sweep", lambda *_: [replace(POINT, mismatches=1234)])
    assert command.main(["--target", "ecp5-85k", "-o", str(tmp_path)]) == 1
    assert "not 1,234 other values" in capsys.readouterr().err
    assert (tmp_path / "sweep.csv").is_file()


@pytest.mark.parametrize("change, message", [
    (["--target", "up5k", "--set", "skip=off"], "up5k: skip must be act or both, not off; give"),
    (["--target", "up6k"], "up6k"),
    (["--side", "400", "--target", "ecp5-25k"], "layer does not fit ecp5-25k"),
    (["-o", "/dev/null/x"], "output must be in a folder that can be written"),
])
def test_command_refuses_bad_input(tmp_path, capsys, change, message):
    assert command.main(["-o", str(tmp_path / "new"), *change]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and message in error
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("argv, message", [
    (["--kernel", "17"], "--kernel must be at most --side = 16, not 17"),
    (["--step", "0"], "must be at least 1, not 0"),
])
def test_usage_error_is_one_line(capsys, argv, message):
    with pytest.raises(SystemExit) as caught:
        command.main(argv)
    error = capsys.readouterr().err
    assert caught.value.code == 2 and error.count("\n") == 1 and message in error


def test_help_has_an_example(capsys):
    with pytest.raises(SystemExit):
        command.main(["--help"])
    assert "python -m sim.sweep --target ecp5-25k --set skip=both" in capsys.readouterr().out


def test_picture_is_the_same_again():
    points = [POINT, replace(POINT, target="other", zeros="rows", share=0)]
    picture = draw(points, "a layer")
    assert picture == draw(points, "a layer")
    for text in (b"core", b"other", b"a layer", b"cycle model", b"zero activations"):
        assert text in picture


def test_published_sweep_is_that_of_these_cores():
    """By the cycle model, which the tests of the presets hold against the Verilog."""
    points = list(csv.DictReader(PUBLISHED.read_text().splitlines()))
    assert {point["mismatches"] for point in points} == {"0"}
    some = [point for point in points if point["share"] in ("0", "0.5", "0.95")]
    assert len(some) == 15
    shape = Shape()
    for point in some:
        target, share = resolve(point["target"]), float(point["share"])
        rows, activations = (share * (point["zeros"] != other) for other in ("activations", "rows"))
        graph, x = layer(shape, target.config.C, rows, 1), inputs(shape, activations, 1)
        program = compile_model(graph, target, fold=False)
        costs = visit_costs(program, golden.run(graph, x), 0, x[0])
        found = sum(cycles.total for cycles in predict(program, costs=costs))
        assert abs(found / int(point["cycles"]) - 1) < WITHIN, point
