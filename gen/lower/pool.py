"""AVERAGE_POOL_2D and MAX_POOL_2D: each column takes its own channel of the patch lines."""

from dataclasses import replace
from itertools import product

import numpy as np

from gen.lower.arith import MAX_STAGE, POOL_WEIGHT, activation_range, pool_ratio
from gen.lower.steps import (
    Step,
    Storage,
    choose_split,
    no_params,
    no_weights,
    uniform_words,
)
from gen.lower.tensors import pixel_shape
from hw.config import CoreConfig
from hw.layout import Opcode
from models.graph import Graph, Op


def lower_max(graph: Graph, op: Op, seen: Storage, config: CoreConfig,
              source: int, output: int) -> tuple[Step, ...]:
    """The step of one MAX_POOL_2D; padding is -128."""
    y = graph.tensors[op.outputs[0]]
    out_h, out_w, _ = pixel_shape(y.shape)
    pad_y, pad_x = op.padding[0][0], op.padding[1][0]
    low, high = activation_range(op.activation, y.scale[0], y.zero_point)
    step = max_step(op, seen, config, op.kernel, (out_h, out_w), source, output,
                    x_start=-pad_x * seen.pixel_bytes, y_start=-pad_y, fill=-128, add_low=low,
                    add_high=high)
    return (replace(step, in_offset=-pad_y * seen.row_bytes),)


def max_step(op: Op, seen: Storage, config: CoreConfig, kernel: tuple[int, int],
             size: tuple[int, int], source: int, output: int, **fields: int) -> Step:
    """A step of MAX over windows of ``kernel`` pixels to ``size`` (height, width) pixels."""
    height, width = size
    fields = geometry(op, seen, config, kernel, height, width) | {
        "in_h": seen.height, "add_low": -128, "add_high": 127, "uniform": 1,
        "out_row": width * (seen.pixel_bytes // config.V)} | fields
    return Step(op=Opcode.MAX, fields=fields, groups=-(-seen.channels // config.C),
                weights=no_weights(), params=no_params(config),
                add_params=uniform_words(config, *MAX_STAGE), source=source, output=output)


def lower_average(graph: Graph, op: Op, seen: Storage, config: CoreConfig,
                  source: int, output: int) -> tuple[Step, ...]:
    """The steps of one AVERAGE_POOL_2D: one for each rectangle of equally large windows.

    Raises
    ------
    ModelError
        No exact multiplier exists for a window size.
    """
    y = graph.tensors[op.outputs[0]]
    out_h, out_w, _ = pixel_shape(y.shape)
    pitch = seen.pixel_bytes // config.V
    low, high = activation_range(op.activation, y.scale[0], y.zero_point)
    row = np.zeros((1, config.row_bytes), np.uint8)
    row[0, :config.C] = POOL_WEIGHT  # lane 0; what other lanes see does not count
    sides = [spans(op.kernel[i], op.stride[i], op.padding[i][0], (seen.height, seen.width)[i],
                   (out_h, out_w)[i]) for i in range(2)]
    steps = []
    for (top, rows, start_y, size_y), (left, cols, start_x, size_x) in product(*sides):
        count = size_y * size_x
        bias = -POOL_WEIGHT * 128 * count if config.narrow else 0
        fields = geometry(op, seen, config, (size_y, size_x), rows, cols) | {
            "in_h": seen.height - start_y, "out_row": out_w * pitch, "group_rows": 1,
            "hold": 1, "uniform": 1, "low": low, "high": high}
        steps.append(Step(
            op=Opcode.CHANNEL, fields=fields, groups=-(-seen.channels // config.C), weights=row,
            params=uniform_words(config, bias, *pool_ratio(count)), source=source, output=output,
            in_offset=start_y * seen.row_bytes + start_x * seen.pixel_bytes,
            out_offset=(top * out_w + left) * pitch))
    return tuple(steps)


def spans(kernel: int, stride: int, pad: int, size: int, count: int):
    """Output positions of one axis whose clipped windows are alike.

    Returns
    -------
    list of (first output, number of outputs, first window's start, window's size)
    """
    found = []
    for i in range(count):
        start = max(i * stride - pad, 0)
        length = min(i * stride - pad + kernel, size) - start
        if found:
            first, number, begin, same = found[-1]
            if same == length and start == begin + number * stride:
                found[-1] = (first, number + 1, begin, same)
                continue
        found.append((i, 1, start, length))
    return found


def geometry(op, seen, config, kernel, out_h, out_w):
    """Fields that both kinds share."""
    lines = kernel[0] * kernel[1]
    groups = -(-seen.channels // config.C)
    return {
        "kernel_h": kernel[0], "segments": kernel[1], "segment_bytes": config.V,
        "segment_pitch": op.dilation[1] * seen.pixel_bytes, "row_bytes": seen.row_bytes,
        "y_step": op.stride[0] * seen.row_bytes if out_h > 1 else 0,
        "x_step": op.stride[1] * seen.pixel_bytes if out_w > 1 else 0,
        "stride_h": op.stride[0], "out_w": out_w, "out_h": out_h,
        "out_pitch": seen.pixel_bytes // config.V,
        "split": choose_split(config, out_w, out_h, groups),
        "chunked": int(lines > config.patch_lines)}
