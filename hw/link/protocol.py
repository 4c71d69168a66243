"""The host link's protocol (``docs/link.md``): the contract of device and host library."""

from enum import IntFlag

from hw.config import CoreConfig
from hw.layout import REGISTERS, Space

VERSION = 1
WORDS = 124              # of data at most in a packet: a frame is then 511 bytes long
HEAD_WORDS = 2           # of a request: command word and address
SLOT_BYTES = 512         # where a frame waits, its final zero included
SEQUENCE_BITS = 3        # bits of the number that the device looks at
SEQUENCE_LOW = 8         # where it begins in the command word
WORDS_LOW = 16           # where the number of words begins
ADDRESS_SPACE_LOW = 29   # where Space begins in the address word; the offset begins at bit 0
CRC_POLYNOMIAL = 0xEDB88320   # of zlib, reflected
DIVISOR_BITS = 12
CONTROL = next(offset for name, offset, *_ in REGISTERS if name == "CONTROL")


class Command(IntFlag):
    """Lowest bits of the command word: what a packet is for."""

    WRITE = 1      # data words follow
    READ = 2       # words are wanted
    IDENTIFY = 4   # open a session with this packet's number
    BEGIN = 8      # reset the core and disarm it: a load begins
    COMMIT = 16    # all is loaded: arm the core


class Status(IntFlag):
    """Lowest bits of the status word."""

    ORDER = 1      # not executed: not the number that is due, or no session
    REFUSED = 2    # not executed: the core is not armed, or no load has begun
    BUS = 4        # the core refused an access, or the address does not exist; the rest was left
    SESSION = 8    # a session is open
    LOADING = 16   # between BEGIN and COMMIT
    ARMED = 32     # the core may be started


# The other fields of the status word: lowest bit, bits.
STATUS_BOOT = (8, 8)                  # code of a boot that failed
STATUS_DIVISOR = (16, DIVISOR_BITS)   # clock cycles per bit
STATUS_VERSION = (28, 4)


def address_word(space: Space, offset: int) -> int:
    """Word 1 of a request; as in the head of a page."""
    return space << ADDRESS_SPACE_LOW | offset


def address_bits(config: CoreConfig) -> list[int]:
    """Which bits of the address word a core uses, lowest first."""
    return [*range(config.space_bits), *range(ADDRESS_SPACE_LOW, ADDRESS_SPACE_LOW + 3)]
