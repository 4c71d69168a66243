"""The bench: its cells, its tables and picture, the README's part, and what it makes of Vela."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from gen.targets import PRESETS
from models.zoo import NETWORKS, OURS, model_path, random_inputs, real_inputs
from sim.bench import __main__ as command
from sim.bench import vela
from sim.bench.measure import CASES, Case, Cell, Row, Share, load_case, measure
from sim.bench.text import (
    BEGIN,
    END,
    NO_FIT,
    Results,
    area_table,
    cycle_table,
    kind_table,
    notes,
    quoted,
    refusals,
    replace_quoted,
    report,
)
from tb.tflite_builder import Net

FASHION = Case(network="fashion")
PREDICT = ["--predict", "--network", "fashion", "--target", "up5k"]
README = Path(__file__).resolve().parents[1] / "README.md"
FAKE = """#!{python}
import sys
from pathlib import Path
arguments = sys.argv[1:]
if arguments == ["--version"]:
    sys.exit(print("9.8.7"))
cycles = {cycles}["--debug-force-regor" in arguments]
folder = Path(arguments[arguments.index("--output-dir") + 1])
folder.mkdir(parents=True)
(folder / "net_summary_any.csv").write_text(f"network,cycles_total\\nnet,{{cycles}}\\n")
"""


@pytest.fixture
def fake_vela(tmp_path) -> Path:
    """An executable that writes summaries like Vela's."""
    path = tmp_path / "vela"
    path.write_text(FAKE.format(python=sys.executable, cycles="[4290.5, 5000]"))
    path.chmod(0o755)
    return path


@pytest.fixture
def no_vela(monkeypatch):
    monkeypatch.setattr(vela, "find", lambda executable=None: None)


@pytest.fixture
def picture():
    return pytest.importorskip("matplotlib", reason="matplotlib is not installed: run make setup")


def row(**changes) -> Row:
    cells = {"up5k": Cell(preset="up5k", peak=16, macs=8000, cycles=1000.0, kinds={
                 "convolution": Share(macs=8000, cycles=800), "addition": Share(cycles=200)}),
             "ecp5-25k": Cell(preset="ecp5-25k", peak=64, macs=0,
                              refusal="it does not fit; take another")}
    return Row(**{"case": FASHION, "macs": 8000, "network_macs": 16000, "inputs": 1,
                  "real": True, "cells": cells} | changes)


def results(*rows: Row, **changes) -> Results:
    return Results(**{"rows": list(rows) or [row()], "presets": ("up5k", "ecp5-25k")} | changes)


def test_predicted_cell_adds_up():
    found, graph, inputs = load_case(FASHION, 2)
    cell = measure(FASHION, graph, "up5k", None)
    assert inputs.shape == (2, 28, 28, 1) and found.real and found.macs == cell.macs
    assert sum(share.cycles for share in cell.kinds.values()) == cell.cycles
    assert sum(share.macs for share in cell.kinds.values()) == cell.macs
    assert cell.limit_cycles == -(-cell.macs // 16) < cell.cycles
    assert cell.utilization == pytest.approx(cell.macs / cell.cycles / 16)
    assert list(cell.kinds) == ["convolution", "fully connected", "pooling"]
    assert cell.kind_utilization("convolution") > 1, "it passes over zeros"
    assert not cell.kind_utilization("pooling")


def test_network_that_does_not_fit_is_a_cell(tmp_path, monkeypatch):
    path = tmp_path / "fashion.tflite"
    path.write_bytes(Net((1, 96, 96, 64)).conv(64).bytes())
    monkeypatch.setattr("sim.bench.measure.model_path", lambda name: path)
    found, graph, inputs = load_case(FASHION, 3)
    assert not found.real and inputs.shape == (3, 96, 96, 64)
    cell = measure(FASHION, graph, "up5k", None)
    assert "fashion does not fit up5k" in cell.refusal and cell.cycles == 0


def test_rows_of_the_readme_are_measured():
    assert {case.network for case in CASES} == {network.name for network in NETWORKS}
    assert CASES[4].title.endswith(", `--no-fold`, `--fit` on ecp5-85k")
    assert all(name in PRESETS for case in CASES for name in case.fit)


def test_tables_have_cycles_shares_and_what_does_not_fit():
    lines = cycle_table(results(row(arm={"ethos-u55-128": 500}),
                                accelerators=("ethos-u55-128",)))
    assert lines[0] == "| network | MACs | `up5k`, 16 MACs/cycle | `ecp5-25k`, 64 | Arm U55-128 |"
    assert lines[2].endswith("| 8,000 of 16,000 | 1,000 (50 %) | does not fit | 500 (25 %) |")
    kinds = kind_table(results())
    assert kinds[0].endswith("| dense limit | cycles | of peak | convolution | addition |")
    assert kinds[2].endswith("| 500 | 1,000 | 50.0 % | 62 % / 80 % | - / 20 % |")
    assert len(kinds) == 5 and refusals(results())[0].endswith("it does not fit; take another")


def test_mismatches_stand_in_cell_and_notes():
    found = row()
    found.cells["up5k"].mismatches = 7
    text = " ".join(quoted(results(found), "x.svg").split())
    assert "1,000 (50 %), **7 mismatches**" in text and "7 mismatches in all layers" in text


def test_notes_tell_what_was_not_simulated_and_what_is_missing():
    assert "not simulated" in " ".join(notes(results(predicted=True)))
    assert "1 real input each" in " ".join(notes(results()))
    mixed = results(row(inputs=4), row(inputs=2, real=False))
    assert "2..4 real or random inputs" in " ".join(notes(mixed))
    assert vela.INSTALL in " ".join(notes(results()))
    assert f"{vela.PACKAGE} 1.2.3" in " ".join(notes(results(vela_version="1.2.3")))


def test_area_is_that_of_the_recorded_builds():
    built = {"seed": 3, "lut": 5000, "ff": 2000, "dsp": 8, "ebr": 20, "fmax_mhz": 19.04}
    lines = area_table(results(routed={"up5k": built, "ecp5-25k": {}}))
    assert "| logic cells | 5,000 of 5,280 |" in lines
    assert "| clock | 19.0 MHz, below the 20 MHz that `build` asks |" in lines
    assert "--seed 3` on up5k, with the tools as pinned" in lines[-1]
    tools = area_table(results(routed={"up5k": built | {"tools": {"yosys": "1.2"}}}))
    assert "with yosys 1.2." in tools[-1]
    assert "No build" in area_table(results())[0]


def test_readme_has_one_part_that_bench_rewrites():
    text = README.read_text()
    assert replace_quoted(text, text.split(BEGIN)[1].split(END)[0].strip("\n")) == text
    assert replace_quoted(f"a\n{BEGIN}\nold\n{END}\nb", "new") == f"a\n{BEGIN}\nnew\n{END}\nb"
    for wrong in ("", BEGIN, END + BEGIN, 2 * (BEGIN + END), END + BEGIN + END):
        with pytest.raises(ValueError, match="must have .* once each"):
            replace_quoted(wrong, "new")


def test_picture_is_the_same_again(picture):
    from sim.bench.picture import draw
    found = results(row(arm={"ethos-u55-64": 500}), accelerators=("ethos-u55-64",))
    svg = draw(found)
    assert svg == draw(found) and NO_FIT.encode() in svg and b"Arm U55-64" in svg
    nothing = row()
    nothing.cells = {"up5k": replace(nothing.cells["ecp5-25k"], preset="up5k")}
    assert draw(results(nothing, presets=("up5k",))).startswith(b"<?xml")


def test_command_writes_three_files(capsys, tmp_path, no_vela, picture):
    assert command.main([*PREDICT, "-o", str(tmp_path)]) == 0
    values = json.loads((tmp_path / "bench.json").read_text())
    cell = values["rows"][0]["cells"]["up5k"]
    assert values["predicted"] and values["vela"] == "" and cell["macs"] > 1e6
    assert 1 < cell["kinds"]["convolution"]["utilization"] < 2
    assert f"{cell['cycles']:,.0f}" in (tmp_path / "bench.md").read_text()
    assert f"{cell['cycles']:,.0f}" in capsys.readouterr().out
    assert {path.name for path in tmp_path.iterdir()} == {"bench.json", "bench.md", "bench.svg"}


def test_command_adds_arms_column(tmp_path, fake_vela, picture):
    output = tmp_path / "out"
    assert command.main([*PREDICT, "--vela", str(fake_vela), "-o", str(output)]) == 0
    values = json.loads((output / "bench.json").read_text())
    assert values["vela"] == "9.8.7" and values["rows"][0]["arm"] == {"ethos-u55-128": 4290}
    assert "| 4,290 (" in (output / "bench.md").read_text()


def test_command_ends_with_1_on_mismatches(capsys, tmp_path, no_vela, picture, monkeypatch):
    def wrong(case, graph, preset, inputs, stage):
        return Cell(preset=preset, peak=16, macs=16, cycles=2.0, mismatches=5)
    monkeypatch.setattr(command, "measure", wrong)
    assert command.main([*PREDICT, "-o", str(tmp_path)]) == 1
    assert "not 5 other values" in capsys.readouterr().err


@pytest.mark.parametrize("argv", (["-n", "0"], ["-o", ""], ["--target", "x"], ["--network", "x"],
                                  ["--ethos", "x"], ["--readme", "--target", "up5k"],
                                  ["--readme"]))
def test_command_refuses_usage_errors(capsys, no_vela, argv):
    with pytest.raises(SystemExit) as stop:
        command.main(argv)
    error = capsys.readouterr().err
    assert stop.value.code == 2 and error.startswith("error: ") and error.count("\n") == 1


def test_help_has_examples(capsys):
    with pytest.raises(SystemExit):
        command.main(["--help"])
    assert "python -m sim.bench --predict" in capsys.readouterr().out


@pytest.mark.parametrize(("text", "cycles"), (
    ("network,cycles_npu,cycles_total\nx,184062,184083\n", 184083),
    ("network,cycles_npu,cycles_total\nx,80802.0,80856.5\n", 80856)))
def test_vela_summary_gives_cycles_rounded_down(text, cycles):
    assert vela.parse_summary(text) == cycles


@pytest.mark.parametrize("text", ("", "network,cycles_total\n", "network\nx\n",
                                  "network,cycles_total\nx,many\n"))
def test_vela_summary_of_another_kind_is_refused(text):
    with pytest.raises(vela.VelaError, match="must have a number as cycles_total, not"):
        vela.parse_summary(text)


def test_vela_that_fails_is_one_line(capsys, tmp_path, picture):
    path = tmp_path / "vela"
    for content, word in ((None, "No such file"), ("echo broken >&2; exit 3", "broken"),
                          ("echo usage", "usage")):
        if content:
            path.write_text(f"#!/bin/sh\n{content}\n")
            path.chmod(0o755)
        assert command.main([*PREDICT, "--vela", str(path), "-o", str(tmp_path / "out")]) == 2
        error = capsys.readouterr().err
        assert word in error and vela.INSTALL in error and error.count("\n") == 1


def test_inputs_are_real_where_there_are_some(tmp_path):
    assert real_inputs(model_path("fashion")) == OURS / "images.npy"
    model = tmp_path / "net.tflite"
    assert real_inputs(model) is None
    (tmp_path / "net.input.npy").touch()
    assert real_inputs(model) == tmp_path / "net.input.npy"
    assert (random_inputs((4, 2), 3) == random_inputs((4, 2), 3)).all()


def test_report_ends_with_what_does_not_fit():
    assert report(results(), "x.svg").rstrip().endswith("it does not fit; take another")
    found = row()
    del found.cells["ecp5-25k"]
    assert NO_FIT not in report(results(found, presets=("up5k",)), "x.svg")
