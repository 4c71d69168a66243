"""The descriptor as the hardware sees it: every field a signal of its own."""

from amaranth import signed, unsigned
from amaranth.lib import data

from hw.config import CoreConfig
from hw.layout import DESCRIPTOR, Opcode, field_widths


def descriptor_shape(config: CoreConfig) -> data.StructLayout:
    """The fields of ``hw.layout.DESCRIPTOR``, as wide as this core implements them."""
    return data.StructLayout({
        name: signed(width) if DESCRIPTOR[name].signed else unsigned(width)
        for name, width in field_widths(config).items()})


def order_shape(config: CoreConfig) -> data.StructLayout:
    """The descriptor that runs, as the units get it: with what `decoded` finds, a bit each."""
    fields = descriptor_shape(config)
    return data.StructLayout(
        dict(fields.members) | dict.fromkeys(decoded(config, fields.from_bits(0)), 1))


def decoded(config: CoreConfig, d) -> dict:
    """What many blocks want to know of a descriptor, found once: of a view or of numbers.

    ``is_array``: lanes and columns work; ``is_max``: on maxima; ``by_channel``: columns take their
    own channels of patch lines (CHANNEL, MAX), fetched per group; ``slides``: the windows of a row
    do, see ``strip`` in hw.layout; ``by_row``, ``by_pixel``: the clusters take turns in rows, in
    pixels (with ``split`` they do in groups).
    """
    is_max = d.op == Opcode.MAX
    by_channel = is_max | (d.op == Opcode.CHANNEL)
    slides = d.strip != 0 if config.strips else 0
    alone = d.split == 0 if config.P == 2 else 0
    return {"is_array": by_channel | (d.op == Opcode.CONV), "is_max": is_max,
            "by_channel": by_channel, "slides": slides,
            "by_row": alone & slides, "by_pixel": alone & (slides ^ 1)}
