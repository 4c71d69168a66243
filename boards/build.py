"""From a board and a core to what is flashed: bitstream, program image and build.json."""

from collections.abc import Callable
from dataclasses import replace

from boards.catalog import Board
from boards.flashing import BITSTREAM, IMAGE
from boards.image import flash_image, flash_store
from boards.rim.top import CLOCK, SYSTEM, Top
from gen.image import Program
from gen.pnr import BuildResult
from gen.pnr import build as place_and_route
from gen.pnr.design import Design
from gen.store import Store
from gen.targets import Target
from gen.verilog import builtin_yosys, convert
from hw.flash.layout import FlashConfig

TOP = "top"
CONSTRAINTS = {"ice40": "pcf", "ecp5": "lpf"}


def flash_config(board: Board) -> FlashConfig:
    """How a board's flash is read."""
    flash = board.flash
    return FlashConfig(address=flash.image, room=flash.image_room, width=flash.width,
                       sample=flash.sample, pace=flash.pace, clock_hz=board.core_hz)


def store(board: Board) -> Store:
    """How fast pages come from a board's flash."""
    return flash_store(flash_config(board))


def image(board: Board, program: Program) -> bytes:
    """What a board's flash holds so that it starts with a program.

    Raises
    ------
    ModelError
        It does not fit.
    """
    return flash_image(program, board.flash.image_room)


def system(board: Board, target: Target, baud: int) -> str:
    """Verilog of the system behind a board's pins.

    Raises
    ------
    ConfigError
        The board cannot make the baud rate.
    """
    from hw.system import System  # slow to import
    return convert(System(target.config, divisor=board.divisor(baud), flash=flash_config(board)),
                   SYSTEM)


def rim(board: Board) -> tuple[str, str]:
    """Verilog of a board's top without its system, and the constraints."""
    with builtin_yosys():
        plan = board.platform_class().prepare(Top(board), TOP, debug_verilog=True, emit_src=False)
    files = plan.files
    return _text(files[f"{TOP}.debug.v"]), _text(files[f"{TOP}.{CONSTRAINTS[board.family]}"])


def _text(content):
    return content.decode() if isinstance(content, bytes) else content


def design(board: Board, target: Target, inner: str) -> Design:
    """What place and route is given.

    Parameters
    ----------
    board : Board
    target : Target
        Of the board, its core perhaps fitted to a model.
    inner : str
        Verilog of the system.
    """
    verilog, constraints = rim(board)
    return Design(target=target, top=TOP, sources={"system.v": inner, "top.v": verilog},
                  constraints=constraints, clock=CLOCK, bitstream=BITSTREAM[board.family],
                  pack=board.pack)


def build(board: Board, target: Target, *, seed: int, baud: int, program: Program | None = None,
          stage: Callable[[str], None] = lambda text: None,
          ) -> tuple[BuildResult, dict[str, str | bytes]]:
    """Make a board's bitstream, and the image of a program.

    Parameters
    ----------
    board : Board
    target : Target
        Of the board, its core perhaps fitted to a model.
    seed : int
        Of the placer.
    baud : int
        Of the UART.
    program : Program, optional
    stage : callable
        Told what begins.

    Returns
    -------
    BuildResult and dict
        What came out, and the files by name.

    Raises
    ------
    ModelError
        The image is larger than its room.
    ConfigError
        The board cannot make the baud rate.
    BuildError
        A tool failed or the design does not fit the device.
    """
    images = {IMAGE: image(board, program)} if program else {}
    stage("generating Verilog")
    whole = design(board, target, system(board, target, baud))
    result, files = place_and_route(target, seed, stage, whole)
    result = replace(result, board=board.name, baud=baud, flash_wires=board.flash.width)
    return result, files | images | {"build.json": result.to_json()}
