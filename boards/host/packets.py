"""Packets of ``docs/link.md``: requests, replies and their frames."""

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from cobs import cobs

from hw.layout import Space
from hw.link.protocol import (
    SEQUENCE_LOW,
    STATUS_BOOT,
    STATUS_DIVISOR,
    STATUS_VERSION,
    WORDS,
    WORDS_LOW,
    Command,
    Status,
    address_word,
)

NUMBERS = 1 << 16    # of packets; the device looks at the lowest bits only
TAG_LOW = 24         # the upper half of the number, which the device sends back as it is


class FrameError(ValueError):
    """A frame is damaged."""


@dataclass(frozen=True)
class Request:
    """A packet without its number.

    Parameters
    ----------
    command : Command
    space : Space
    offset : int
        Where words are written or read.
    data : sequence of int
        Words to write, at most WORDS.
    count : int
        Words to read.
    """

    command: Command
    space: Space = Space.REGS
    offset: int = 0
    data: Sequence[int] | np.ndarray = ()
    count: int = 0

    def frame(self, number: int) -> bytes:
        """What goes over the line."""
        words = len(self.data) or self.count
        head = struct.pack("<2I", command_word(self.command, number, words),
                           address_word(self.space, self.offset))
        return frame(head + np.asarray(self.data, "<u4").tobytes())


@dataclass(frozen=True)
class Reply:
    """What the device answered.

    Parameters
    ----------
    head : int
        The request's command word.
    words : numpy.ndarray
        What was read, uint32.
    status : Status
    boot, divisor, version : int
        The other fields of the status word.
    """

    head: int
    words: np.ndarray = field(repr=False)
    status: Status
    boot: int
    divisor: int
    version: int


def command_word(command: Command, number: int, words: int) -> int:
    """Word 0 of a request."""
    return (command | (number & 0xFF) << SEQUENCE_LOW | words << WORDS_LOW
            | (number >> 8) << TAG_LOW)


def frame(body: bytes) -> bytes:
    """A frame of a packet's words."""
    return cobs.encode(body + zlib.crc32(body).to_bytes(4, "little")) + b"\0"


def body(frame: bytes) -> bytes:
    """A packet's words, from a frame without its final zero.

    Raises
    ------
    FrameError
        The frame is damaged.
    """
    try:
        data = cobs.decode(frame)
    except cobs.DecodeError as error:
        raise FrameError(f"frame must be COBS, not damaged ({error})") from None
    if len(data) < 4 or len(data) % 4 or zlib.crc32(data[:-4]).to_bytes(4, "little") != data[-4:]:
        raise FrameError("frame must be words that end with their CRC-32, not damaged")
    return data[:-4]


def reply(frame: bytes) -> Reply:
    """The reply in a frame without its final zero.

    Raises
    ------
    FrameError
        The frame is damaged, or no reply.
    """
    words = np.frombuffer(body(frame), "<u4")
    if not 2 <= len(words) <= WORDS + 2:
        raise FrameError(f"reply must have 2..{WORDS + 2} words, not {len(words)}")
    flags = int(words[-1])
    boot, divisor, version = (flags >> low & (1 << bits) - 1
                              for low, bits in (STATUS_BOOT, STATUS_DIVISOR, STATUS_VERSION))
    return Reply(int(words[0]), words[1:-1].astype(np.uint32), Status(flags & 0x3F), boot, divisor,
                 version)


class Splitter:
    """Cuts what comes from the line into replies; what is damaged falls out."""

    LIMIT = 4096    # bytes without a zero that are kept

    def __init__(self):
        self._rest = b""
        self.damaged = 0

    def feed(self, data: bytes) -> list[Reply]:
        """The replies that end in these bytes."""
        *frames, self._rest = (self._rest + data).split(b"\0")
        self._rest = self._rest[-self.LIMIT:]
        replies = []
        for item in filter(None, frames):
            try:
                replies.append(reply(item))
            except FrameError:
                self.damaged += 1
        return replies


def split(command: Command, space: Space, offset: int, data=(), count: int = 0) -> list[Request]:
    """Requests that write all of `data`, or read `count` words, in packets that are full."""
    total = len(data) or count
    parts = range(0, total, WORDS)
    if len(data):
        return [Request(command, space, offset + n, data[n:n + WORDS]) for n in parts]
    return [Request(command, space, offset + n, count=min(WORDS, total - n)) for n in parts]
