"""A board in Python: the protocol of docs/link.md around memories, without a clock."""

from collections import defaultdict

import numpy as np

from boards.host.errors import PortError
from boards.host.packets import FrameError, body, frame
from hw.config import PROGRAM_VERSION
from hw.layout import MAGIC, Space
from hw.link.protocol import CONTROL, SEQUENCE_BITS, VERSION, Command, Status
from sim.loaded import REGISTER

NUMBERS = 1 << SEQUENCE_BITS


class FakeBoard:
    """A `boards.host.ports.Port` with a device behind it.

    Parameters
    ----------
    config_hash : int
    """

    def __init__(self, config_hash: int):
        self.baud, self.latency = 1e6, 0.0
        self.words = defaultdict(int)
        for name, value in (("ID", MAGIC), ("VERSION", PROGRAM_VERSION), ("CONFIG", config_hash)):
            self.words[Space.REGS, REGISTER[name]] = value
        self.limit, self.version, self.state, self.boot = 1 << 20, VERSION, Status(0), 0
        self.after_start = 2                # of STATUS
        self.executed: list[int] = []       # command words
        self.starts, self.closed, self.vanished, self.mute = 0, False, False, False
        self._due, self._coming, self._going, self.sticky = 0, b"", b"", Status(0)

    def reset(self) -> None:
        self.state, self._coming, self._going = Status(0), b"", b""

    def send(self, data: bytes) -> None:
        if self.vanished:
            raise PortError("gone")
        *frames, self._coming = (self._coming + data).split(b"\0")
        for item in frames:
            try:
                words = np.frombuffer(body(item), "<u4")
            except FrameError:
                continue
            head = int(words[0]) if len(words) >= 2 else 0
            data_words = head >> 16 & 0xFF if head & Command.WRITE else 0
            if len(words) == 2 + data_words:
                answer = self._execute(head, int(words[1]), words[2:])
                self._going += b"" if self.mute else frame(np.array(answer, "<u4").tobytes())

    def receive(self, seconds: float) -> bytes:
        data, self._going = self._going, b""
        return data

    def seconds(self) -> float:
        return 0.0

    def close(self) -> None:
        self.closed = True

    def _execute(self, head, address, data):
        command, number, count = Command(head & 31), head >> 8 & NUMBERS - 1, head >> 16 & 0xFF
        ahead = (number - self._due) % NUMBERS
        flags, read = Status(0), []
        if command & Command.IDENTIFY:
            self.sticky = Status(0)
        new = command & Command.IDENTIFY or self.state & Status.SESSION and ahead == 0
        old = self.state & Status.SESSION and ahead >= NUMBERS // 2
        if new:
            self._due = number + 1
            self.executed.append(head)
            self.sticky |= self._command(command)
        space, offset = Space(address >> 29), address & (1 << 29) - 1
        if new and command & Command.WRITE:
            for n, word in enumerate(data):
                if self.sticky:
                    break
                self.sticky |= self._write(space, offset + n, int(word))
        elif (new or old) and command & Command.READ:
            read = [self.words[space, offset + n] for n in range(count)]
            self.sticky |= Status.BUS if offset + count > self.limit else Status(0)
        flags |= Status(0) if new or old else Status.ORDER
        flags |= self.sticky | self.state
        return [head, *read, flags | self.boot << 8 | 24 << 16 | self.version << 28]

    def _command(self, command):
        if command & Command.IDENTIFY:
            self.state = self.state & ~Status.LOADING | Status.SESSION
        if command & Command.BEGIN:
            self.state = self.state & ~Status.ARMED | Status.LOADING
        if command & Command.COMMIT:
            if not self.state & Status.LOADING or self.sticky:
                return Status.REFUSED
            self.state = self.state & ~Status.LOADING | Status.ARMED
        return Status(0)

    def _write(self, space, offset, word):
        if (space, offset) == (Space.REGS, CONTROL):
            if not self.state & Status.ARMED:
                return Status.REFUSED
            self.starts += 1
            self.words[Space.REGS, REGISTER["STATUS"]] = self.after_start
        elif offset >= self.limit:
            return Status.BUS
        else:
            self.words[space, offset] = word
        return Status(0)
