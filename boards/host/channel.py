"""Requests in, replies out: numbers, windows, time-outs and repeats (go-back-N)."""

import random
from collections.abc import Sequence

from boards.host.errors import AccessError, SessionError, SilenceError
from boards.host.packets import NUMBERS, Reply, Request, Splitter, command_word
from boards.host.ports import Port
from hw.link.protocol import SEQUENCE_BITS, SLOT_BYTES, WORDS, Command, Status

WINDOW = 4           # packets under way, at most
KEPT = 2             # of them by the device, while replies go out
LONG_WORDS = WORDS * 3 // 4    # of a WRITE: while it comes, any WRITE is executed
RETRIES = 12         # times in a row without any progress
LINE_BITS = 10       # of a byte
NOISE_BYTES = 8 * SLOT_BYTES    # without a reply among them, as if nothing came
assert WINDOW <= 1 << SEQUENCE_BITS - 1


class Channel:
    """A session with the device.

    Parameters
    ----------
    port : Port
    number : int, optional
        Of the first packet; a random one makes replies to former sessions recognisable.
    """

    def __init__(self, port: Port, number: int | None = None):
        self._port, self._splitter = port, Splitter()
        self._next = random.randrange(NUMBERS) if number is None else number
        self._unused = 0    # bytes that came since the last reply
        self._whole = True
        self.repeats = 0

    @property
    def damaged(self) -> int:
        """Frames that came damaged."""
        return self._splitter.damaged

    def exchange(self, requests: Sequence[Request]) -> list[Reply]:
        """Have requests executed, each exactly once and in order, and return the replies.

        Raises
        ------
        SilenceError
            No sound reply came for RETRIES times.
        SessionError
            The device was reset, or an earlier exchange broke off: nobody knows what it executed.
        AccessError
            The device refused a request or could not execute it, or one behind it in the window;
            those behind that are not executed, and what was loaded is not armed.
        PortError
            The port has vanished.
        """
        if not self._whole:
            raise SessionError("the session must be whole, not broken off by an earlier error; "
                               "connect and load again")
        self._whole = False
        try:
            replies = self._exchange(requests)
        except AccessError:
            self._exchange([Request(Command.IDENTIFY)])    # the device does nothing else now
            self._whole = True
            raise
        self._whole = True
        return replies

    def _exchange(self, requests: Sequence[Request]) -> list[Reply]:
        replies: list[Reply] = []
        base, failures = self._next, 0
        self._next = (base + len(requests)) % NUMBERS
        sent = 0
        while len(replies) < len(requests):
            ahead = _ahead(requests, len(replies))
            if sent < ahead:
                self._port.send(b"".join(requests[n].frame((base + n) % NUMBERS)
                                         for n in range(sent, ahead)))
                sent = ahead
            before = len(replies)
            good = self._collect(requests, replies, base, sent)
            failures = 0 if len(replies) > before else failures
            if not good:
                failures += 1
                if failures > RETRIES:
                    raise SilenceError(
                        f"the device must answer within {RETRIES} repeats, not be silent or "
                        f"garbled; check port, baud rate and that the board is configured")
                self.repeats += 1
                sent = len(replies)
                self._port.send(b"\0")    # whatever the device has received so far ends here
        return replies

    def _collect(self, requests, replies, base, sent) -> bool:
        """Take replies until the next one may be sent; False: go back to the oldest open one."""
        data = self._port.receive(self._patience(requests[len(replies):sent]))
        self._unused += len(data)
        if not data or self._unused > NOISE_BYTES:
            self._unused = 0
            return False
        for reply in self._splitter.feed(data):
            expected = [self._head(requests, base, n) for n in range(len(replies), sent)]
            if reply.head not in expected:
                continue                  # of a packet that was sent twice
            if reply.status & Status.ORDER and not reply.status & Status.SESSION:
                raise SessionError("the device must keep its session, not be reset meanwhile; "
                                   "connect and load again")
            if reply.status & Status.ORDER or reply.head != expected[0]:
                self._drain(requests[len(replies):sent])
                return False
            request = requests[len(replies)]
            replies.append(reply)
            self._unused = 0
            if len(reply.words) != request.count and not reply.status & Status.REFUSED:
                raise AccessError(f"the reply must have {request.count} words, not "
                                  f"{len(reply.words)}; this is a bug of the device")
            if reply.status & (Status.REFUSED | Status.BUS):
                raise AccessError(_refusal(request, reply))
        return True

    def _head(self, requests, base, n):
        request = requests[n]
        return command_word(request.command, (base + n) % NUMBERS,
                            len(request.data) or request.count)

    def _drain(self, open_requests):
        """Let the answers to what was sent for nothing go by."""
        while data := self._port.receive(self._patience(open_requests)):
            self._splitter.feed(data)

    def _patience(self, open_requests) -> float:
        """Seconds in which something must come."""
        frames = SLOT_BYTES * (1 + len(open_requests))
        return self._port.latency + frames * LINE_BITS / self._port.baud


def _ahead(requests: Sequence[Request], done: int) -> int:
    """How many requests may have been sent when some are done: no more than the device can keep."""
    most, ahead = min(len(requests), done + WINDOW), min(len(requests), done + KEPT)
    while ahead < most and len(requests[ahead - KEPT].data) \
            and len(requests[ahead - 1].data) >= LONG_WORDS:
        ahead += 1
    return ahead


def _refusal(request: Request, reply: Reply) -> str:
    where = f"{request.space.name} from word {request.offset} on"
    if reply.status & Status.REFUSED:
        return (f"the device must be armed, not refuse {request.command!r} of {where}; "
                f"load a program first")
    return (f"the core must accept every word, not refuse to "
            f"{'write' if len(request.data) else 'read'} {where}; "
            f"is the address inside its memories, and the core idle, if it is not in ACT?")
