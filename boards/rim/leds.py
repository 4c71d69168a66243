"""LEDs: plain pins, or the current sources of the iCE40 UltraPlus."""

from amaranth import Const, Instance, Module
from amaranth.lib import io, wiring
from amaranth.lib.wiring import In

from boards.catalog import Board
from boards.rim.pins import request

DRIVER = {"g": 0, "b": 1, "r": 2}     # outputs of SB_RGBA_DRV: pins 39, 40, 41
CURRENT = "0b000001"                  # 4 mA, in half mode 2 mA


class Leds(wiring.Component):
    """Shows what there are LEDs for.

    Parameters
    ----------
    board : Board

    Members
    -------
    ready, busy, error : In(1)
    """

    def __init__(self, board: Board):
        self.board = board
        super().__init__({"ready": In(1), "busy": In(1), "error": In(1)})

    def elaborate(self, platform):
        m = Module()
        pins, driver = {}, {}
        for shown, led in self.board.leds.items():
            resource, _, part = led.partition(".")
            name, _, number = resource.partition(":")
            if resource not in pins:
                pins[resource] = request(platform, name, int(number))
            pin = getattr(pins[resource], part) if part else pins[resource]
            if self.board.rgb_driver:
                driver |= {f"o_RGB{DRIVER[part]}": pin.io,
                           f"i_RGB{DRIVER[part]}PWM": getattr(self, shown)}
            else:
                m.submodules[shown] = buffer = io.Buffer("o", pin)
                m.d.comb += buffer.o.eq(getattr(self, shown))
        if driver:
            m.submodules.driver = Instance(
                "SB_RGBA_DRV", p_CURRENT_MODE="0b1",
                **{f"p_RGB{n}_CURRENT": CURRENT for n in DRIVER.values()},
                i_CURREN=Const(1), i_RGBLEDEN=Const(1), **driver)
        return m
