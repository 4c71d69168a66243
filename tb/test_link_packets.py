"""The rules of docs/link.md, packet by packet, on core and link at their pins."""

import struct

import pytest

from boards.host.packets import Request, Splitter, command_word, frame
from hw.config import PROGRAM_VERSION
from hw.layout import MAGIC, Space
from hw.link.protocol import CONTROL, VERSION, WORDS, Command, Status, address_word
from sim.loaded import REGISTER
from tb.linked import SimulatedPort
from tb.test_link_fire import CONFIG, DIVISOR
from tb.test_link_fire import WORDS as ACT_WORDS
from tb.test_link_fire import binary as binary  # a fixture

IDENTIFY = Request(Command.IDENTIFY | Command.READ, Space.REGS, REGISTER["ID"], count=3)
BEGIN, COMMIT = Request(Command.BEGIN), Request(Command.COMMIT)
START = Request(Command.WRITE, Space.REGS, CONTROL, data=[1])
WRITE = Request(Command.WRITE, Space.ACT, 7, data=[1, 0, 3])
READ = Request(Command.READ, Space.ACT, 7, count=3)
SILENCE_CYCLES = 300 * DIVISOR * 10     # longer than a full packet takes to be executed


class Host:
    """Sends frames as they are and collects what comes back."""

    def __init__(self, binary):
        self.port, self.splitter = SimulatedPort(binary, DIVISOR), Splitter()

    def raw(self, data: bytes):
        self.port.send(data)
        replies = []
        while got := self.port.receive(SILENCE_CYCLES + len(data) * DIVISOR * 10):
            replies += self.splitter.feed(got)
        assert not self.splitter.damaged
        return replies

    def ask(self, request: Request, number: int):
        reply, = self.raw(request.frame(number))
        assert reply.head == command_word(request.command, number,
                                          len(request.data) or request.count)
        assert (reply.version, reply.divisor, reply.boot) == (VERSION, DIVISOR, 0)
        return reply


@pytest.fixture
def host(binary):
    host = Host(binary)
    yield host
    _, starts, wrong = host.port.counts()
    host.port.close()
    assert not wrong and starts <= 1


def test_identify_opens_a_session_and_tells_what_is_there(host):
    assert host.ask(READ, 1).status == Status.ORDER
    reply = host.ask(IDENTIFY, 0x1234)
    assert list(reply.words) == [MAGIC, PROGRAM_VERSION, CONFIG.hash]
    assert reply.status == Status.SESSION
    host.port.reset()
    assert host.ask(READ, 0x1235).status == Status.ORDER


def test_numbers_decide_what_is_executed(host):
    host.ask(IDENTIFY, 10)
    assert not host.ask(WRITE, 11).status & Status.ORDER
    other = Request(Command.WRITE, Space.ACT, 7, data=[9, 9, 9])
    for ahead in (2, 3, 4):                               # a packet before was lost
        reply = host.ask(other, 11 + ahead)
        assert reply.status == Status.SESSION | Status.ORDER
        assert host.ask(Request(Command.READ, Space.ACT, 7, count=3), 11 + ahead).words.size == 0
    for behind in (0, 1, 2, 3):                           # the answer was lost
        assert not host.ask(other, 11 - behind).status & Status.ORDER
        assert list(host.ask(READ, 11 - behind).words) == [1, 0, 3]
    assert list(host.ask(READ, 12).words) == [1, 0, 3]


def test_the_core_starts_once_and_only_when_armed(host):
    for number, wrong in enumerate([START, COMMIT]):
        host.ask(IDENTIFY, 2 * number)
        for _ in range(2):                                # an answer may get lost
            assert host.ask(wrong, 2 * number + 1).status & Status.REFUSED
    assert host.ask(IDENTIFY, 2).status == Status.SESSION
    assert host.ask(BEGIN, 3).status == Status.SESSION | Status.LOADING
    assert host.ask(START, 4).status & Status.REFUSED
    assert host.ask(COMMIT, 5).status & Status.REFUSED    # as something was before
    host.ask(IDENTIFY, 5)
    assert host.ask(BEGIN, 6).status == Status.SESSION | Status.LOADING
    host.ask(IDENTIFY, 5)
    assert host.ask(COMMIT, 6).status & Status.REFUSED    # of another session
    host.ask(IDENTIFY, 6)
    host.ask(BEGIN, 7)
    assert host.ask(COMMIT, 8).status == Status.SESSION | Status.ARMED
    assert host.port.counts()[1] == 0
    for _ in range(3):
        assert host.ask(START, 9).status == Status.SESSION | Status.ARMED
    assert len(host.raw(START.frame(9) * 2)) == 2
    assert host.port.counts()[1] == 1
    assert host.ask(BEGIN, 10).status == Status.SESSION | Status.LOADING
    assert host.ask(COMMIT, 11).status & Status.ARMED
    assert host.ask(BEGIN, 10).status & Status.ARMED      # again: no effect


def test_control_is_guarded_wherever_a_write_begins(host):
    host.ask(IDENTIFY, 0)
    reply = host.ask(Request(Command.WRITE, Space.REGS, CONTROL - 1, data=[1, 1]), 1)
    assert reply.status & (Status.BUS | Status.REFUSED)
    assert host.port.counts()[1] == 0


def test_addresses_that_do_not_exist_are_told(host):
    host.ask(IDENTIFY, 0)
    last = Request(Command.WRITE, Space.ACT, ACT_WORDS - 1, data=[5, 6])
    for _ in range(2):                                    # an answer may get lost
        assert host.ask(last, 1).status & Status.BUS
    assert host.ask(WRITE, 2).status & Status.BUS         # nothing else is done
    reads = [Request(Command.READ, Space.ACT, ACT_WORDS - 1, count=2),
             *(Request(Command.READ, Space.ACT, high, count=1) for high in (1 << 13, 1 << 28))]
    for number, request in enumerate(reads):
        host.ask(IDENTIFY, 2 * number)
        assert host.ask(request, 2 * number + 1).status & Status.BUS
    host.ask(IDENTIFY, 0)
    assert list(host.ask(Request(Command.READ, Space.ACT, ACT_WORDS - 1, count=1), 1).words) == [5]
    assert list(host.ask(READ, 2).words) != [1, 0, 3]


def packet(command: Command, number: int, count: int, data) -> bytes:
    return struct.pack(f"<{2 + len(data)}I", command_word(command, number, count),
                       address_word(Space.ACT, 7), *data)


def test_damaged_frames_are_dropped_whole(host):
    host.ask(IDENTIFY, 0)
    host.ask(WRITE, 1)
    good = Request(Command.WRITE, Space.ACT, 7, data=[5, 6, 7]).frame(2)
    damaged = [good[:k] + bytes([good[k] ^ 1 or 2]) + good[k + 1:] for k in range(len(good) - 1)]
    damaged += [good[:k] + b"\0" for k in range(len(good) - 1)]          # cut
    damaged += [b"\0", b"\0" * 9, b"\1\0", b"\1\1\0", b"\xff" * 700 + b"\0", b"\7" * 1500 + b"\0"]
    for words, length in ((3, 2), (3, 4), (0, 1), (3, 0), (WORDS, 3), (255, 3)):
        damaged.append(frame(packet(Command.WRITE, 2, words, [8] * length)))
    damaged.append(frame(packet(Command.READ, 2, 1, [8])))
    damaged += [frame(packet(Command.READ, 2, 1, [])[:size]) for size in (0, 4)]
    damaged += [frame(packet(Command.WRITE, 2, 3, [8] * 3) + bytes(n)) for n in (1, 2, 3)]
    for number, data in enumerate(damaged):
        assert not host.raw(data), number
    assert list(host.ask(READ, 2).words) == [1, 0, 3]


@pytest.mark.parametrize("byte", [0, 1, 0xFF])
def test_full_packets_fit(host, byte):
    host.ask(IDENTIFY, 0)
    words = [byte * 0x01010101] * WORDS
    host.ask(Request(Command.WRITE, Space.ACT, 100, data=words), 1)
    reply = host.ask(Request(Command.READ, Space.ACT, 100, count=WORDS), 2)
    assert list(reply.words) == words and reply.status == Status.SESSION
