"""Platform of the Colorlight i5 (v7.0), a module with the LFE5U-25F, on its extension board."""

from amaranth.build import Attrs, Clock, Pins, PinsN, Resource, Subsignal
from amaranth.vendor import LatticeECP5Platform
from amaranth_boards.resources import LEDResources, UARTResource

__all__ = ["ColorlightI5Platform"]

LVCMOS33 = Attrs(IO_TYPE="LVCMOS33")


class ColorlightI5Platform(LatticeECP5Platform):
    """Clock, LED, UART of the extension board's debugger, and flash; nothing else is needed here.

    Source
    ------
    Pins as found by wuxx (github.com/wuxx/Colorlight-FPGA-Projects) and used by litex-boards. The
    flash's clock is the dedicated configuration pin, which USRMCLK drives; WP# and HOLD# are not
    known to lead to the FPGA.
    """

    device = "LFE5U-25F"
    package = "BG381"
    speed = "6"
    default_clk = "clk25"
    resources = [
        Resource("clk25", 0, Pins("P3", dir="i"), Clock(25e6), LVCMOS33),
        *LEDResources(pins="U16", invert=True, attrs=LVCMOS33),
        UARTResource(0, rx="H18", tx="J17", attrs=LVCMOS33),
        Resource("spi_flash", 0,
                 Subsignal("cs", PinsN("R2", dir="o")),
                 Subsignal("copi", Pins("W2", dir="o")),
                 Subsignal("cipo", Pins("V2", dir="i")),
                 LVCMOS33),
    ]
    connectors = []
