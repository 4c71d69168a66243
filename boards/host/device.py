"""A board as its host sees it: load a program, run it, read what it measured."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from boards.host.channel import Channel
from boards.host.errors import ConfigurationError, LinkError, RunError, VersionError
from boards.host.packets import Reply, Request, split
from boards.host.ports import Port, SerialPort
from gen.image import Program
from hw.config import PROGRAM_VERSION
from hw.layout import MAGIC, Error, Space
from hw.link.protocol import CONTROL, VERSION, Command, Status
from sim.loaded import (
    REGISTER,
    LayerCount,
    layer_counts,
    read_counters,
    read_tensor,
    write_input,
    writes,
)

BAUD = 1_000_000
BUSY, DONE = 1, 2
HEADER_WORDS = 4
LIMIT_SECONDS = 60.0


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a run gave.

    Parameters
    ----------
    output : numpy.ndarray
        The last tensor that the core computes, int8.
    cycles : int
        The core's own count from start to done.
    """

    output: np.ndarray
    cycles: int


class Device:
    """A core behind a serial line; use it in a ``with`` statement.

    Parameters
    ----------
    port : str or Port
        "/dev/ttyUSB1", "COM3", or a line of another kind.
    baud : int
        Of a serial port.

    Raises
    ------
    PortError
        There is no such port.
    SilenceError, VersionError
        There is no core behind it, or one of another version.

    Examples
    --------
    >>> with Device("/dev/ttyUSB1") as device:
    ...     result = device.load(gen.image.load("model.bin")).run(x)
    """

    def __init__(self, port: str | Port, baud: int = BAUD):
        self._port = SerialPort(port, baud) if isinstance(port, str) else port
        self._channel, self._program = Channel(self._port), None
        try:
            self._identify()
        except LinkError:
            self.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    def close(self) -> None:
        """Give the port back."""
        self._port.close()

    def _identify(self):
        reply, = self._channel.exchange([Request(
            Command.IDENTIFY | Command.READ, Space.REGS, REGISTER["ID"], count=3)])
        magic, version, self.config_hash = (int(word) for word in reply.words)
        if magic != MAGIC:
            raise VersionError(f"the device must be a Systolith core, not answer {magic:#010x} as "
                               f"its ID; choose another port")
        if reply.version != VERSION:
            raise VersionError(f"the link's protocol must be version {VERSION}, not "
                               f"{reply.version}; build the board's bitstream with this version")
        if version != PROGRAM_VERSION:
            raise VersionError(f"the core must run programs of version {PROGRAM_VERSION}, not "
                               f"{version}; build the board's bitstream with this version")
        self.boot_code = reply.boot
        self.clock_hz = reply.divisor * self._port.baud
        self._armed = bool(reply.status & Status.ARMED)

    @property
    def channel(self) -> Channel:
        """The session, with its counts of repeats and damaged frames."""
        return self._channel

    def write(self, space: Space, offset: int, words: Sequence[int] | np.ndarray) -> None:
        """Write 32-bit words from a word offset of a space on.

        Raises
        ------
        LinkError
            See `boards.host.channel.Channel.exchange`.
        """
        self._exchange(split(Command.WRITE, space, offset, words))

    def read(self, space: Space, offset: int, count: int) -> np.ndarray:
        """Return 32-bit words from a word offset of a space on.

        Raises
        ------
        LinkError
            See `boards.host.channel.Channel.exchange`.
        """
        replies = self._exchange(split(Command.READ, space, offset, count=count))
        return np.concatenate([reply.words for reply in replies] or [np.zeros(0, np.uint32)])

    def load(self, program: Program) -> "Device":
        """Load a program; one with pages must be in the board's flash already.

        Raises
        ------
        ConfigurationError
            It is made for another configuration, or has pages that the board does not have.
        LinkError
            See `boards.host.channel.Channel.exchange`; the core then cannot be started.
        """
        if program.config_hash != self.config_hash:
            raise ConfigurationError(
                f"program must be compiled for the board's configuration {self.config_hash:08x}, "
                f"not {program.config_hash:08x}; compile the model for the board's target")
        self._program = None
        if program.stream:
            self._find(program)
        else:
            self._exchange(conversation(program)[1:])
        self._program = program
        return self

    def _find(self, program):
        """The program is there with its pages: booted from flash."""
        header = next(np.frombuffer(s.data, "<u4", HEADER_WORDS, 4 * start)
                      for s in program.sections if s.space == Space.ACT
                      for start in [_word(program) - s.offset]
                      if 0 <= start <= len(s.data) // 4 - HEADER_WORDS)
        found = self._armed and np.array_equal(
            self.read(Space.ACT, _word(program), HEADER_WORDS), header)
        if not found:
            raise ConfigurationError(
                f"program must be booted from the board's flash, which holds its "
                f"{len(program.stream):,} bytes of pages, not be loaded over the link; write its "
                f"image to the flash, or compile the model for a larger target")

    def run(self, x: np.ndarray, limit: float = LIMIT_SECONDS) -> Result:
        """Run the loaded program on one input.

        Raises
        ------
        ModelError
            The input has another type or shape.
        RunError
            No program is loaded, the core stopped with an error, or it did not finish.
        LinkError
            See `boards.host.channel.Channel.exchange`.
        """
        program = self._loaded()
        write_input(self, program, x)
        self._exchange([Request(Command.WRITE, Space.REGS, CONTROL, data=[1])])
        end = time.monotonic() + limit
        while (status := self.status()) & BUSY:
            if time.monotonic() > end:
                raise RunError(f"the core must finish within {limit:g} s, not be at descriptor "
                               f"{status >> 16}; load the program again, or give a longer limit")
        code = status >> 8 & 0xFF
        if code or not status & DONE:
            name = Error(code).name if code in list(Error) else "unknown"
            raise RunError(f"the core must finish, not stop at descriptor {status >> 16} with "
                           f"error {code} ({name}); load the program again")
        return Result(output=read_tensor(self, program, program.output), cycles=self.cycles())

    def status(self) -> int:
        """The core's register STATUS."""
        return int(self.read(Space.REGS, REGISTER["STATUS"], 1)[0])

    def cycles(self) -> int:
        """Cycles of the last run."""
        return int(self.read(Space.REGS, REGISTER["CYCLES"], 1)[0])

    def layers(self) -> list[LayerCount]:
        """What the core measured on each layer in the last run.

        Raises
        ------
        LinkError
            As `run`.
        """
        program = self._loaded()
        return layer_counts(program, read_counters(self, program), self.cycles())

    def _loaded(self) -> Program:
        if self._program is None:
            raise RunError("a program must be loaded, not none; call load() first")
        return self._program

    def _exchange(self, requests: Sequence[Request]) -> list[Reply]:
        return self._channel.exchange(requests)


def conversation(program: Program) -> list[Request]:
    """All requests that load a program, from IDENTIFY to COMMIT.

    A board's flash holds them as frames (`recorded`): booting is listening to a former host.
    """
    return [Request(Command.IDENTIFY), Request(Command.BEGIN),
            *(request for space, offset, words in writes(program)
              for request in split(Command.WRITE, space, offset, words)),
            Request(Command.COMMIT)]


def recorded(program: Program) -> bytes:
    """The frames of `conversation`, for a board's flash."""
    return b"".join(request.frame(number) for number, request in enumerate(conversation(program)))


def _word(program: Program) -> int:
    """Word offset of the program header."""
    return program.program_line * program.core_config.V // 4
