"""The curve: what a point says, its table and picture, and the command."""

import csv
from dataclasses import asdict, replace

import numpy as np
import pytest

from models.prune.masks import vector_mask
from models.prune.prune import prune
from models.tflite_reader import parse
from sim.curve import __main__ as command
from sim.curve.measure import Point, measure, zero_weights
from sim.curve.picture import draw
from sim.records import to_csv
from tb.test_accuracy import write_idx
from tb.tflite_builder import Net

POINT = Point(model="dense", target="up5k", zero_weights=0.25, zero_rows=0.125, accuracy=0.9,
              images=10, cycles=1000, dense_cycles=1500.5, inputs=2, mismatches=0)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A dense and a pruned classifier of 6x6 images, and a data set of five."""
    folder = tmp_path_factory.mktemp("curve")
    dense = Net((1, 6, 6, 1), 1 / 255, -128, seed=3).conv(8, activation="RELU").conv(
        8, activation="RELU").fully_connected(3).bytes()
    (folder / "dense.tflite").write_bytes(dense)
    (folder / "pruned.tflite").write_bytes(
        prune(dense, "dense", lambda weights: vector_mask(weights, 0.5, 2, 8)))
    rng = np.random.default_rng(1)
    write_idx(folder / "x", rng.integers(0, 256, (5, 6, 6), np.uint8))
    write_idx(folder / "y", rng.integers(0, 3, 5, np.uint8))
    return folder


def arguments(folder, *models):
    return [*(str(folder / f"{name}.tflite") for name in models), "--target", "up5k",
            "--images", str(folder / "x"), "--labels", str(folder / "y")]


def test_zero_weights_count_macs():
    weights = np.ones((4, 1, 1, 2))
    weights[:2] = 0
    graph = parse(Net((1, 4, 4, 2)).conv(4, (1, 1), weights=weights).fully_connected(
        2, weights=np.ones((2, 64))).bytes())
    assert zero_weights(graph) == 0.5 * 128 / (128 + 128)


def test_command_measures_dense_and_pruned(files, tmp_path, capsys):
    output = tmp_path / "new"
    assert command.main([*arguments(files, "dense", "pruned"), "-n", "2",
                         "-o", str(output)]) == 0
    assert sorted(path.name for path in output.iterdir()) == ["curve.csv", "curve.svg"]
    dense, pruned = csv.DictReader((output / "curve.csv").read_text().splitlines())
    assert (dense["model"], pruned["model"]) == ("dense", "pruned")
    for point in (dense, pruned):
        assert (point["target"], point["images"], point["inputs"]) == ("up5k", "5", "2")
        assert point["mismatches"] == "0"
        assert 0 < float(point["cycles"]) <= float(point["dense_cycles"])
        assert 0 <= float(point["accuracy"]) <= 1
    assert float(dense["zero_rows"]) < 0.1
    half = 0.5 * 20736 / 24192   # of the second layer's MACs, of those of all layers
    assert half <= float(pruned["zero_weights"]) < half + 0.02
    assert half <= float(pruned["zero_rows"]) < half + 0.06   # with those that fill up lanes
    out = capsys.readouterr().out
    assert "pruned: 4" in out
    assert f"{output}: curve.csv, curve.svg\n" in out


def test_command_ends_with_1_on_mismatches(files, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(command, "measure", lambda *args: replace(POINT, mismatches=1234))
    assert command.main([*arguments(files, "dense"), "-o", str(tmp_path)]) == 1
    assert "error: the core must write what the golden model computes, not 1,234 other values; " \
        f"see {tmp_path / 'curve.csv'}" in capsys.readouterr().err
    assert (tmp_path / "curve.csv").is_file()


def test_limits_and_inputs_reach_the_measurement(files, tmp_path, monkeypatch):
    seen = []

    def fake(graph, target, images, labels, inputs, *_):
        seen.append((graph.name, target.config.weight_rows, len(images), len(labels), inputs))
        return POINT
    monkeypatch.setattr(command, "measure", fake)
    assert command.main([*arguments(files, "dense"), "-l", "3", "-n", "2", "--set",
                         "weight_rows=1024", "-o", str(tmp_path)]) == 0
    assert seen == [("dense", 1024, 3, 3, 2)]


def test_table_has_a_row_per_point():
    points = [POINT, replace(POINT, model="a,b", accuracy=1 / 3)]
    assert to_csv([asdict(point) for point in points]).splitlines()[1:] == [
        "dense,up5k,0.25,0.125,0.9,10,1000,1500.5,2,0",
        '"a,b",up5k,0.25,0.125,0.333333,10,1000,1500.5,2,0']


def test_picture_is_the_same_again():
    points = [POINT, replace(POINT, model="pruned", zero_weights=0.6, cycles=700)]
    picture = draw(points)
    assert picture == draw(points)
    for text in (b"dense", b"pruned", b"accuracy, % of 10 images",
                 b"cycles of an inference on up5k"):
        assert text in picture


@pytest.mark.parametrize("change, message", [
    (["--target", "up6k"], "up6k"),
    (["--set", "weights=3"], "parameter must be one of"),
    (["--images", "none"], "none must be a readable IDX file"),
    (["-o", "/dev/null/x"], "output must be in a folder that can be written"),
])
def test_command_refuses_bad_input(files, tmp_path, capsys, change, message):
    assert command.main([*arguments(files, "dense"), "-o", str(tmp_path / "new"), *change]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert message in error
    assert not (tmp_path / "new").exists()


def test_command_refuses_a_missing_model(files, tmp_path, capsys):
    argv = [*arguments(files, "dense", "none"), "-o", str(tmp_path / "new")]
    assert command.main(argv) == 2
    assert capsys.readouterr().err.startswith("error: none.tflite: path must be a file")
    assert not (tmp_path / "new").exists()


def test_command_refuses_another_data_set(files, tmp_path, capsys):
    write_idx(tmp_path / "x", np.zeros((5, 7, 6), np.uint8))
    assert command.main([*arguments(files, "dense"), "--images", str(tmp_path / "x")]) == 2
    assert "must hold images of 36 values, as dense wants" in capsys.readouterr().err


def test_help_has_an_example(capsys):
    with pytest.raises(SystemExit) as caught:
        command.main(["--help"])
    assert caught.value.code == 0
    assert "python -m sim.curve models/fashion/fashion.tflite" in capsys.readouterr().out


def test_usage_error_is_one_line(capsys):
    with pytest.raises(SystemExit) as caught:
        command.main(["m", "--target", "up5k"])
    assert caught.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_measure_tells_what_it_does(files, monkeypatch):
    import sim.curve.measure as module
    from gen.targets import resolve
    stages = []
    monkeypatch.setattr(module, "simulate", lambda *args, stage: type(
        "Run", (), {"cycles": [3, 4], "mismatches": 1})())
    graph = parse((files / "dense.tflite").read_bytes(), "dense")
    images = np.zeros((4, 6, 6, 1), np.int8)
    point = measure(graph, resolve("up5k"), images, np.zeros(4), 2, stages.append)
    assert (point.cycles, point.mismatches, point.inputs, point.images) == (3.5, 2, 2, 4)
    assert stages == ["accuracy"]
