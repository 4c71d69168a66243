"""The image of a program: its bytes, its check, its size; configurations of a flash."""

import random

import pytest
from amaranth.lib.crc import Algorithm

from boards.host.recording import recorded
from boards.image import PADDING, flash_image, with_pages
from gen.compile import compile_model
from gen.targets import PRESETS
from hw.config import ConfigError
from hw.flash.layout import MAGIC, POLYNOMIAL, FlashConfig
from models.graph import ModelError
from models.tflite_reader import parse
from tb.tflite_builder import Net

# Another implementation of what the flash's reader computes.
CRC = Algorithm(crc_width=32, polynomial=POLYNOMIAL, initial_crc=MAGIC, reflect_input=False,
                reflect_output=False, xor_output=0)(data_width=8)


@pytest.mark.parametrize("words", [0, 1, 2, 300])
def test_pages_end_with_their_crc_and_nothing_else_does(words):
    stream = random.Random(words).randbytes(4 * words)
    image = with_pages(stream)
    assert image[:4] == MAGIC.to_bytes(4, "big") and image[4:-4] == stream
    assert image[-4:] == CRC.compute(stream).to_bytes(4, "big")


def test_a_word_that_would_end_the_pages_by_chance_is_one_line():
    stream = random.Random(1).randbytes(12)
    unlucky = stream + CRC.compute(stream).to_bytes(4, "big") + bytes(8)
    with pytest.raises(ModelError, match=r"^the pages must not hold .*; compile with another --"):
        with_pages(unlucky)


def test_image_is_pages_and_frames_and_fits_its_room():
    program = compile_model(parse(Net((1, 3, 3, 4), seed=1).conv(5, (1, 1)).bytes()),
                            PRESETS["up5k"])
    image = flash_image(program, 1 << 20)
    assert image == with_pages(program.stream) + recorded(program) + PADDING
    assert flash_image(program, len(image)) == image
    with pytest.raises(ModelError, match=rf"^the image of model must have at most "
                                         rf"{len(image) - 1:,} bytes, not {len(image):,}; take"):
        flash_image(program, len(image) - 1)


@pytest.mark.parametrize("field, value", [
    ("address", 4), ("address", -8), ("address", 1 << 24), ("room", 8), ("room", 1 << 24),
    ("width", 3), ("sample", 0), ("sample", 5), ("pace", 3), ("clock_hz", 0)])
def test_flash_configurations_out_of_range_are_refused(field, value):
    good = {"address": 0x20000, "room": 1 << 20}
    with pytest.raises(ConfigError, match=rf"^flash {field} must be .*, not {value}; "):
        FlashConfig(**good | {field: value})
