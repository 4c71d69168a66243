"""A simulated board, as a serial port of this machine."""

import contextlib
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

from boards.catalog import Board
from boards.host.ports import SerialPort
from boards.simulated.build import build
from gen.paths import work_folder
from gen.targets import Target

CLOCK_BYTES = 8
LOOK_SECONDS = 0.05    # of our time, between two looks at the board's


class SimulatedLine(SerialPort):
    """The terminal behind which a board is simulated; its seconds are the board's.

    Parameters
    ----------
    name : str
    baud : int
    clock : Path
        Where the simulation counts cycles.
    clock_hz : int
        How many the board has a second.
    """

    def __init__(self, name: str, baud: int, clock: Path, clock_hz: int):
        super().__init__(name, baud)
        self._clock, self._clock_hz = clock, clock_hz

    def receive(self, seconds: float) -> bytes:
        """Bytes that came, at least one; none after so many seconds without any.

        Raises
        ------
        PortError
            The simulation has ended.
        """
        end = self.seconds() + seconds
        while not (data := super().receive(LOOK_SECONDS)) and self.seconds() < end:
            pass
        return data

    def seconds(self) -> float:
        """Time that has passed on the board."""
        return int.from_bytes(self._clock.read_bytes(), "little") / self._clock_hz


@contextlib.contextmanager
def simulated(board: Board, target: Target, baud: int, image: bytes = b"",
              stage: Callable[[str], None] = lambda text: None) -> Iterator[SimulatedLine]:
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
        clock = folder / "clock"
        clock.write_bytes(bytes(CLOCK_BYTES))
        arguments = [str(binary), str(master), str(clock), str(board.divisor(baud)),
                     str(board.flash.sample - 1 - board.flash.registered)]
        if image:
            (folder / "image.bin").write_bytes(image)
            arguments += [str(board.flash.image), str(folder / "image.bin")]
        process = subprocess.Popen(arguments, pass_fds=[master])
        os.close(master)
        stack.callback(_end, process)
        yield SimulatedLine(os.ttyname(slave), baud, clock, board.core_hz)


def _end(process: subprocess.Popen) -> None:
    process.terminate()
    process.wait()
