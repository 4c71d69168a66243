"""The descriptor as the hardware sees it: every field a signal of its own."""

from amaranth import signed, unsigned
from amaranth.lib import data

from hw.config import CoreConfig
from hw.layout import DESCRIPTOR, field_widths


def descriptor_shape(config: CoreConfig) -> data.StructLayout:
    """The fields of ``hw.layout.DESCRIPTOR``, as wide as this core implements them."""
    return data.StructLayout({
        name: signed(width) if DESCRIPTOR[name].signed else unsigned(width)
        for name, width in field_widths(config).items()})
