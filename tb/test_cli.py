"""The command line: what it writes, how it refuses, and that it leaves nothing behind."""

import json
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

import systolith
from gen.image import load
from gen.paths import ROOT
from gen.pnr import BuildError, BuildResult
from gen.pnr.design import core_design, goal_mhz
from gen.pnr.flow import CIRCLES, ITERATIONS, MISCOMPILES, circling, exceeded, first_error
from gen.targets import PRESETS, resolve
from sim.device import DeviceError
from tb.tflite_builder import Net

COMMANDS = ("check", "compile", "generate", "simulate", "build", "boards", "flash", "run")
MODEL = str(ROOT / "models" / "fashion" / "fashion.tflite")
IMAGES = str(ROOT / "models" / "fashion" / "images.npy")
SIMULATE = ["simulate", MODEL, "--target", "up5k", "--input"]


def run(capsys, *argv) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of one command."""
    try:
        code = systolith.main([str(arg) for arg in argv])
    except SystemExit as stop:
        code = int(stop.code or 0)
    out = capsys.readouterr()
    return code, out.out, out.err


def refused(capsys, *argv, code=2) -> str:
    """The one line of a refusal."""
    found, _, error = run(capsys, *argv)
    assert found == code
    assert error.startswith("error: ") and error.count("\n") == 1, error
    return error


@pytest.mark.parametrize("command", COMMANDS)
def test_help_ends_with_an_example(capsys, command):
    code, out, _ = run(capsys, command, "--help")
    assert code == 0
    assert f"example:\n  systolith {command} " in out


def test_module_starts_without_heavy_imports():
    text = ("import sys, systolith; systolith._parser(); "
            "sys.exit(bool({'numpy', 'amaranth', 'rich', 'tflite'} & set(sys.modules)))")
    subprocess.run([sys.executable, "-c", text], cwd=ROOT, check=True)


def test_module_runs_as_python_m():
    done = subprocess.run([sys.executable, "-m", "systolith", "generate", "--list"], cwd=ROOT,
                          check=True, capture_output=True, text=True)
    assert "weight_rows" in done.stdout and "1/4" in done.stdout


@pytest.mark.parametrize("argv", (
    [], ["nothing"], ["generate"], ["build", "--target", "up5k"], ["simulate", MODEL],
    ["build", "--target", "up5k", "--seed", "one", "-o", "x"],
    [*SIMULATE, IMAGES, "--skip", "maybe"]))
def test_usage_errors_are_one_line(capsys, argv):
    assert "--help" in refused(capsys, *argv)


@pytest.mark.parametrize("skip, there, needed", [("weights", "act", "both"), ("on", "off", "act")])
def test_core_that_cannot_skip_as_asked_is_refused(capsys, tmp_path, skip, there, needed):
    target = ["--target", "ecp5-25k", "--set", f"skip={there}", "--skip", skip]
    for command in (["compile", MODEL, "-o", tmp_path / "out"],
                    ["simulate", MODEL, "--input", IMAGES]):
        error = refused(capsys, *command, *target)
        assert f"--skip {skip} must meet a core with skip={needed}, not skip={there}" in error


def test_check_tells_where_operators_run(capsys):
    code, out, error = run(capsys, "check", MODEL, "--target", "up5k")
    assert (code, error) == (0, "")
    assert "op12_SOFTMAX" in out and "host" in out and "bytes" in out


def test_check_refuses_what_is_no_model(capsys, tmp_path):
    path = tmp_path / "broken.tflite"
    path.write_bytes(Path(MODEL).read_bytes()[:5000])
    assert "broken.tflite" in refused(capsys, "check", path)
    assert "missing.tflite" in refused(capsys, "check", tmp_path / "missing.tflite")
    assert str(tmp_path.name) in refused(capsys, "check", tmp_path)


def test_check_refuses_an_unsupported_operator(capsys, tmp_path):
    model = tmp_path / "wide.tflite"
    model.write_bytes(Net((1, 300, 8, 4)).conv(4, (30, 1), dilation=(10, 1)).bytes())
    assert "CONV_2D kernel must be at most 255 x 255" in refused(capsys, "check", model)


@pytest.mark.parametrize("net", (Net((1, 2, 2, 4)).reshape().softmax(), Net((1, 16)).softmax(),
                                 Net((1, 2, 2, 4)).reshape()))
def test_network_without_work_for_the_core_is_refused(capsys, tmp_path, net):
    model = tmp_path / "idle.tflite"
    model.write_bytes(net.bytes())
    for argv in (["check"], ["check", "--target", "up5k"],
                 ["compile", "--target", "up5k", "-o", tmp_path / "out"],
                 ["compile", "--target", "up5k", "--fit", "-o", tmp_path / "out"]):
        error = refused(capsys, argv[0], model, *argv[1:])
        assert "idle operators must include one that the core computes" in error
        assert f"not only {', '.join(op.kind for op in net.operators)};" in error


@pytest.mark.parametrize("flags", (["--target", "nothing"], ["--target", "up5k", "--set", "Q=7"],
                                   ["--target", "up5k", "--set", "weight_row=512"],
                                   ["--target", "up5k", "--set", "P"]))
def test_wrong_targets_are_refused_before_anything_is_written(capsys, tmp_path, flags):
    output = tmp_path / "out"
    for command in (["generate"], ["build"], ["compile", MODEL]):
        assert ";" in refused(capsys, *command, *flags, "-o", output)
    assert list(tmp_path.iterdir()) == []


def test_compile_writes_program_and_reports(capsys, tmp_path):
    code, _, _ = run(capsys, "compile", MODEL, "--target", "up5k", "-o", tmp_path)
    assert code == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == \
        ["program.bin", "report.json", "report.md"]
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["model"] == "fashion" and report["macs"] > 1e6
    place = load(tmp_path / "program.bin").output
    assert (report["output"]["line"], report["output"]["bytes"]) == (place.line, place.size)


def test_compile_refuses_a_model_that_does_not_fit(capsys, tmp_path, mlperf):
    error = refused(capsys, "compile", mlperf / "ic_resnet8.tflite", "--target", "ecp5-25k",
                    "--set", "pages=0", "-o", tmp_path / "out")
    assert "does not fit" in error and "bytes" in error
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", (["compile", MODEL], ["generate"], ["build"]))
def test_output_must_be_a_folder(capsys, tmp_path, monkeypatch, command):
    monkeypatch.setattr("gen.targets.resolve", lambda *_: pytest.fail("work before the refusal"))
    path = tmp_path / "file"
    path.write_text("x")
    for output in (path, path / "below" / "it"):
        assert "file" in refused(capsys, *command, "--target", "up5k", "-o", output)
    assert path.read_text() == "x"


@pytest.mark.parametrize("command", (["compile", MODEL], ["generate"], ["build"]))
def test_output_must_have_a_name(capsys, command):
    assert "must name a folder, not ''" in refused(capsys, *command, "--target", "up5k", "-o", "")


def test_terminated_build_leaves_nothing_behind(tmp_path):
    text = ("import sys, time; from gen import paths; from gen.pnr import flow; import systolith\n"
            f"flow.build_folder = paths.build_folder = lambda: paths.Path({str(tmp_path)!r})\n"
            "flow.synthesise = lambda *_: (print('here', flush=True), time.sleep(60))\n"
            "sys.exit(systolith.main(['build', '--target', 'up5k', '-o', sys.argv[1]]))\n")
    with subprocess.Popen([sys.executable, "-c", text, str(tmp_path / "out")], cwd=ROOT,
                          stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "here\n"
        assert list((tmp_path / "pnr").glob(".work-*"))
        process.terminate()
        assert process.wait(20) == 128 + signal.SIGTERM
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")] == ["pnr"]


@pytest.mark.parametrize("option", ("--json", "--trace"))
def test_output_must_be_a_file_that_can_be_written(capsys, tmp_path, monkeypatch, option):
    monkeypatch.setattr("models.tflite_reader.load", lambda _: pytest.fail("work before it"))
    path = tmp_path / "file"
    path.write_text("x")
    for output in (tmp_path, path / "below", "/dev/null"):
        assert ";" in refused(capsys, *SIMULATE, IMAGES, option, output)
    assert not Path("/dev/null").is_file() and list(tmp_path.iterdir()) == [path]


def test_compile_writes_all_files_or_none(capsys, tmp_path):
    (tmp_path / "report.json").mkdir()
    assert "report.json" in refused(capsys, "compile", MODEL, "--target", "up5k", "-o", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]


def test_full_disk_is_one_line(capsys, tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")
    monkeypatch.setattr(Path, "write_bytes", fail)
    error = refused(capsys, "compile", MODEL, "--target", "up5k", "-o", tmp_path)
    assert "No space left" in error and "None" not in error
    assert list(tmp_path.iterdir()) == []


def test_names_are_printed_as_they_are(capsys, tmp_path):
    path = tmp_path / "a[bold]b[red].tflite"
    path.write_bytes(Path(MODEL).read_bytes())
    assert path.stem in run(capsys, "check", path)[1]


def test_generate_writes_the_ports_that_were_asked_for(capsys, tmp_path):
    code, _, _ = run(capsys, "generate", "--target", "up5k", "--bus", "axi", "-o", tmp_path)
    assert code == 0
    assert "s_axil_awaddr" in (tmp_path / "systolith.v").read_text()
    assert "STREAM_CONTROL" in (tmp_path / "registers.md").read_text()
    assert "wishbone" in refused(capsys, "generate", "--bus", "ahb", "-o", tmp_path)


def test_generate_writes_a_configuration_that_resolves_to_itself(capsys, tmp_path):
    code, _, _ = run(capsys, "generate", "--target", "up5k", "--set", "weight_rows=256", "-o",
                     tmp_path / "a" / "b")
    assert code == 0
    folder = tmp_path / "a" / "b"
    assert sorted(path.name for path in folder.iterdir()) == \
        ["config.toml", "registers.md", "systolith.v"]
    assert tomllib.loads((folder / "config.toml").read_text())["weight_rows"] == 256
    expected = resolve("up5k", ["weight_rows=256"]).config
    assert resolve(str(folder / "config.toml")).config == expected


@pytest.mark.parametrize(("array", "word"), (
    (np.zeros((1, 28, 28, 1), np.float32), "int8"),
    (np.zeros((28, 28, 1), np.int8), "shape"),
    (np.zeros((2, 27, 28, 1), np.int8), "shape"),
    (np.zeros((0, 28, 28, 1), np.int8), "at least 1")))
def test_simulate_refuses_inputs_of_another_kind(capsys, tmp_path, array, word):
    path = tmp_path / "x.npy"
    np.save(path, array)
    error = refused(capsys, *SIMULATE, path)
    assert "x.npy" in error and word in error


@pytest.mark.parametrize("content", (
    b"", b"no array", b"\x93NUMPY\x01\x00", b"PK\x03\x04" + bytes(60),
    b"\x93NUMPY\x01\x00\x28\x00{'descr': '|i1', 'shape': (((,           \n"))
def test_simulate_refuses_files_that_are_no_arrays(capsys, tmp_path, content):
    path = tmp_path / "x.npy"
    path.write_bytes(content)
    assert "x.npy" in refused(capsys, *SIMULATE, path)
    assert "missing.npy" in refused(capsys, *SIMULATE, tmp_path / "missing.npy")


def test_simulate_refuses_an_expectation_of_another_length(capsys, tmp_path):
    path = tmp_path / "y.npy"
    np.save(path, np.zeros((3, 10), np.int8))
    error = refused(capsys, *SIMULATE, IMAGES, "--expect", path)
    assert "y.npy" in error and "one per input" in error


def result(**changes) -> BuildResult:
    values = {"device": "up5k", "target": "up5k", "seed": 1, "lut": 1, "ff": 2, "dsp": 3, "ebr": 4,
              "spram": 5, "fmax_mhz": 25.0, "timing_met": True} | changes
    return BuildResult(**values)


def test_build_writes_what_it_measured_even_if_timing_is_missed(capsys, tmp_path, monkeypatch):
    missed = result(fmax_mhz=19.0, timing_met=False)
    monkeypatch.setattr("gen.pnr.build", lambda *_, **__: (missed,
                                                          {"build.json": missed.to_json()}))
    error = refused(capsys, "build", "--target", "up5k", "-o", tmp_path, code=1)
    assert "20 MHz" in error
    values = json.loads((tmp_path / "build.json").read_text())
    assert {"device", "target", "seed", "lut", "ff", "dsp", "ebr", "spram", "fmax_mhz",
            "timing_met", "tools"} <= set(values)


@pytest.mark.parametrize("raised", (BuildError("nextpnr must place it, not fail; see the log"),
                                    DeviceError("the core must finish\n  in time")))
def test_failed_tools_are_one_line_and_code_1(capsys, tmp_path, monkeypatch, raised):
    def fail(*_, **__):
        raise raised
    monkeypatch.setattr("gen.pnr.build", fail)
    refused(capsys, "build", "--target", "up5k", "-o", tmp_path / "out", code=1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("warning", MISCOMPILES)
def test_warnings_that_hide_a_miscompile_stop_a_build(warning, monkeypatch, tmp_path):
    from gen.pnr import flow
    monkeypatch.setattr(flow, "run", lambda *_: f"Warning: net x {warning} y")
    monkeypatch.setattr(flow, "keep", lambda path: path)
    with pytest.raises(BuildError, match="one driver per net"):
        flow.synthesise(core_design(PRESETS["up5k"]), tmp_path)


def test_a_placement_without_a_way_to_route_is_followed_by_others(monkeypatch, tmp_path):
    from gen.pnr import flow
    tried = []

    def place(design, seed, folder, router):
        tried.append((seed, router))
        (folder / "design.json").write_text(json.dumps(
            {"modules": {design.top: {"cells": {}, "netnames": {}}}}))
        for name in ("area.md", "yosys.log", "nextpnr.log", "report.json"):
            (folder / name).write_text("")
        if (seed, router) != way:
            raise flow.RoutingError("circles")
        return {"utilization": {}, "fmax": {"clk": {"achieved": 90.0}}}

    monkeypatch.setattr(flow, "synthesise", lambda *_: None)
    monkeypatch.setattr(flow, "place", place)
    ways = [(seed, router) for seed in (5, 6, 7) for router in flow.ROUTERS]
    for count, way in enumerate(ways, 1):
        tried.clear()
        result, _ = flow.build(PRESETS["ecp5-25k"], 5)
        assert result.seed == way[0] and tried == ways[:count]
    way = None
    with pytest.raises(BuildError, match="circles"):
        flow.build(PRESETS["ecp5-85k"], 5)


def test_router_is_asked_for_more_than_needed():
    assert goal_mhz(PRESETS["ecp5-85k"]) > PRESETS["ecp5-85k"].min_mhz
    assert goal_mhz(PRESETS["ecp5-25k"]) > 0


def test_first_error_of_a_tool_is_shown():
    assert first_error("Info: a\nERROR: no BELs left\nmore") == "ERROR: no BELs left"
    assert first_error("") == "no message"


def test_overfull_devices_are_told_from_other_failures():
    log = "Info: \t  ICESTORM_LC:    6491/   5280   122%\nInfo: \t ICESTORM_RAM:  27/ 30    90%\n"
    assert exceeded(log) == "6491 of 5280 ICESTORM_LC"
    assert exceeded("ERROR: something else") == ""


def test_a_router_that_goes_in_circles_is_noticed():
    """Lines as nextpnr's router1 writes them."""
    def report(count, remaining):
        return (f"Info: {count:10} |   151798      27725 | 1000   400 | {remaining:9}|"
                f"  0.2  262.55|\n")
    moving = "".join(report(1000 * n, 9000 - n) for n in range(2 * CIRCLES))
    stuck = "".join(report(1000 * n, 8950 + n % 7) for n in range(CIRCLES))
    less = stuck[len(stuck) // CIRCLES:]
    assert not circling("") and not circling(moving) and not circling(moving + less)
    assert circling(moving + stuck)
    assert not circling(moving + stuck + report(0, 0))


def test_a_router2_that_does_not_end_is_noticed():
    """Lines as nextpnr's router2 writes them."""
    lines = ["Info:     iter=7 wires=67737 overused=1 overuse=1 archfail=NA\n"] * (ITERATIONS + 1)
    assert not circling("".join(lines[1:])) and circling("".join(lines))
