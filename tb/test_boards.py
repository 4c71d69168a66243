"""The catalogue of boards: it agrees with the platforms, the presets and itself."""

import pytest
from amaranth.lib import io

from boards.catalog import BOARDS, SECTOR, find_board
from gen.targets import PRESETS
from hw.config import ConfigError
from tb.test_cli import refused, run

ALL = pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS.keys())


@ALL
def test_board_has_the_device_of_its_core(board):
    target, preset = board.target(), PRESETS[board.preset]
    assert target.family == preset.family
    assert target.device.removeprefix("um5g-") == preset.device
    assert target.min_mhz == board.core_hz / 1e6 >= preset.min_mhz - 5


@ALL
def test_pins_exist_on_the_platform(board):
    platform = board.platform_class()
    assert isinstance(platform.request(board.clock, dir="-"), io.SingleEndedPort)
    flash = platform.lookup(board.flash.resource)
    wires = {wire.name for wire in flash.ios}
    assert "cs" in wires and ({"copi", "cipo"} <= wires or "dq" in wires)
    assert "clk" in wires or not board.flash.clock_pin
    for led in board.leds.values():
        name, _, rest = led.partition(":")
        number, _, part = rest.partition(".")
        found = platform.lookup(name, int(number))
        assert not part or part in {wire.name for wire in found.ios}
    if board.uart_pins is None:
        assert {"rx", "tx"} <= {wire.name for wire in platform.lookup("uart").ios}
    else:
        with pytest.raises(Exception, match="does not exist"):
            platform.lookup("uart")


@ALL
def test_flash_map_leaves_room(board):
    flash = board.flash
    assert flash.image % SECTOR == flash.bitstream % SECTOR == 0
    assert flash.bitstream < flash.image < flash.size
    bits = {"up5k": 104090, "25k": 0x8F000, "85k": 0x1E0000}[PRESETS[board.preset].device]
    assert bits <= flash.bitstream_room


@ALL
def test_clock_makes_the_default_baud_exactly(board):
    assert board.core_hz % board.divisor(1_000_000) == 0
    assert board.core_hz // board.divisor(1_000_000) == 1_000_000
    assert abs(board.core_hz / board.divisor(board.max_baud) / board.max_baud - 1) < 0.015


def test_baud_that_cannot_be_made_is_refused():
    board = BOARDS["icebreaker"]
    with pytest.raises(ConfigError, match=r"must be in 1200\.\.3000000 on icebreaker, not 4000000"):
        board.divisor(4_000_000)
    with pytest.raises(ConfigError, match="within 2%, not be 2800000; try 2666667"):
        board.divisor(2_800_000)


def test_unknown_board_is_refused_with_the_closest(capsys):
    with pytest.raises(ConfigError, match="not 'icebraker'; did you mean 'icebreaker'"):
        find_board("icebraker")
    assert "not 'arty'" in refused(capsys, "flash", "--board", "arty", "x")


def test_boards_lists_all(capsys):
    code, out, _ = run(capsys, "boards")
    assert code == 0
    assert all(name in out for name in BOARDS)
