"""The descriptor as the hardware sees it: every field a signal of its own."""

from amaranth import signed, unsigned
from amaranth.lib import data

from hw.layout import DESCRIPTOR

DESCRIPTOR_SHAPE = data.StructLayout({
    field.name: signed(field.width) if field.signed else unsigned(field.width)
    for field in DESCRIPTOR.values()})
