"""A simulated board, as a serial port of this machine."""

import contextlib
import os
import subprocess
from collections.abc import Callable, Iterator

from boards.catalog import Board
from boards.host.ports import SerialPort
from boards.simulated.build import build
from gen.paths import work_folder
from gen.targets import Target

LATENCY = 3.0      # seconds that a reply may take: a simulation is slower than a board


@contextlib.contextmanager
def simulated(board: Board, target: Target, baud: int, image: bytes = b"",
              stage: Callable[[str], None] = lambda text: None) -> Iterator[SerialPort]:
    """Start a board's top behind a pseudo-terminal and give that as a port.

    Parameters
    ----------
    board : Board
    target : Target
        Of the board, its core perhaps fitted to a model.
    baud : int
    image : bytes
        What lies in the flash where the board looks for a program.
    stage : callable
        Told what begins.

    Raises
    ------
    ToolError
        The simulator cannot be built.
    """
    binary = build(board, target, baud, stage)
    master, slave = os.openpty()
    with work_folder("boards") as folder, contextlib.ExitStack() as stack:
        stack.callback(os.close, slave)
        arguments = [str(binary), str(master), str(board.divisor(baud)),
                     str(board.flash.sample - 1 - board.flash.registered)]
        if image:
            (folder / "image.bin").write_bytes(image)
            arguments += [str(board.flash.image), str(folder / "image.bin")]
        process = subprocess.Popen(arguments, pass_fds=[master])
        os.close(master)
        stack.callback(_end, process)
        port = SerialPort(os.ttyname(slave), baud)
        port.latency = LATENCY
        yield port


def _end(process: subprocess.Popen) -> None:
    process.terminate()
    process.wait()
