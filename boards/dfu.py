"""Files for USB bootloaders: what dfu-suffix appends."""

import struct
import zlib

ORANGECRAB = (0x1209, 0x5AF0)  # vendor, product
SUFFIX = struct.Struct("<4H3sB")  # device, product, vendor, version of DFU, "UFD", length
ERASED = b"\xff"


def with_suffix(data: bytes, vendor: int, product: int) -> bytes:
    """Append the suffix by which a bootloader knows its files (USB DFU 1.1, appendix B).

    Parameters
    ----------
    data : bytes
    vendor, product : int
        USB numbers of the bootloader.
    """
    text = data + SUFFIX.pack(0xFFFF, product, vendor, 0x0100, b"UFD", SUFFIX.size + 4)
    return text + struct.pack("<I", zlib.crc32(text) ^ 0xFFFFFFFF)


def joined(bitstream: bytes, image: bytes, distance: int) -> bytes:
    """One file of both: the image begins ``distance`` bytes behind the bitstream's first one."""
    return bitstream + ERASED * (distance - len(bitstream)) + image
