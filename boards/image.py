"""The image in a board's flash: a checked stream of pages, and the frames that load a program."""

import zlib
from fractions import Fraction

from boards.host.recording import recorded
from gen.image import Program
from gen.store import Store
from hw.flash.boot import Boot
from hw.flash.layout import MAGIC, FlashConfig
from models.graph import ModelError

PADDING = bytes(64)     # empty frames, which come until the last frame has been executed
ONES = 0xFFFFFFFF        # zlib inverts the register before and after
MIRRORED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def flash_store(flash: FlashConfig) -> Store:
    """How fast pages come from a flash, for compiler and cycle model."""
    return Store(rate=Fraction(flash.width, 8 * flash.pace), latency=Boot.latency(flash))


def flash_image(program: Program, room: int) -> bytes:
    """What is written to the flash of a board, from which it loads the program.

    Parameters
    ----------
    program : Program
    room : int
        Bytes that the image may have.

    Raises
    ------
    ModelError
        It has more.
    """
    image = with_pages(program.stream) + recorded(program) + PADDING
    if len(image) > room:
        raise ModelError(f"the image of {program.model} must have at most {room:,} bytes, not "
                         f"{len(image):,}; take a smaller model or a board with more flash")
    return image


def with_pages(stream: bytes) -> bytes:
    """The image up to the frames: MAGIC, the pages, and the CRC-32 that ends them.

    Raises
    ------
    ModelError
        By chance a word of the pages is the CRC-32 of those before it and would end them.
    """
    # The flash sends the highest bit first, zlib begins with the lowest one.
    mirrored = stream.translate(MIRRORED)
    mark = first = MAGIC.to_bytes(4, "big").translate(MIRRORED)
    for word in range(0, len(mirrored), 4):
        data = mirrored[word:word + 4]
        if data == mark:
            raise ModelError(f"the pages must not hold their own CRC-32 {mark.hex()}, as word "
                             f"{word // 4} does by chance; compile with another --store-latency")
        crc = zlib.crc32(data, int.from_bytes(mark, "little") ^ ONES) ^ ONES
        mark = crc.to_bytes(4, "little")
    return (first + mirrored + mark).translate(MIRRORED)
