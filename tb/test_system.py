# amaranth: UnusedElaboratable=no
"""Systems from power-up to an inference: image in flash, boot, serial line, pages, damage."""

import random
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from boards.host.channel import Channel
from boards.host.device import Device
from boards.host.packets import Request
from boards.image import PADDING, flash_image, flash_store, with_pages
from gen.compile import paged_program
from gen.cycles import predict
from gen.pages import Paging
from gen.targets import PRESETS
from hw.config import CoreConfig
from hw.flash.layout import BootState, FlashConfig
from hw.layout import Space
from hw.link.protocol import Command, Status
from hw.system import System
from models.tflite_reader import parse
from sim.golden import run
from tb.booted import DIVISOR, Listener, build, powered
from tb.tflite_builder import Net

FLASH = FlashConfig(address=0x30000, room=8192, clock_hz=1_000_000)
SMALL = FlashConfig(address=0x50000, room=512, clock_hz=1_000_000)
CORES = {
    "hosted": CoreConfig(P=1, L=4, C=4, V=16, Q=Fraction(1, 2), F=2, act_lines=2048,
                         weight_rows=80, patch_lines=16, patch_buffers=4, param_groups=16),
    "ice40": CoreConfig(P=1, L=2, C=8, V=8, Q=Fraction(1, 4), F=1, act_lines=16384,
                        weight_rows=256, patch_lines=16, patch_buffers=2, param_groups=8,
                        memory="ice40"),
}


@pytest.mark.parametrize("name", CORES)
def test_board_boots_from_flash_and_infers_with_pages_in_the_predicted_time(name, tmp_path):
    """Within 1 %: words that follow a long wait come 3 cycles later than the model says."""
    config = CORES[name]
    graph = parse(Net((1, 6, 6, 4), seed=1).conv(12, (2, 2)).conv(16, (2, 2)).conv(
        16, (2, 2)).conv(16, (1, 1)).bytes())
    program = paged_program(graph, replace(PRESETS["ecp5-85k"], config=config),
                            Paging(share=2, lines=config.act_lines // 2))
    assert len(program.stream) > 2000
    expected = sum(layer.total for layer in predict(program, flash_store(FLASH)))
    binary = build(System(config, divisor=DIVISOR, flash=FLASH), FLASH, config, tmp_path)
    with powered(binary, flash_image(program, FLASH.room)) as port:
        assert not port.receive(100_000)
        device = Device(port).load(program)
        for seed in range(2):
            x = np.random.default_rng(seed).integers(-128, 128, program.input.shape, np.int8)
            result = device.run(x)
            golden = run(graph, x)[program.output.tensor]
            assert np.array_equal(result.output.ravel(), golden.ravel())
            assert abs(result.cycles - expected) < 0.01 * expected
        assert device.boot_code == 0 and port.counts()[1:] == (2, 0)


@pytest.fixture(scope="module")
def listener(tmp_path_factory):
    """A board that loads programs into nothing."""
    config = CORES["hosted"]
    return build(Listener(config, divisor=DIVISOR, flash=SMALL), SMALL, config,
                 tmp_path_factory.mktemp("listener"))


def small_image(rng: random.Random) -> tuple[bytes, int, int]:
    """An image with some pages and some frames; where the frames begin and end."""
    begin = with_pages(rng.randbytes(4 * rng.choice([0, 1, 20])))
    requests = [Request(Command.IDENTIFY), Request(Command.BEGIN), *(
        Request(Command.WRITE, Space.ACT, 4 * n, data=[rng.getrandbits(32)] * rng.randint(1, 9))
        for n in range(3)), Request(Command.COMMIT)]
    frames = b"".join(request.frame(number) for number, request in enumerate(requests))
    return begin + frames + PADDING, len(begin), len(begin + frames)


def outcome(binary, image: bytes) -> tuple[int, Status]:
    """Code and status that a host is told after a board was switched on."""
    with powered(binary, image) as port:
        assert not port.receive(2 << SMALL.patience_bits)
        reply, = Channel(port).exchange([Request(Command.IDENTIFY)])
        return reply.boot, reply.status


@pytest.mark.parametrize("images", [24, pytest.param(100, marks=pytest.mark.long)])
def test_damaged_images_never_arm_and_tell_why(listener, images):
    """One byte is another one, or all from one byte on is missing: erased, or zero."""
    rng, seen = random.Random(images), []
    while len(seen) < images:
        image, begin, end = small_image(rng)
        position = rng.choice([rng.randrange(begin), rng.randrange(begin, end)])
        bad = bytearray(image)
        if len(seen) % 4:
            bad[position] ^= rng.randrange(1, 256)
        else:
            position = max(position, 4)
            bad[position:] = rng.choice([b"\xFF", b"\0"]) * 400
        code, status = outcome(listener, bytes(bad))
        expected = (BootState.FOREIGN if position < 4 else BootState.DAMAGED if position < begin
                    else BootState.REFUSED)
        assert (code, status & Status.ARMED) == (expected.value, 0), (len(seen), position)
        seen.append(expected)
    assert len(set(seen)) == 3


def test_good_and_absent_images_are_no_errors(listener):
    rng = random.Random(5)
    for image in (small_image(rng)[0], small_image(rng)[0], b""):
        code, status = outcome(listener, image)
        assert code == 0 and bool(status & Status.ARMED) == bool(image)
