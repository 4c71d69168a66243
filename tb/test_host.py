"""The host's library against a board in Python: faults on the line, and every error."""

import os
import pty
import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from boards.host.channel import RETRIES, Channel
from boards.host.device import Device
from boards.host.errors import (
    AccessError,
    ConfigurationError,
    LinkError,
    PortError,
    RunError,
    SessionError,
    SilenceError,
    VersionError,
)
from boards.host.packets import FrameError, Request, body, frame, reply
from boards.host.recording import conversation, recorded
from gen.compile import compile_model
from gen.image import Section, pack_input
from gen.targets import PRESETS
from hw.config import PROGRAM_VERSION
from hw.layout import Space
from hw.link.protocol import SLOT_BYTES, WORDS, Command
from models import tflite_reader
from models.graph import ModelError
from sim.loaded import REGISTER, identity, to_words, word_offset, writes
from tb.fake_board import FakeBoard
from tb.faulty_port import FaultyPort


@pytest.fixture(scope="module")
def program(fashion):
    return compile_model(tflite_reader.load(fashion / "fashion.tflite"), PRESETS["up5k"])


@pytest.fixture(scope="module")
def twice(fashion):
    graph = tflite_reader.load(fashion / "fashion.tflite")
    return compile_model(graph, PRESETS["up5k"], double=True)


@pytest.fixture
def board(program):
    return FakeBoard(program.config_hash)


def test_frames_are_no_longer_than_a_slot():
    for byte in (0, 1, 0xFF):
        data = np.full(WORDS, byte * 0x01010101, np.uint32)
        assert len(Request(Command.WRITE, Space.ACT, 0, data=data).frame(0xFFFF)) <= SLOT_BYTES


@given(st.binary(max_size=600).map(lambda data: data + bytes(-len(data) % 4)))
def test_frames_come_back(data):
    packed = frame(data)
    assert packed.count(0) == 1 and body(packed[:-1]) == data


@given(st.binary(min_size=8, max_size=40), st.data())
def test_damaged_frames_are_refused(data, draw):
    packed = frame(data + bytes(-len(data) % 4))[:-1]
    position = draw.draw(st.integers(0, len(packed) - 1))
    flip = draw.draw(st.integers(1, 255))
    with pytest.raises(FrameError):
        body(packed[:position] + bytes([packed[position] ^ flip]) + packed[position + 1:])
    with pytest.raises(FrameError):
        body(packed[:position])


def test_replies_that_are_too_short_are_refused():
    with pytest.raises(FrameError, match="reply must have"):
        reply(frame(bytes(4))[:-1])


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), rate=st.sampled_from([0.0, 0.01, 0.1]))
def test_every_request_is_executed_once_and_in_order(seed, rate):
    rng, board = random.Random(seed), FakeBoard(1)
    channel = Channel(FaultyPort(board, rng, rate), rng.randrange(1 << 16))
    channel.exchange([Request(Command.IDENTIFY)])
    memory, sent = {}, 1
    for _ in range(6):
        first, count = rng.randrange(100), rng.randint(1, 12)
        writing = rng.random() < 0.6
        requests = [Request(Command.WRITE, Space.ACT, first + n, data=[rng.getrandbits(32)])
                    if writing else Request(Command.READ, Space.ACT, first + n, count=2)
                    for n in range(count)]
        replies = channel.exchange(requests)
        sent += count
        if writing:
            memory |= {first + n: request.data[0] for n, request in enumerate(requests)}
        else:
            assert [list(r.words) for r in replies] == [
                [memory.get(first + n + k, 0) for k in range(2)] for n in range(count)]
    assert len(board.executed) >= sent
    assert len([head for head in board.executed if not head & Command.IDENTIFY]) == sent - 1
    assert {offset: word for (space, offset), word in board.words.items()
            if space == Space.ACT and word} == {k: v for k, v in memory.items() if v}


def test_a_program_is_loaded_and_run(board, program):
    with Device(board) as device:
        result = device.load(program).run(np.zeros(program.input.shape, np.int8))
        assert device.clock_hz == 24 * board.baud and len(device.layers()) == len(program.layers)
    assert board.closed and board.starts == 1 and result.output.shape == program.output.shape
    for space, offset, words in writes(program):
        inputs = range(program.input.line * 2, program.input.line * 2 + program.input.size // 4)
        for n, word in enumerate(words):
            assert offset + n in inputs or board.words[space, offset + n] == word


def test_a_recording_loads_the_same_program(board, program):
    board.send(recorded(program))
    with Device(board) as device:
        assert not board.starts
        device.channel.exchange([Request(Command.WRITE, Space.REGS, 3, data=[1])])
    assert board.starts == 1 and len(conversation(program)) + 2 == len(board.executed)


def test_silence_ends_after_some_repeats(board):
    board.mute = True
    with pytest.raises(SilenceError, match=f"within {RETRIES} repeats, not be silent"):
        Device(board)
    assert board.closed


def test_noise_without_replies_is_silence(board):
    board.receive = lambda seconds: b"\x55" * 100
    with pytest.raises(SilenceError, match="silent or garbled"):
        Device(board)


@pytest.mark.parametrize(("register", "value", "message"), [
    ("ID", 0x12345678, "must be a Systolith core, not answer 0x12345678"),
    ("VERSION", 99, f"must run programs of version {PROGRAM_VERSION}, not 99"),
])
def test_wrong_devices_are_told(board, register, value, message):
    board.words[Space.REGS, REGISTER[register]] = value
    with pytest.raises(VersionError, match=message):
        Device(board)


def test_other_protocols_are_told(board):
    board.version = 9
    with pytest.raises(VersionError, match="protocol must be version 1, not 9"):
        Device(board)


def test_programs_for_other_configurations_are_refused(program):
    board = FakeBoard(0x1234)
    with Device(board) as device, pytest.raises(ConfigurationError, match="00001234, not"):
        device.load(program)


def test_pages_must_be_in_the_flash(board, program):
    pages = Section(space=Space.STORE, offset=0, data=bytes(400))
    paged = replace(program, sections=(*program.sections, pages))
    with Device(board) as device, pytest.raises(ConfigurationError, match="holds its 400 bytes"):
        device.load(paged)
    with Device(board) as device:
        device.load(program)
    with Device(board) as device:
        device.load(paged).run(np.zeros(program.input.shape, np.int8))
    assert board.starts == 1
    for place, words in identity(program):
        for n in range(len(words)):
            board.words[Space.ACT, place + n] ^= 1      # of another program
            with Device(board) as device, pytest.raises(ConfigurationError, match="400 bytes"):
                device.load(paged)
            board.words[Space.ACT, place + n] ^= 1
    with Device(board) as device:
        device.load(paged)


def test_a_run_that_another_session_left_is_waited_for(board, program):
    zeros = np.zeros(program.input.shape, np.int8)
    pages = Section(space=Space.STORE, offset=0, data=bytes(400))
    paged = replace(program, sections=(*program.sections, pages))
    with Device(board) as device:
        device.load(program)
    board.words[Space.REGS, REGISTER["STATUS"]] = 1
    with Device(board) as device:
        device.load(paged)
        with pytest.raises(RunError, match="must finish within 0.01 s"):
            device.run(zeros, 0.01)
        assert not board.starts
        board.words[Space.REGS, REGISTER["STATUS"]] = 0x702    # it failed, which is not our matter
        device.run(zeros)
        assert board.starts == 1


def test_streams_need_a_program_with_two_places(board, program):
    with Device(board) as device, pytest.raises(RunError, match="--double-buffer"):
        next(device.load(program).stream([np.zeros(program.input.shape, np.int8)]))


def test_nothing_else_may_run_within_a_stream(board, twice):
    xs = np.zeros((5, *twice.input.shape[1:]), np.int8)
    with Device(board) as device:
        device.load(twice)
        taken = [device.layers() for _ in device.stream(xs)]
        assert len(taken) == 5
        stream = device.stream(xs)
        next(stream)
        device.run(xs[0])
        with pytest.raises(RunError, match="left alone while it streams"):
            next(stream)
        assert not list(device.stream(xs[:0])) and len(list(device.stream(xs[:1]))) == 1


def test_a_session_that_broke_off_is_over(board, program):
    """Nobody knows which packets were executed, so no later number is safe."""
    zeros = np.zeros(program.input.shape, np.int8)
    with Device(board) as device:
        device.load(program)
        board.mute = True
        with pytest.raises(SilenceError):
            device.run(zeros)
        board.mute = False
        with pytest.raises(SessionError, match="connect and load again"):
            device.run(zeros)
    with Device(board) as device:
        device.load(program).run(zeros)


def test_a_stream_that_is_left_does_not_disturb_the_next_run(board, twice):
    program = twice
    assert program.twin and program.twin.words
    shape = program.input.shape
    with Device(board) as device:
        device.load(program)
        ones = np.ones(shape, np.int8)
        for _ in device.stream([7 * ones] * 3):
            break
        at = [word_offset(program, place.line) for place in (program.input, program.twin.input)]
        words = [to_words(pack_input(program, value * ones)[1])[0] for value in (7, 8)]
        assert [board.words[Space.ACT, place] for place in at] == [words[0]] * 2
        second = {place: board.words[Space.ACT, place] for place, *_ in program.twin.words}
        assert second == {place: word for place, _, word in program.twin.words}
        device.run(8 * ones)
        assert board.words[Space.ACT, at[0]] == words[1] and board.starts == 3
        first = {place: board.words[Space.ACT, place] for place, *_ in program.twin.words}
        assert first == {place: word for place, word, _ in program.twin.words}


def test_a_reset_ends_the_session(board, program):
    with Device(board) as device:
        device.load(program)
        board.reset()
        with pytest.raises(SessionError, match="not be reset"):
            device.status()
        with Device(board) as again, pytest.raises(RunError, match="call load"):
            again.run(np.zeros(program.input.shape, np.int8))


def test_a_core_that_is_not_armed_is_not_started(board):
    with Device(board) as device, pytest.raises(AccessError, match="must be armed, not refuse"):
        device.write(Space.REGS, 3, [1])
    assert not board.starts


@pytest.mark.parametrize("reads", [False, True])
def test_refused_accesses_are_told(board, reads):
    board.limit = 1000
    with Device(board) as device, pytest.raises(AccessError, match="every word, not refuse to"):
        if reads:
            device.read(Space.ACT, 990, 20)
        else:
            device.write(Space.ACT, 990, list(range(20)))


@pytest.mark.parametrize(("status", "limit", "message"), [
    (2 | 3 << 8 | 7 << 16, 1, r"stop at descriptor 7 with error 3 \(CONFIG\)"),
    (2 | 99 << 8, 1, "unknown"), (0, 1, "error 0"), (1 | 5 << 16, 0, "within 0 s, not be at"),
])
def test_runs_that_fail_are_told(board, program, status, limit, message):
    board.after_start = status
    with Device(board) as device, pytest.raises(RunError, match=message):
        device.load(program).run(np.zeros(program.input.shape, np.int8), limit)


def test_inputs_of_other_shapes_are_refused(board, program):
    with Device(board) as device, pytest.raises(ModelError, match="input must be int8 of shape"):
        device.load(program).run(np.zeros((3, 3), np.int8))


def test_ports_that_do_not_exist_are_told():
    with pytest.raises(PortError, match="'/dev/nowhere'") as caught:
        Device("/dev/nowhere")
    assert "\n" not in str(caught.value)


def test_ports_that_vanish_are_told():
    master, slave = pty.openpty()
    name = os.ttyname(slave)
    os.close(slave)
    os.close(master)
    with pytest.raises(LinkError):
        Device(name)
