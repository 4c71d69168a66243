"""The boards: what is on them, and how it is wired and flashed."""

import importlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import cached_property, partial
from typing import Any

from gen.targets import PRESETS, Target, resolve
from hw.config import ConfigError, CoreConfig

MEBI = 1 << 20
SECTOR = 0x10000           # what openFPGALoader erases at once, from the given address on
MOST_IMAGE = 2 * MEBI
ADDRESSABLE = 16 * MEBI    # by the flash commands used here: 24 bits
BAUD = 1_000_000           # every USB bridge and adapter knows it
BAUD_ERROR = 0.02          # what both ends' rates may differ by, half of what 10 bits stand
# Amaranth's names of devices and packages, in those of nextpnr.
DEVICES = {"iCE40UP5K": "up5k", "LFE5U-25F": "25k", "LFE5U-85F": "85k",
           "LFE5UM5G-85F": "um5g-85k"}
PACKAGES = {"SG48": "sg48", "BG381": "CABGA381", "MG285": "CSFBGA285", "BG554": "CABGA554"}


@dataclass(frozen=True, kw_only=True)
class Flash:
    """The SPI flash from which the FPGA configures itself.

    Parameters
    ----------
    chip : str
    size : int
        Bytes.
    bitstream, image : int
        Where the bitstream and the program image begin. ``image`` is a multiple of SECTOR, so
        that writing one leaves the other alone, behind the longest bitstream of the device.
    resource : str
        Of the platform.
    clock_pin : bool
        The FPGA reaches the clock over a pin of its own; else over USRMCLK.
    width : int
        Data wires that are read over: 2, because nothing says that quad-enable bits are set; see
        `Board.quad`.
    registered : bool
        What comes from the pads passes a register.
    pace, sample : int
        See `hw.flash.layout.FlashConfig`; that register is one of the cycles.
    """

    chip: str
    size: int
    image: int
    bitstream: int = 0
    resource: str = "spi_flash_1x"
    clock_pin: bool = False
    width: int = 2
    registered: bool = False
    pace: int = 1
    sample: int = 1

    @property
    def image_room(self) -> int:
        """Bytes that an image may have; a damaged one is given up when they have been read."""
        return min(min(self.size, ADDRESSABLE) - self.image, MOST_IMAGE)

    @property
    def bitstream_room(self) -> int:
        """Bytes that a bitstream may have."""
        return self.image - self.bitstream


@dataclass(frozen=True, kw_only=True)
class Board:
    """A board for which there is a top.

    Parameters
    ----------
    name, title : str
        On the command line; in text.
    platform : str
        "module:class" of its Amaranth platform.
    preset : str
        The core that is built for it ...
    changes : tuple of str
        ... but for these parameters, "name=value", where link and boot need their room.
    clock : str
        Resource of the oscillator.
    core_hz : int
        Clock of the core.
    pll : str
        "pad": the oscillator's pin is the PLL's own (iCE40); "core": it is another (iCE40);
        "ecp5".
    leds : dict of str to str
        What they show ("ready", "busy", "error"): "resource:number" or
        "resource:number.subsignal".
    rgb_driver : bool
        The LEDs hang on the iCE40's current sources, which only SB_RGBA_DRV drives.
    uart_pins : (str, str) or None
        rx and tx, of the FPGA, where the platform has no UART: a 3.3 V adapter goes there.
    uart_text : str
        Where the other end of the UART is.
    max_baud : int
        What the bridge or adapter allows.
    flash : Flash
    loader : tuple of str
        openFPGALoader's options that mean this board.
    cable : str
        Its name of the cable, where the board's options do not say.
    dfu : bool
        It is flashed through a bootloader that takes one file, without address.
    pack : tuple of str
        Options of icepack or ecppack. icepack's -s leaves the flash awake.
    """

    name: str
    title: str
    platform: str
    preset: str
    changes: tuple[str, ...] = ()
    clock: str
    core_hz: int
    pll: str
    leds: dict[str, str]
    rgb_driver: bool = False
    uart_pins: tuple[str, str] | None = None
    uart_text: str
    max_baud: int = BAUD
    flash: Flash
    loader: tuple[str, ...] = ()
    cable: str = ""
    dfu: bool = False
    pack: tuple[str, ...] = ("--compress",)

    @cached_property
    def platform_class(self) -> Any:
        """The Amaranth platform's class."""
        module, _, name = self.platform.partition(":")
        return getattr(importlib.import_module(module), name)

    @property
    def family(self) -> str:
        """The device's: ice40 or ecp5."""
        return PRESETS[self.preset].family

    @property
    def clock_hz(self) -> int:
        """The oscillator's frequency, as the platform has it."""
        return round(self.platform_class().lookup(self.clock).clock.frequency)

    @property
    def core(self) -> str:
        """The core, in words."""
        return " ".join((self.preset, *self.changes))

    def target(self, overrides: Sequence[str] = ()) -> Target:
        """The core of this board on its device, at its clock, with other parameters where given.

        Raises
        ------
        ConfigError
            As `gen.targets.resolve`.
        """
        return self.with_config(resolve(self.preset, [*self.changes, *overrides]).config)

    def with_config(self, config: CoreConfig) -> Target:
        """Another core on this board's device."""
        found = self.platform_class
        return replace(PRESETS[self.preset], device=DEVICES[found.device], config=config,
                       package=PACKAGES[found.package], speed=getattr(found, "speed", ""),
                       min_mhz=self.core_hz / 1e6)

    def quad(self) -> "Board":
        """The same, its flash read over four wires: whoever flashes it sets the quad-enable bit.

        Raises
        ------
        ConfigError
            openFPGALoader cannot set that bit here.
        """
        if self.family != "ecp5" or self.dfu:
            able = ", ".join(name for name, board in BOARDS.items()
                             if board.family == "ecp5" and not board.dfu)
            raise ConfigError(f"--quad needs a board on which openFPGALoader sets the flash's "
                              f"quad-enable bit, not {self.name}; take one of {able}")
        return replace(self, flash=replace(self.flash, width=4))

    def divisor(self, baud: int) -> int:
        """Cycles of the core's clock per bit.

        Raises
        ------
        ConfigError
            The bridge does not know the rate, or the clock cannot make it.
        """
        if not 1200 <= baud <= self.max_baud:
            raise ConfigError(f"--baud must be in 1200..{self.max_baud} on {self.name}, not "
                              f"{baud}; {BAUD} always works")
        cycles = round(self.core_hz / baud)
        if abs(self.core_hz / cycles / baud - 1) > BAUD_ERROR:
            raise ConfigError(f"--baud must divide the core's {self.core_hz / 1e6:g} MHz to within "
                              f"{BAUD_ERROR:.0%}, not be {baud}; try "
                              f"{round(self.core_hz / cycles)}")
        return cycles


RGB_LEDS = {"ready": "rgb_led:0.g", "busy": "rgb_led:0.b", "error": "rgb_led:0.r"}
# Besides link and boot the iCE40 UP5K has no logic cells for the pager and for large images, and no
# RAM blocks to pass over zeros.
UP5K_CHANGES = ("pages=0", "skip=off", "dim_bits=10", "column_bits=13")
# Half the core's clock, taken two cycles later: USRMCLK, flash and pads take longer than a cycle.
Ecp5Flash = partial(Flash, registered=True, pace=2, sample=3)
ADAPTER = "a USB-UART adapter for 3.3 V"

_ULX3S = Board(
    name="ulx3s-85f", title="ULX3S 85F", preset="ecp5-85k", core_hz=80_000_000, pll="ecp5",
    platform="amaranth_boards.ulx3s:ULX3S_85F_Platform", clock="clk25",
    leds={"ready": "led:0", "busy": "led:1", "error": "led:7"},
    uart_text="the FT231X of USB port US1", max_baud=3_000_000,
    flash=Ecp5Flash(chip="IS25LP128F", size=16 * MEBI, image=0x200000, resource="spi_flash"),
    loader=("-b", "ulx3s"))
_ORANGECRAB = Board(
    name="orangecrab-85f", title="OrangeCrab r0.2 85F", preset="ecp5-85k", core_hz=80_000_000,
    pll="ecp5", clock="clk", leds=RGB_LEDS,
    platform="amaranth_boards.orangecrab_r0_2:OrangeCrabR0_2_85FPlatform",
    uart_pins=("N17", "M18"),
    uart_text=f"{ADAPTER} on the header: its TX to pin 0, its RX to pin 1",
    flash=Ecp5Flash(chip="W25Q128JV", size=16 * MEBI, bitstream=0x80000, image=0x280000),
    loader=("-b", "orangeCrab", "--altsetting", "0"), dfu=True,
    pack=("--compress", "--freq", "38.8"))

_BOARDS = (
    Board(name="icebreaker", title="iCEBreaker", preset="up5k", core_hz=24_000_000, pll="pad",
          changes=UP5K_CHANGES,
          platform="amaranth_boards.icebreaker:ICEBreakerPlatform", clock="clk12",
          leds={"ready": "led_g:0", "error": "led_r:0"},
          uart_text="channel B of the FT2232H", max_baud=3_000_000,
          flash=Flash(chip="W25Q128JV", size=16 * MEBI, image=0x20000, clock_pin=True),
          loader=("-b", "ice40_generic"), pack=("-s",)),
    Board(name="upduino3", title="UPduino v3", preset="up5k", core_hz=24_000_000, pll="core",
          changes=UP5K_CHANGES,
          platform="amaranth_boards.upduino_v3:UpduinoV3Platform", clock="clk12",
          leds=RGB_LEDS, rgb_driver=True, uart_pins=("28", "38"),
          uart_text=f"{ADAPTER}: its TX to pin 28, its RX to pin 38",
          flash=Flash(chip="W25Q32JV", size=4 * MEBI, image=0x20000, clock_pin=True,
                      resource="spi_flash_2x"),
          loader=("-b", "ice40_generic"), cable="ft232", pack=("-s",)),
    _ULX3S,
    replace(_ULX3S, name="ulx3s-25f", title="ULX3S 25F", preset="ecp5-25k",
            platform="amaranth_boards.ulx3s:ULX3S_25F_Platform"),
    _ORANGECRAB,
    replace(_ORANGECRAB, name="orangecrab-25f", title="OrangeCrab r0.2 25F", preset="ecp5-25k",
            platform="amaranth_boards.orangecrab_r0_2:OrangeCrabR0_2_25FPlatform",
            flash=replace(_ORANGECRAB.flash, image=0x110000)),
    Board(name="ecpix5-85f", title="ECPIX-5 85F", preset="ecp5-85k", core_hz=80_000_000,
          pll="ecp5", platform="amaranth_boards.ecpix5:ECPIX585Platform", clock="clk100",
          leds=RGB_LEDS, uart_text="channel B of the FT2232H", max_baud=3_000_000,
          flash=Ecp5Flash(chip="S25FL256S or IS25LP256", size=32 * MEBI, image=0x200000),
          loader=("-b", "ecpix5")),
    Board(name="colorlight-i5", title="Colorlight i5", preset="ecp5-25k", core_hz=80_000_000,
          pll="ecp5", platform="boards.platforms.colorlight_i5:ColorlightI5Platform",
          clock="clk25", leds={"ready": "led:0"}, uart_text="the extension board's debugger",
          flash=Ecp5Flash(chip="GD25Q16", size=2 * MEBI, image=0x90000, resource="spi_flash"),
          cable="ft2232"),
)
BOARDS = {board.name: board for board in _BOARDS}


def find_board(name: str, quad: bool = False) -> Board:
    """The board of a name; with ``quad`` its flash is read over four wires.

    Raises
    ------
    ConfigError
        There is none; the text names the closest one. Or as `Board.quad`.
    """
    if name in BOARDS:
        return BOARDS[name].quad() if quad else BOARDS[name]
    matches = get_close_matches(name.lower(), BOARDS, n=1, cutoff=0.4)
    raise ConfigError(f"board must be one of {', '.join(BOARDS)}, not {name!r}; "
                      + (f"did you mean {matches[0]!r}?" if matches else "see systolith boards"))
