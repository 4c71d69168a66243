"""DEPTHWISE_CONV_2D: each column takes its own channel of the patch lines, as in pooling."""

from dataclasses import replace

import numpy as np

from gen.lower.arith import activation_range
from gen.lower.channels import channel_params, operand_offset
from gen.lower.conv import Window, spread, turned
from gen.lower.pool import geometry
from gen.lower.steps import Step, Storage, busiest_share, choose_turns
from gen.lower.tensors import pixel_shape
from hw.config import CoreConfig
from hw.layout import DESCRIPTOR, STRIP_ROWS, Opcode
from models.graph import Graph, Op


def is_channelwise(graph: Graph, op: Op) -> bool:
    """A depthwise convolution with one output per input channel; others are dense or ungrouped."""
    channels = graph.tensors[op.inputs[0]].shape[-1]
    return (op.kind == "DEPTHWISE_CONV_2D" and channels > 1
            and graph.tensors[op.outputs[0]].shape[-1] == channels)


def lower_depthwise(graph: Graph, op: Op, seen: Storage, config: CoreConfig,
                    source: int, output: int) -> tuple[Step, ...]:
    """The step of one channelwise DEPTHWISE_CONV_2D.

    Raises
    ------
    ModelError
        A psum or a ratio of scales exceeds what the core can do.
    """
    x, y = graph.tensors[op.inputs[0]], graph.tensors[op.outputs[0]]
    weights = graph.tensors[op.inputs[1]].data
    assert weights is not None
    out_h, out_w, _ = pixel_shape(y.shape)
    pad = (op.padding[0][0], op.padding[1][0])
    found = Window(source=seen, weights=weights, stride=op.stride, pad=pad, dilation=op.dilation,
                   out_h=out_h, out_w=out_w)
    found = spread(turned(found, config) if op.dilation[0] > 1 else found)
    op = replace(op, stride=found.stride, dilation=found.dilation)
    seen, weights, (pad_y, pad_x) = found.source, found.weights, found.pad
    out_h, out_w = found.out_h, found.out_w
    _, rows, cols, count = weights.shape
    kernel = weights.reshape(rows * cols, count).T          # [channels, taps]
    groups = -(-count // config.C)
    strip = op.stride[1] if (slides(op, (rows, cols), config)
                             and pays(op, (rows, cols), (out_h, out_w), groups, config)) else 0
    low, high = activation_range(op.activation, y.scale[0], y.zero_point)
    fields = geometry(op, seen, config, (rows, cols), out_h, out_w) | {
        "x_start": -pad_x * seen.pixel_bytes, "y_start": -pad_y, "in_h": seen.height,
        "fill": x.zero_point, "zero_point": y.zero_point, "low": low, "high": high,
        "out_row": out_w * (seen.pixel_bytes // config.V),
        "group_rows": rows if strip else rows * cols}
    params = channel_params(graph, op, kernel, operand_offset(x.zero_point, config, channel=True),
                            config)
    if strip:
        fields |= {"strip": strip, "x_step": 0,
                   "split": choose_turns(config, out_h, groups)}
    return (Step(op=Opcode.CHANNEL, fields=fields, groups=groups,
                 weights=tap_rows(weights[0], config, bool(strip)), params=params, source=source,
                 output=output, in_offset=-pad_y * seen.row_bytes),)


def slides(op: Op, kernel: tuple[int, int], config: CoreConfig) -> bool:
    """Whether the windows of a row can share columns, a lane to each column of the window."""
    rows, cols = kernel
    fresh = min(cols, (1 << DESCRIPTOR["strip"].width) - 1)
    lines = rows * cols
    return (config.strips and cols <= config.L and rows <= STRIP_ROWS and op.stride[1] <= fresh
            and op.dilation[1] == 1 and lines <= config.patch_lines)


def pays(op: Op, kernel: tuple[int, int], size: tuple[int, int], groups: int,
         config: CoreConfig) -> bool:
    """Whether sliding takes fewer cycles: clusters cannot share a row then."""
    (rows, cols), (out_h, out_w), drain = kernel, size, config.beats * config.beat_cycles
    sliding = busiest_share(config, out_h, groups) * out_w * max(rows * op.stride[1], drain)
    whole = busiest_share(config, out_h * out_w, groups) * max(rows * cols, drain)
    return out_w > 1 and sliding <= whole


def tap_rows(kernel: np.ndarray, config: CoreConfig, strip: bool) -> np.ndarray:
    """Weight rows uint8 [groups, rows * L * C] of a kernel [y, x, channels].

    A tap each, in lane 0; in a strip a kernel row each, its last column in lane 0.
    """
    rows, cols, count = kernel.shape
    groups = -(-count // config.C)
    taps = kernel[:, ::-1] if strip else kernel.reshape(rows * cols, 1, count)
    lanes = np.zeros((len(taps), config.L, groups * config.C), np.int8)
    lanes[:, :taps.shape[1], :count] = taps
    grouped = lanes.reshape(len(taps), config.L, groups, config.C).transpose(2, 0, 1, 3)
    return np.ascontiguousarray(grouped).view(np.uint8).reshape(groups, -1)
