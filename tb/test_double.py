"""Double-buffered input and output: the host sends and reads while the core computes."""

import random
from bisect import bisect_left
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest

from boards.host.device import Device as Board
from gen.compile import compile_model
from gen.image import load, pack_input, to_bytes
from gen.report import markdown, summarize
from gen.store import Store
from gen.targets import PRESETS, FitError
from hw.config import CoreConfig
from hw.layout import Space
from models import tflite_reader
from models.tflite_reader import parse
from sim import golden
from sim.device import Device
from sim.loaded import REGISTER, read_tensor, to_words, word_offset, writes
from tb.linked import SimulatedPort
from tb.program_model import run_program
from tb.programs import BUSY
from tb.small_core import build
from tb.test_link_fire import CONFIG, DIVISOR, LINE_BITS
from tb.test_link_fire import binary as binary  # a fixture
from tb.test_random_cores import compiled, config_of
from tb.tflite_builder import Net

SEEDS = (0, 3, 5, 8, 11)       # cores of one and two clusters, on RAM blocks and SPRAM
NETWORKS, INPUTS, CHUNK = 3, 5, 7
ANSWER = 20     # cycles of a read during a run and of one of CYCLES, at most
SLACK = 30_000  # cycles an input, of packets besides their data and of their execution


def inputs_of(graph, count, seed=0):
    shape = graph.tensors[graph.input].shape
    return np.random.default_rng(seed).integers(-128, 128, (count, *shape[1:]), np.int8)


def expected_of(graph, program, x):
    return golden.run(graph, x[np.newaxis])[program.output.tensor]


class Host:
    """Runs a program on its places in turn and uses the others meanwhile."""

    def __init__(self, device, program, rng):
        self.device, self.program, self.rng = device, program, rng
        self.places = (program, program.twin)
        for space, offset, words in writes(program):
            device.write(space, offset, words)

    def start(self, turn):
        for place, *values in self.program.twin.words:
            self.device.write(Space.ACT, place, [values[turn]])
        self.device.write(Space.REGS, REGISTER["CONTROL"], [1])

    def status(self):
        return int(self.device.read(Space.REGS, REGISTER["STATUS"], 1)[0])

    def cycles(self):
        return int(self.device.read(Space.REGS, REGISTER["CYCLES"], 1)[0])

    def send(self, x, turn):
        """Write an input bit by bit; what is read of it meanwhile is right."""
        line, data = pack_input(self.program, x, self.places[turn].input)
        words, begin = to_words(data), word_offset(self.program, line)
        for n in range(0, len(words), CHUNK):
            self.device.write(Space.ACT, begin + n, words[n:n + CHUNK])
            back = self.rng.randrange(n + 1)
            assert self.device.read(Space.ACT, begin + back, 1)[0] == words[back]

    def receive(self, turn):
        return read_tensor(self.device, self.program, self.places[turn].output)

    def finish(self):
        while self.status() & BUSY:
            pass
        assert self.status() & 0xFFFE == 2


@pytest.mark.parametrize("seed", SEEDS)
def test_accesses_during_a_run_change_nothing(seed, tmp_path):
    config, rng = config_of(seed), random.Random(seed)
    path, busy = build(config, tmp_path), 0
    for number in range(NETWORKS):
        paged = config.pages == 1 and number % 2 == 1
        text, graph, program = compiled(rng, 77 * seed + number, config, paged, double=True)
        xs = inputs_of(graph, INPUTS, seed)
        with Device(path) as device:
            host = Host(device, program, rng)
            device.pages(Store(), program.stream)
            host.send(xs[0], 0)
            for n, x in enumerate(xs):
                host.start(n % 2)
                if n + 1 < INPUTS:
                    host.send(xs[n + 1], (n + 1) % 2)
                if n:
                    got = host.receive((n - 1) % 2)
                    assert np.array_equal(got, expected_of(graph, program, xs[n - 1])), (text, n)
                busy += host.status() & BUSY
                host.finish()
                assert np.array_equal(host.receive(n % 2), expected_of(graph, program, x)), text
    assert busy, "no run was longer than the transfers beside it"


def gated() -> Net:
    """A network with a squeeze-and-excite gate, whose factors lie in scratch memory."""
    net = Net((1, 6, 6, 8), seed=3).conv(8).conv(16).conv(16)
    seen = net.here
    net.mean(keep=True).conv(16, (1, 1)).table("LOGISTIC")
    return net.mul(seen).conv(4)


def tall() -> Net:
    """A network that needs stripes in a small memory."""
    net = Net((1, 24, 16, 8), seed=1).conv(16).conv(16)
    return net.max_pool((2, 2)).conv(8, stride=(2, 2))


@pytest.mark.parametrize("net, lines", ((gated, 2048), (tall, 784), (tall, 800), (tall, 832),
                                        (tall, 2048)))
def test_both_places_give_the_same(net, lines):
    """Interpreted: scratch memory and stripes, which have tensors of their own, stay apart."""
    graph = parse(net().bytes())
    config = CoreConfig(P=1, L=2, C=8, V=16, Q=1, F=1, act_lines=lines, weight_rows=2048,
                        patch_lines=64, param_groups=64, pages=0)
    program = compile_model(graph, replace(PRESETS["ecp5-85k"], config=config), double=True)
    assert (max(layer.stripes for layer in program.layers) > 1) == (lines < 2048)
    image = np.frombuffer(program.sections[0].data, "<u4").copy()
    for place, _, second in program.twin.words:
        image[place] = second
    other = replace(program, input=program.twin.input, output=program.twin.output,
                    sections=(replace(program.sections[0], data=image.tobytes()),
                              *program.sections[1:]))
    for x in inputs_of(graph, 2):
        expected = expected_of(graph, program, x)
        for version in (program, other):
            final = replace(version, layers=tuple(
                replace(layer, output=version.output) if n == len(version.layers) - 1 else layer
                for n, layer in enumerate(version.layers)))
            found = run_program(final, x[np.newaxis])
            assert np.array_equal(found[program.output.tensor], expected)


def test_streaming_hides_what_the_core_takes(binary):
    """At the pins: a run takes what line and core take, and a stream what the longer one takes."""
    net = Net((1, 16, 16, 8))
    net.conv(8).conv(8).conv(8).average_pool((16, 16)).reshape().fully_connected(4)
    graph = parse(net.bytes())
    target = replace(PRESETS["ecp5-85k"], config=CONFIG)
    program = compile_model(graph, target, double=True)
    xs = inputs_of(graph, 4)
    port = SimulatedPort(binary, DIVISOR)
    with Board(port) as board:
        board.load(program)
        begin = port.counts()[0]
        alone = [board.run(x) for x in xs]
        middle = port.counts()[0]
        streamed = list(board.stream(xs))
        spans = middle - begin, port.counts()[0] - middle
        again = board.run(xs[0])
        assert not board.channel.repeats
    for x, *results in zip(xs, alone, streamed, strict=True):
        for result in results:
            assert np.array_equal(result.output, expected_of(graph, program, x))
    assert np.array_equal(again.output, alone[0].output) and again.cycles == alone[0].cycles
    line = len(pack_input(program, xs[0])[1]) * LINE_BITS * DIVISOR
    core = alone[0].cycles
    assert 0.5 * line < core < line
    assert spans[0] < len(xs) * (line + core + SLACK)
    assert spans[1] < len(xs) * (line + SLACK) + core
    assert spans[1] < 0.8 * spans[0]


def test_places_of_two_inputs_never_meet(fashion):
    graph = tflite_reader.load(fashion / "fashion.tflite")
    for target in PRESETS.values():
        plain, program = (compile_model(graph, target, double=double) for double in (False, True))
        assert plain.twin is None and program.twin is not None
        v = target.config.V
        ends = (program.input, program.output, program.twin.input, program.twin.output)
        spans = [range(place.line, place.line - (-place.size // v)) for place in ends]
        inner = [range(layer.output.line, layer.output.line - (-layer.output.size // v))
                 for layer in program.layers[:-1]]
        for n, span in enumerate(spans):
            for other in spans[:n] + inner:
                assert not set(span) & set(other)
        report = markdown(program)
        assert f"Second input at line {program.twin.input.line}," in report
        assert all(f"| {place} | {first:#010x} |" in report
                   for place, first, _ in program.twin.words)
        assert "Second input" not in markdown(plain) and summarize(plain)["twin"] is None
        image = np.frombuffer(program.sections[0].data, "<u4")
        assert all(image[place] == first != second for place, first, second in program.twin.words)


def test_twins_survive_their_file(tmp_path, fashion):
    program = compile_model(tflite_reader.load(fashion / "fashion.tflite"), PRESETS["up5k"],
                            double=True)
    (tmp_path / "program.bin").write_bytes(to_bytes(program))
    assert load(tmp_path / "program.bin") == program


def test_two_inputs_that_do_not_fit_are_refused(fashion):
    graph, target = tflite_reader.load(fashion / "fashion.tflite"), PRESETS["ecp5-85k"]

    def compile_in(lines, double):
        config = replace(target.config, memory="plain", pages=0, act_lines=16 * lines)
        return compile_model(graph, replace(target, config=config), double=double)

    def fits(lines):
        with suppress(FitError):
            return bool(compile_in(lines, double=False))
        return False

    least = bisect_left(range(1024), True, key=fits)
    assert 0 < least < 1024
    with pytest.raises(FitError, match="activation memory must hold"):
        compile_in(least, double=True)


def test_reads_do_not_wait_for_a_layer_that_reads_all_the_time(tmp_path):
    """MAX_POOL on a memory of one port, whose feeder takes every cycle that it is left."""
    config = replace(config_of(0), F=1, P=1)
    graph = parse(Net((1, 16, 16, config.V), seed=1).max_pool((3, 3), stride=(1, 1)).bytes())
    program = compile_model(graph, replace(PRESETS["ecp5-25k"], config=config), double=True)
    x, waits = inputs_of(graph, 1)[0], []
    with Device(build(config, tmp_path)) as device:
        host = Host(device, program, random.Random(1))
        host.send(x, 0)
        host.start(0)
        while host.status() & BUSY:
            before = host.cycles()
            device.read(Space.ACT, 0, 1)
            waits.append(host.cycles() - before)
        assert np.array_equal(host.receive(0), expected_of(graph, program, x))
    assert len(waits) > 50 and max(waits) <= ANSWER, waits
