"""An image in flash: its marks, what becomes of it, and what the flash is asked."""

from dataclasses import dataclass
from enum import IntEnum

from amaranth.lib import enum, wiring
from amaranth.lib.wiring import In, Out

from hw.config import ConfigError, bits_for

MAGIC = 0x53595300          # "SYS\0": first word of an image, the highest byte first
POLYNOMIAL = 0x04C11DB7     # of the CRC-32 that ends the pages
RELEASE_SECONDS = 35e-6     # a flash needs at most from 0xAB until it reads


class Opcode(IntEnum):
    """Commands of SPI flashes."""

    RELEASE = 0xAB          # end deep power-down
    READ = 0x0B             # fast reads over 1, 2 and 4 wires, with 8 dummy clocks
    READ_DUAL = 0x3B
    READ_QUAD = 0x6B


# What the FPGA has of the flash's pins; the clock is ``sck & ~clk``, a pulse in the second half of
# a cycle.
PADS = wiring.Signature({"cs_n": Out(1, init=1), "sck": Out(1), "dq_o": Out(4), "dq_oe": Out(4),
                         "dq_i": In(4)})
READS = {1: Opcode.READ, 2: Opcode.READ_DUAL, 4: Opcode.READ_QUAD}


class BootState(enum.Enum, shape=4):
    """What the boot is at, or how it ended: in every reply of the link."""

    WAKE = 0        # the flash is released from deep power-down
    FRAMES = 1      # the program is loaded
    MAGIC = 2       # the first word is read
    PAGES = 3       # the pages are checked
    EMPTY = 4       # the flash is erased: the host loads a program
    FOREIGN = 5     # the first word is not MAGIC
    DAMAGED = 6     # the pages do not end with their CRC-32
    LOADED = 8      # the program may be started
    REFUSED = 12    # the link refused a frame, or the frames ended without COMMIT


@dataclass(frozen=True, kw_only=True)
class FlashConfig:
    """How a flash is wired and what it holds.

    Parameters
    ----------
    address : int
        Of the image; a multiple of 8 below 16 MiB.
    room : int
        Bytes that the image may have: reading more, or for longer than `patience`, is given up.
    width : int
        Data wires: 1, 2 or 4.
    sample : int
        Cycles from the end of a clock pulse until the bits that it brings are taken, 1 to 4.
    pace : int
        Cycles from pulse to pulse at least, 1 or 2.
    clock_hz : int
        Of the core.
    """

    address: int
    room: int
    width: int = 4
    sample: int = 1
    pace: int = 1
    clock_hz: int = 24_000_000

    def __post_init__(self):
        end = 1 << 24
        self._require("address", f"a multiple of 8 in 0..{end - 8}",
                      self.address in range(0, end, 8), "take a sector's")
        self._require("room", f"in 16..{end - self.address}",
                      16 <= self.room <= end - self.address,
                      "flashes are read with 24 address bits")
        self._require("width", "1, 2 or 4", self.width in READS, "take 1 for any flash")
        self._require("sample", "in 1..4", self.sample in range(1, 5), "1 suits slow clocks")
        self._require("pace", "1 or 2", self.pace in (1, 2), "2 halves the flash's clock")
        self._require("clock_hz", "in 1 MHz .. 1 GHz", 10**6 <= self.clock_hz <= 10**9,
                      "give the core's clock")

    def _require(self, name: str, rule: str, holds: bool, remedy: str):
        if not holds:
            raise ConfigError(f"flash {name} must be {rule}, not {getattr(self, name)!r}; {remedy}")

    @property
    def rest_bits(self) -> int:
        """Two to this are the cycles that the flash is given to wake up."""
        return bits_for(round(RELEASE_SECONDS * self.clock_hz) + 1)

    @property
    def patience_bits(self) -> int:
        """Two to this are the cycles after which the boot is given up: 32 a byte, and the rest."""
        return max(bits_for(self.room) + 5, self.rest_bits + 2)
