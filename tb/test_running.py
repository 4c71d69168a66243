"""Boards from the command line: build without place and route, run on a simulated board."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from boards.build import image, store
from boards.catalog import BOARDS
from boards.host.device import Device
from boards.host.errors import ConfigurationError
from boards.running import Compiler, targets_of
from boards.simulated.board import simulated
from gen.pnr import BuildResult
from gen.targets import PRESETS
from hw.layout import Space
from models.tflite_reader import load
from tb.test_cli import IMAGES, MODEL, refused, run

CYCLES = 199_696      # of the small network on up5k with skip=off, as simulate counts them


@pytest.fixture
def few(tmp_path):
    """Two inputs."""
    path = tmp_path / "x.npy"
    np.save(path, np.load(IMAGES)[:2])
    return path


def milliseconds(out: str) -> float:
    """Of an input, as the summary says."""
    return float(re.findall(r"([0-9.]+) ms with the link", out)[0])


def test_simulated_board_computes_what_the_golden_model_does(capsys, few):
    code, out, error = run(capsys, "run", "--port", "sim:icebreaker", MODEL, "--input", few,
                           "--check")
    assert (code, error) == (0, "")
    assert f"2 inputs, {CYCLES:,} cycles each, 8.32 ms at 24 MHz, " in out
    assert "0 mismatches; link: 0 repeats" in out
    assert "op11_FULLY_CONNECTED" in out and "scores" in out
    alone = milliseconds(out)
    assert CYCLES / 24e3 < alone < 20
    few_more = few.with_name("more.npy")
    np.save(few_more, np.load(IMAGES)[:4])
    code, out, error = run(capsys, "run", "--port", "sim:icebreaker", MODEL, "--input", few_more,
                           "--check", "--double-buffer")
    assert (code, error) == (0, "") and "0 mismatches; link: 0 repeats" in out
    assert milliseconds(out) < alone


def check_start(board) -> bytearray:
    """A simulated board loads the program in its flash; the image that lies there."""
    program = Compiler(load(MODEL)).program(board.target(), board)
    content = image(board, program)
    with simulated(board, board.target(), board.max_baud, content) as port, \
            Device(port) as device:
        assert device.boot_code == 0
        header = device.read(Space.ACT, program.program_line * board.target().config.V // 4, 4)
        assert header[2] == device.config_hash == program.config_hash
    return bytearray(content)


def test_simulated_board_starts_with_the_program_in_its_flash():
    board = BOARDS["icebreaker"]
    damaged = check_start(board)
    damaged[200] ^= 1
    with simulated(board, board.target(), board.max_baud, bytes(damaged)) as port, \
            Device(port) as device:
        assert device.boot_code != 0


def test_simulated_board_starts_over_four_wires():
    """The flash of the iCEBreaker has them, only openFPGALoader does not set its bit."""
    board = BOARDS["icebreaker"]
    check_start(replace(board, flash=replace(board.flash, width=4)))


@pytest.mark.parametrize("name", ["ulx3s-25f", "ecpix5-85f"])
def test_pages_come_twice_as_fast_over_four_wires(name):
    board = BOARDS[name]
    assert store(board.quad()).rate == 2 * store(board).rate


@pytest.mark.long
@pytest.mark.parametrize("name", ("upduino3", "ulx3s-25f", "ecpix5-85f"))
def test_other_boards_compute_the_same(capsys, few, name):
    code, out, error = run(capsys, "run", "--port", f"sim:{name}", MODEL, "--input", few,
                           "--check")
    assert (code, error) == (0, "")
    assert ", 0 mismatches" in out


@pytest.mark.parametrize("port, text", (
    ("/dev/no-such-port", "must be a serial port that can be opened at 1000000 baud"),
    ("sim:iceberg", "board must be one of icebreaker")))
def test_port_that_is_not_there_is_refused(capsys, few, port, text):
    assert text in refused(capsys, "run", "--port", port, MODEL, "--input", few)


def test_core_of_another_configuration_is_refused():
    with pytest.raises(ConfigurationError, match="the core of up5k, not of configuration 00000001"):
        Compiler(load(MODEL)).program_for(1, [PRESETS["up5k"]], None)


@pytest.mark.parametrize("there", (
    BOARDS["icebreaker"].target(), PRESETS["up5k"], PRESETS["ecp5-25k"]), ids=lambda t: t.min_mhz)
def test_program_is_made_for_the_core_that_answers(there):
    targets = targets_of("/dev/ttyUSB0", None, None, [])
    program = Compiler(load(MODEL)).program_for(there.config.hash, targets, None)
    assert program.config_hash == there.config.hash


@pytest.mark.parametrize("arguments, text", (
    (("--board", "icebreaker", "--target", "up5k"), "--target and --board"), ((), "--target and"),
    (("--board", "iceberg"), "must be one of"),
    (("--board", "icebreaker", "--baud", "12000000"), "in 1200..3000000 on icebreaker"),
    (("--board", "icebreaker", "--set", "V=3"), "V must be"),
    (("--board", "icebreaker", "--quad"), "take one of ulx3s-85f, ulx3s-25f, ecpix5-85f, color"),
    (("--board", "orangecrab-25f", "--quad"), "not orangecrab-25f"),
    (("--board", "icebreaker", "--model", "no.tflite"), "no.tflite")))
def test_build_refuses_before_any_work(capsys, tmp_path, arguments, text):
    assert text in refused(capsys, "build", *arguments, "-o", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def fake(clocks):
    """A place and route that takes no time."""
    def build(target, seed, stage, design):
        result = BuildResult(
            device=target.device, target=target.name, seed=seed, lut=1, ff=2, dsp=3, ebr=4,
            spram=5, fmax_mhz=clocks, timing_met=clocks >= target.min_mhz)
        assert {"system.v", "top.v"} == set(design.sources)
        return result, {design.bitstream: b"bits", "build.json": result.to_json()}
    return build


@pytest.mark.parametrize("mhz, code", ((30.0, 0), (23.9, 1)))
def test_build_writes_what_flash_needs(capsys, tmp_path, monkeypatch, mhz, code):
    monkeypatch.setattr("boards.build.place_and_route", fake(mhz))
    monkeypatch.setattr("boards.build.system", lambda *_: "module system; endmodule")
    folder = tmp_path / "out"
    found, out, error = run(capsys, "build", "--board", "icebreaker", "--model", MODEL, "--seed",
                            "3", "--baud", "3000000", "-o", folder)
    assert found == code
    assert "icebreaker on up5k: 1 lut" in out and "(seed 3)" in out
    assert bool(error) == bool(code) and ("must reach 24 MHz, not 23.9" in error) == bool(code)
    built = json.loads((folder / "build.json").read_text())
    assert (built["board"], built["baud"], built["seed"]) == ("icebreaker", 3_000_000, 3)
    assert built["flash_wires"] == 2
    program = Compiler(load(MODEL)).program(BOARDS["icebreaker"].target(), BOARDS["icebreaker"])
    assert (folder / "image.bin").read_bytes() == image(BOARDS["icebreaker"], program)
    code, out, _ = run(capsys, "flash", "--board", "icebreaker", folder, "--dry-run")
    assert code == 0 and "image.bin" in out


def test_image_larger_than_its_room_is_refused(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr("boards.catalog.ADDRESSABLE", 0x20000 + 1000)
    error = refused(capsys, "build", "--board", "icebreaker", "--model", MODEL, "-o", tmp_path)
    assert "must have at most 1,000 bytes" in error
