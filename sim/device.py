"""A simulated core as its host sees it: read, write, run, and what the core wrote on the way."""

import contextlib
import struct
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gen.store import Store
from hw.layout import Error, Space

WRITE, READ, WATCH, RUN, PAGES = 1, 2, 3, 4, 5


class DeviceError(RuntimeError):
    """The core refused an access or stopped early; the text says where and why."""


@dataclass(frozen=True)
class Watch:
    """Lines to copy when the core writes line ``trigger``.

    Parameters
    ----------
    trigger, first, lines : int
        Lines of the activation memory.
    """

    trigger: int
    first: int
    lines: int


@dataclass(frozen=True)
class Run:
    """What one run left behind.

    Parameters
    ----------
    cycles : int
        The core's own count from start to done.
    snapshots : dict of int to bytes
        Bytes of each watch by its number; a watch whose trigger never came is absent.
    """

    cycles: int
    snapshots: dict[int, bytes]


class Device:
    """A running simulation; use it in a ``with`` statement.

    Parameters
    ----------
    binary : Path
        What ``sim.verilated.build`` returned.
    trace : Path, optional
        Waveforms (VCD) of the first run go here; needs a model built with ``trace=True``.
    """

    def __init__(self, binary: Path, trace: Path | None = None):
        arguments = [str(binary)] + ([str(trace)] if trace else [])
        self._process = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    def close(self) -> None:
        """End the simulation; the trace is complete afterwards."""
        assert self._process.stdin and self._process.stdout
        if not self._process.stdin.closed:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()
            self._process.stdout.close()
            self._process.wait()

    def _send(self, data: bytes) -> None:
        assert self._process.stdin
        try:
            self._process.stdin.write(data)
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._gone() from None

    def _receive(self, size: int) -> bytes:
        assert self._process.stdout
        data = self._process.stdout.read(size)
        if len(data) != size:
            raise self._gone()
        return data

    def _words(self, count: int) -> tuple[int, ...]:
        return struct.unpack(f"<{count}I", self._receive(4 * count))

    def _gone(self) -> DeviceError:
        code = self._process.wait()
        return DeviceError(f"the simulator must keep running, not end with code {code!r}; delete "
                           f"its folder under build/sim and try again")

    def write(self, space: Space, offset: int, words: Sequence[int] | np.ndarray) -> None:
        """Write 32-bit words from a word offset of a space on.

        Raises
        ------
        DeviceError
            The core answered a word with err.
        """
        body = np.asarray(words, dtype="<u4").tobytes()
        self._send(struct.pack("<4I", WRITE, space, offset, len(body) // 4) + body)
        self._check(self._words(1)[0], "write", space, offset)

    def read(self, space: Space, offset: int, count: int) -> np.ndarray:
        """Return 32-bit words from a word offset of a space on.

        Raises
        ------
        DeviceError
            The core answered a word with err.
        """
        self._send(struct.pack("<4I", READ, space, offset, count))
        refused, *words = self._words(1 + count)
        self._check(refused, "read", space, offset)
        return np.array(words, dtype=np.uint32)

    def _check(self, refused: int, verb: str, space: Space, offset: int) -> None:
        if refused:
            raise DeviceError(f"the core must accept every word, not refuse {refused} to {verb} in "
                              f"space {Space(space).name} from word {offset} on; "
                              f"is the address inside its memories, and the core idle, if it is "
                              f"not in ACT?")

    def watch(self, watches: Iterable[Watch]) -> None:
        """Choose what the following runs copy."""
        items = list(watches)
        words = [word for item in items for word in (item.trigger, item.first, item.lines)]
        self._send(struct.pack(f"<{2 + len(words)}I", WATCH, len(items), *words))
        self._words(1)

    def pages(self, store: Store, data: bytes) -> None:
        """Fill the backing store and choose how fast it is."""
        self._send(struct.pack("<4I", PAGES, store.latency, store.interval, len(data) // 4) + data)
        self._words(1)

    def run(self, limit: int) -> Run:
        """Start the program and wait until the core is done.

        Raises
        ------
        DeviceError
            The core stopped with an error, or was still busy after ``limit`` cycles.
        """
        self._send(struct.pack("<3I", RUN, limit & 0xFFFFFFFF, limit >> 32))
        finished, status, cycles, count = self._words(4)
        snapshots = {}
        for _ in range(count):
            number, size = self._words(2)
            snapshots[number] = self._receive(size)
        code, index = status >> 8 & 0xFF, status >> 16
        if code:
            name = Error(code).name if code in list(Error) else "unknown"
            raise DeviceError(f"the core must finish, not stop at descriptor {index} with error "
                              f"{code} ({name}); compile the model for this configuration")
        if not finished or not status & 2:
            raise DeviceError(f"the core must finish within {limit} cycles, not be at descriptor "
                              f"{index} with status {status:#010x}")
        return Run(cycles=cycles, snapshots=snapshots)
