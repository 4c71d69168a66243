"""What cocotb tests of blocks share: pins of one part of a bundle, descriptors, reset."""

from types import SimpleNamespace
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, ReadOnly

from hw.config import CoreConfig
from hw.descriptor import decoded, descriptor_shape, order_shape
from tb.bench import parameters


class Part:
    """The pins ``name__*`` of one component among several, as numbers.

    Drive on falling edges, sample after ``settled``, then ``edge`` leads to the next cycle.
    """

    def __init__(self, dut, name: str):
        self._dut, self._name, self._pins = dut, name, {}

    def pin(self, name: str):
        """Return the handle of a pin."""
        if name not in self._pins:
            self._pins[name] = getattr(self._dut, f"{self._name}__{name}")
        return self._pins[name]

    def set(self, **values: int):
        """Drive pins; negative numbers as two's complement."""
        for name, value in values.items():
            pin = self.pin(name)
            pin.value = int(value) & (1 << len(pin)) - 1

    def get(self, name: str) -> int:
        """Return the value of a pin as an unsigned number."""
        return int(self.pin(name).value)

    def view(self, name: str, shape) -> Any:
        """Return the value of a pin as fields of an Amaranth layout."""
        return shape.from_bits(self.get(name))

    async def settled(self):
        """Wait until what was driven has reached the outputs."""
        await ReadOnly()

    async def edge(self):
        """Wait for the next falling edge."""
        await FallingEdge(self._dut.clk)


def configs() -> dict[str, CoreConfig]:
    """Return the configurations that the test was given under "configs"."""
    return {name: CoreConfig(**items) for name, items in parameters()["configs"].items()}


def descriptor(config: CoreConfig, fields: dict[str, int]) -> int:
    """Return a descriptor as the bits that the blocks of a cluster take; absent fields are 0."""
    shape, bits = order_shape(config), 0
    given = SimpleNamespace(**dict.fromkeys(descriptor_shape(config).members, 0) | fields)
    for name, value in (fields | decoded(config, given)).items():
        field = shape[name]
        assert value in range(-(1 << field.width), 1 << field.width), f"{name}={value}"
        bits |= (value & (1 << field.width) - 1) << field.offset
    return bits


async def start(dut):
    """Clock and two cycles of reset; inputs that nobody drives are zero."""
    cocotb.start_soon(Clock(dut.clk, 10, "ns").start())
    dut.rst.value = 1
    for _ in range(2):
        await FallingEdge(dut.clk)
    dut.rst.value = 0
