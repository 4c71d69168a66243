"""A real core behind its host link, at two pins, on a line that damages, loses and doubles."""

import random

import numpy as np
import pytest

from boards.host.device import Device
from boards.host.errors import AccessError, SessionError, SilenceError
from boards.host.packets import Request
from boards.host.recording import conversation
from hw.config import CoreConfig
from hw.layout import Space
from hw.link.protocol import CONTROL, Command
from sim import golden
from tb.faulty_port import FaultyPort
from tb.linked import SimulatedPort, build
from tb.test_random_cores import compiled

DIVISOR = 5
LINE_BITS = 10    # of a byte
CONFIG = CoreConfig(P=1, L=2, C=4, V=8, Q=1, F=1, act_lines=4096, weight_rows=128, patch_lines=16,
                    patch_buffers=2, param_groups=8)
WORDS = CONFIG.act_lines * CONFIG.line_words
RATE = 0.01
MOST_WORDS = 60
START = [Request(Command.WRITE, Space.REGS, CONTROL, data=[1])]


@pytest.fixture(scope="module")
def binary(tmp_path_factory):
    return build(CONFIG, DIVISOR, tmp_path_factory.mktemp("linked"))


@pytest.fixture(scope="module")
def network():
    """A small network: graph and program."""
    return compiled(random.Random(3), 3, CONFIG, paged=False)[1:]


class Fire:
    """What a host may do, each checked against a model of the memory or the golden model."""

    def __init__(self, binary, network, rng: random.Random, rate: float):
        self.rng, (self.graph, self.program) = rng, network
        self.port = SimulatedPort(binary, DIVISOR)
        self.line = FaultyPort(self.port, rng, rate)
        self.memory, self.runs = np.zeros(WORDS, np.uint32), 0
        self.device = Device(self.line)
        self.write(0, WORDS)

    def write(self, offset: int, count: int):
        words = np.random.default_rng(self.rng.getrandbits(32)).integers(0, 2**32, count, np.uint32)
        words[words % 3 == 0] = 0
        self.device.write(Space.ACT, offset, words)
        self.memory[offset:offset + count] = words

    def access(self):
        count = self.rng.randint(1, MOST_WORDS)
        offset = self.rng.randrange(WORDS - count + 1)
        if self.rng.random() < 0.5:
            self.write(offset, count)
        else:
            got = self.device.read(Space.ACT, offset, count)
            assert np.array_equal(got, self.memory[offset:offset + count])

    def outside(self):
        """An access beyond the memory is an error and does nothing."""
        with pytest.raises(AccessError, match="accept every word"):
            self.device.write(Space.ACT, WORDS - 1, [1, 2])
        self.memory[WORDS - 1] = 1

    def infer(self):
        self.device.load(self.program)
        for _ in range(2):
            self.run()
        self.memory = self.device.read(Space.ACT, 0, WORDS)

    def run(self):
        shape = self.graph.tensors[self.graph.input].shape
        x = np.random.default_rng(self.runs).integers(-128, 128, shape, np.int8)
        self.runs += 1
        result = self.device.run(x)
        expected = golden.run(self.graph, x)[self.program.output.tensor]
        assert np.array_equal(result.output, expected)
        assert sum(layer.cycles for layer in self.device.layers()) == result.cycles

    def interrupted(self):
        """The board is reset in the middle of something; then nothing runs until a new load."""
        step = self.rng.choice([
            lambda: self.device.load(self.program), self.run,
            lambda: self.device.read(Space.ACT, 0, WORDS)])
        self.device.load(self.program)
        self.line.reset_after, resets = self.rng.randrange(6), self.line.resets
        started = self.port.counts()[1]
        try:
            step()
        except (SessionError, SilenceError):
            self.runs += self.port.counts()[1] - started - 1 if step == self.run else 0
        self.line.reset_after = -1
        self.device = Device(self.line)
        if self.line.resets > resets:
            with pytest.raises(AccessError, match="armed"):
                self.device.channel.exchange(START)
        self.write(0, WORDS)

    def unarmed(self):
        """A load that is not committed cannot be started."""
        requests = conversation(self.program)[1:]
        self.device.channel.exchange(requests[:self.rng.randrange(1, len(requests))])
        with pytest.raises(AccessError, match="armed"):
            self.device.channel.exchange(START)
        self.memory = self.device.read(Space.ACT, 0, WORDS)

    def close(self):
        cycles, starts, wrong = self.port.counts()
        self.port.close()
        return cycles, starts, wrong


def under_fire(binary, network, seed: int, packets: int, most: float) -> Fire:
    """Do this and that until so many packets were sent; `most` of it accesses."""
    rng = random.Random(seed)
    fire = Fire(binary, network, rng, RATE)
    while fire.line.sent < packets:
        if rng.random() < most:
            fire.access()
        else:
            rng.choice([fire.outside, fire.infer, fire.unarmed, fire.interrupted])()
    return fire


def check(fire: Fire):
    _, starts, wrong = fire.close()
    assert not wrong and starts == fire.runs


def test_link_uses_nine_tenths_of_the_line(binary):
    """Bytes of data by bytes that the line could carry meanwhile, both ways."""
    port = SimulatedPort(binary, DIVISOR)
    words = np.random.default_rng(1).integers(0, 2**32, WORDS, np.uint32)
    with Device(port) as device:
        begin = port.counts()[0]
        device.write(Space.ACT, 0, words)
        middle = port.counts()[0]
        assert np.array_equal(device.read(Space.ACT, 0, WORDS), words)
        spans = middle - begin, port.counts()[0] - middle
        assert not device.channel.repeats
    shares = [4 * WORDS * LINE_BITS * DIVISOR / span for span in spans]
    assert min(shares) >= 0.9, shares


def test_link_under_fire_answers_all_and_starts_once(binary, network):
    fire = under_fire(binary, network, 1, 500, 0.97)
    check(fire)
    assert fire.line.faults > 10 and fire.runs


@pytest.mark.long
def test_link_answers_all_of_10000_packets_under_fire(binary, network):
    fire = under_fire(binary, network, 2, 10_000, 0.99)
    cycles = fire.port.counts()[0]
    print(f"{fire.line.sent} packets, {fire.line.faults} faults, {fire.runs} runs, "
          f"{fire.line.resets} resets, {cycles} cycles")
    check(fire)
    assert fire.line.faults > 400 and fire.runs > 10 and fire.line.resets > 5
