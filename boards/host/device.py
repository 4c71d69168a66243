"""A board as its host sees it: load a program, run it, read what it measured."""

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from boards.host.channel import Channel
from boards.host.errors import ConfigurationError, LinkError, RunError, VersionError
from boards.host.packets import Reply, Request, split
from boards.host.ports import Port, SerialPort
from boards.host.recording import conversation
from gen.image import Program, pack_input
from hw.config import PROGRAM_VERSION
from hw.layout import MAGIC, Error, Space
from hw.link.protocol import CONTROL, VERSION, Command, Status
from sim.loaded import (
    REGISTER,
    LayerCount,
    identity,
    layer_counts,
    opcodes,
    read_counters,
    read_tensor,
    tensor_words,
    to_words,
    unpack_words,
    word_offset,
)

BAUD = 1_000_000
BUSY, DONE = 1, 2
FINAL_WORDS = 1 + REGISTER["CYCLES"] - REGISTER["STATUS"]    # read at once
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
        self._second: bool | None = None    # which places the descriptors mean, if that is known
        self._running, self._starts = False, 0
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
        return joined(replies)

    def load(self, program: Program) -> "Device":
        """Load a program; one with pages must be in the board's flash already.

        Raises
        ------
        ConfigurationError
            It is made for another configuration, or has pages and the board has not booted it.
        LinkError
            See `boards.host.channel.Channel.exchange`; the core then cannot be started.
        """
        if program.config_hash != self.config_hash:
            raise ConfigurationError(
                f"program must be compiled for the board's configuration {self.config_hash:08x}, "
                f"not {program.config_hash:08x}; compile the model for the board's target")
        self._program, self._second = None, None
        if not program.stream:
            self._exchange(conversation(program)[1:])
        elif not self._booted(program):
            raise ConfigurationError(
                f"program must be booted from the board's flash, which holds its "
                f"{len(program.stream):,} bytes of pages, not be loaded over the link; write its "
                f"image to the flash, or compile the model for a larger target")
        self._program, self._opcodes = program, opcodes(program)
        self._running = bool(self.status() & BUSY)      # another session may have left it so
        return self

    def _booted(self, program):
        """Whether the device is armed with just this program."""
        return self._armed and all(np.array_equal(self.read(Space.ACT, place, len(words)), words)
                                   for place, words in identity(program))

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
        program = self._loaded(limit)
        self._start(program, False, before=self._sending(program, x, program.input))
        cycles = self._finish(limit)
        return Result(output=read_tensor(self, program, program.output), cycles=cycles)

    def stream(self, inputs: Iterable[np.ndarray],
               limit: float = LIMIT_SECONDS) -> Iterator[Result]:
        """Run the loaded program on inputs; while one is computed, the next one is sent.

        Raises
        ------
        ModelError
            An input has another type or shape; the result of the one before is lost.
        RunError
            As `run`; or the program is not double-buffered, or was run otherwise meanwhile.
        LinkError
            As `run`.
        """
        program = self._loaded(limit)
        if program.twin is None:
            raise RunError("program must have places for two inputs, not one; compile the model "
                           "with --double-buffer")
        ends, second, started = (program, program.twin), True, 0
        for x in inputs:
            place, second = ends[second].output, not second
            sending = self._sending(program, x, ends[second].input)
            if not started:
                self._start(program, second, before=sending)
                started = self._starts
                continue
            cycles = self._finish(limit, sending, started)
            replies = self._start(program, second, behind=self._reading(program, place))
            started = self._starts
            yield Result(output=unpack_words(place, joined(replies)), cycles=cycles)
        if started:
            cycles = self._finish(limit, start=started)
            yield Result(output=read_tensor(self, program, ends[second].output), cycles=cycles)

    def _sending(self, program, x, place):
        """Requests that write an input to one of its places."""
        line, data = pack_input(program, x, place)
        return split(Command.WRITE, Space.ACT, word_offset(program, line), to_words(data))

    def _reading(self, program, place):
        """Requests that read the output from one of its places."""
        return split(Command.READ, Space.ACT, word_offset(program, place.line),
                     count=tensor_words(place))

    def _start(self, program, second, before=(), behind=()) -> list[Reply]:
        """Start the core on its first or second places, with requests before and behind."""
        words = program.twin.words if program.twin and second != self._second else ()
        self._second = None
        replies = self._exchange([
            *before, *(Request(Command.WRITE, Space.ACT, place, data=[values[second]])
                       for place, *values in words),
            Request(Command.WRITE, Space.REGS, CONTROL, data=[1]), *behind])
        self._second, self._running, self._starts = second, True, self._starts + 1
        return replies

    def _finish(self, limit, before=(), start=0) -> int:
        """Wait until a start's run is done, after requests that go ahead; return its cycles."""
        if start and start != self._starts:
            raise RunError("the device must be left alone while it streams, not be given another "
                           "run; take all results first")
        words = self._idle(limit, before)
        status, code = int(words[0]), int(words[0]) >> 8 & 0xFF
        if code or not status & DONE:
            name = Error(code).name if code in list(Error) else "unknown"
            raise RunError(f"the core must finish, not stop at descriptor {status >> 16} with "
                           f"error {code} ({name}); load the program again")
        return int(words[-1])

    def _idle(self, limit, before=()) -> np.ndarray:
        """Wait until the core is idle, after requests that go ahead; STATUS, ... and CYCLES."""
        end = time.monotonic() + limit
        look = Request(Command.READ, Space.REGS, REGISTER["STATUS"], count=FINAL_WORDS)
        requests = [*before, look]
        while (words := self._exchange(requests)[-1].words)[0] & BUSY:
            requests = [look]
            if time.monotonic() > end:
                raise RunError(f"the core must finish within {limit:g} s, not be at descriptor "
                               f"{words[0] >> 16}; load the program again, or give a longer limit")
        self._running = False
        return words

    def seconds(self) -> float:
        """Time that has passed on the device, from any moment on; simulated ones have their own."""
        return self._port.seconds()

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
        program = self._loaded(LIMIT_SECONDS)
        return layer_counts(program, self._opcodes, read_counters(self, program), self.cycles())

    def _loaded(self, limit):
        """The program; the core is idle."""
        if self._program is None:
            raise RunError("a program must be loaded, not none; call load() first")
        if self._running:       # a stream was left
            self._idle(limit)
        return self._program

    def _exchange(self, requests: Sequence[Request]) -> list[Reply]:
        return self._channel.exchange(requests)


def joined(replies: Sequence[Reply]) -> np.ndarray:
    """The words that replies brought."""
    return np.concatenate([reply.words for reply in replies] or [np.zeros(0, np.uint32)])
