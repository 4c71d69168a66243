"""Verilog of a core: one self-contained file, the same bytes for the same configuration."""

import gc
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

from amaranth import __version__ as amaranth_version
from amaranth.back import verilog

from hw.config import PROGRAM_VERSION, CoreConfig

TOP = "systolith"
HEADER = """\
// Systolith: int8 neural-network inference core. Generated; change the configuration instead.
// Licensed under Apache-2.0.
//
// Configuration hash 0x{hash:08x}, program version {version}, Amaranth {amaranth}.
{settings}
//
{ports}
{reset}
"""
PORTS = {
    "wishbone": """\
// Ports: clk, rst (synchronous, active high), irq, and bus__*: Wishbone B4 classic, 32 bits, word
// addresses (registers.md).""",
    "axi": """\
// Ports: aclk, aresetn (synchronous, active low), irq, s_axil_*: AXI4-Lite, 32 bits, for registers
// and memories (registers.md), s_axis_* and m_axis_*: AXI4-Stream, input and output tensors.""",
}
PAGE_PORTS = {
    "wishbone": "// pages__* and rewind: the backing store.",
    "axi": "// s_axis_pages_* and rewind: AXI4-Stream, the backing store.",
}
# Names of array elements: Yosys' ABC9 would take `a[2]` for bit 2 of a, and give both one driver.
ELEMENT = re.compile(r"\\\S+\[\S+")
RESET = {
    "ice40": """\
// Reset: hold it after configuration until the block RAMs of the iCE40 can be read: 3 us, or
// 100 us when the clock comes from the internal oscillator.""",
}
RESET_DEFAULT = """\
// Reset: hold it for a few cycles after configuration."""


def header(config: CoreConfig, bus: str) -> str:
    """Return the comment at the top of the file."""
    settings = "\n".join(f"//   {name} = {value}" for name, value in config.items().items())
    ports = PORTS[bus] + ("\n" + PAGE_PORTS[bus] if config.pages else "")
    return HEADER.format(hash=config.hash, version=PROGRAM_VERSION, amaranth=amaranth_version,
                         settings=settings, ports=ports,
                         reset=RESET.get(config.memory, RESET_DEFAULT))


@contextmanager
def builtin_yosys() -> Iterator[None]:
    """Have Amaranth take the pinned Yosys while it writes Verilog."""
    former = os.environ.get("AMARANTH_USE_YOSYS")
    os.environ["AMARANTH_USE_YOSYS"] = "builtin"
    try:
        yield
    finally:
        if former is None:
            del os.environ["AMARANTH_USE_YOSYS"]
        else:
            os.environ["AMARANTH_USE_YOSYS"] = former


def convert(component, name: str) -> str:
    """Return a component's Verilog without source locations, made by the pinned Yosys."""
    collecting = gc.isenabled()
    gc.disable()  # a third faster: a netlist is millions of objects, nearly all alive to the end
    try:
        with builtin_yosys():
            text = verilog.convert(component, name=name, emit_src=False,
                                   strip_internal_attrs=True)
    finally:
        if collecting:
            gc.enable()
    return ELEMENT.sub(lambda found: found[0].replace("[", ".").replace("]", ""), text)


def emit(config: CoreConfig, bus: str = "wishbone") -> str:
    """Return the Verilog of a core, its top module called `systolith`.

    The text depends on the arguments and the pinned tools alone: no paths, no dates.

    Parameters
    ----------
    config : CoreConfig
    bus : str
        "wishbone": the core as it is (`hw.core.Core`); "axi": with AXI4-Lite and AXI4-Streams
        (`hw.axi.core.AxiCore`).
    """
    from hw.axi.core import AxiCore  # slow to import
    from hw.core import Core
    return header(config, bus) + convert({"wishbone": Core, "axi": AxiCore}[bus](config), TOP)
