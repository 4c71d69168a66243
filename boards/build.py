"""From a board and a core to what is flashed: bitstream, program image and build.json."""

from boards.catalog import Board
from boards.flashing import BITSTREAM
from boards.rim.top import CLOCK, Top
from gen.pnr.design import Design
from gen.targets import Target
from gen.verilog import builtin_yosys

TOP = "top"
CONSTRAINTS = {"ice40": "pcf", "ecp5": "lpf"}


def rim(board: Board) -> tuple[str, str]:
    """Verilog of a board's top without its system, and the constraints."""
    with builtin_yosys():
        plan = board.platform_class().prepare(Top(board), TOP, debug_verilog=True, emit_src=False)
    files = plan.files
    return _text(files[f"{TOP}.debug.v"]), _text(files[f"{TOP}.{CONSTRAINTS[board.family]}"])


def _text(content):
    return content.decode() if isinstance(content, bytes) else content


def design(board: Board, target: Target, system: str) -> Design:
    """What place and route is given.

    Parameters
    ----------
    board : Board
    target : Target
        Of the board, its core perhaps fitted to a model.
    system : str
        Verilog of the system.
    """
    verilog, constraints = rim(board)
    return Design(target=target, top=TOP, sources={"system.v": system, "top.v": verilog},
                  constraints=constraints, clock=CLOCK, bitstream=BITSTREAM[board.family],
                  pack=board.pack)
