"""Bytes that only move or are looked up: MAX with a window of one pixel."""

from dataclasses import replace

from gen.lower.functions import byte_table, difference_table
from gen.lower.pool import max_step
from gen.lower.steps import Step, Storage
from hw.config import CoreConfig
from models.graph import Graph, Op


def lower_table(graph: Graph, op: Op, seen: Storage, config: CoreConfig,
                source: int, output: int) -> tuple[Step, ...]:
    """The step of an operator of one byte, which the table does."""
    step = copy(op, seen, (seen.height, seen.width), config, source, output, table_first=1)
    return (replace(step, table=difference_table(byte_table(graph, op))),)


def lower_pad(_graph: Graph, op: Op, seen: Storage, config: CoreConfig,
              source: int, output: int) -> tuple[Step, ...]:
    """The step of one PAD or PADV2 of height and width: windows that lie outside are the value."""
    (top, bottom), (left, right) = op.padding
    size = seen.height + top + bottom, seen.width + left + right
    step = copy(op, seen, size, config, source, output, fill=op.fill, y_start=-top,
                x_start=-left * seen.pixel_bytes)
    return (replace(step, in_offset=-top * seen.row_bytes),)


def copy(op: Op, seen: Storage, size: tuple[int, int], config: CoreConfig, source: int,
         output: int, **fields: int) -> Step:
    """The step that copies every pixel of a tensor to one of ``size`` (height, width) pixels."""
    return max_step(op, seen, config, (1, 1), size, source, output, **fields)
