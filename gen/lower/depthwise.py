"""DEPTHWISE_CONV_2D: each column takes its own channel of the patch lines, as in pooling."""

import numpy as np

from gen.lower.arith import activation_range
from gen.lower.channels import channel_params, operand_offset
from gen.lower.pool import geometry
from gen.lower.steps import Step, Storage
from gen.lower.tensors import pixel_shape
from hw.config import CoreConfig
from hw.layout import Opcode
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
    _, rows, cols, count = weights.shape
    out_h, out_w, _ = pixel_shape(y.shape)
    pad_y, pad_x = op.padding[0][0], op.padding[1][0]
    kernel = weights.reshape(rows * cols, count).T          # [channels, taps]
    low, high = activation_range(op.activation, y.scale[0], y.zero_point)
    fields = geometry(op, seen, config, (rows, cols), out_h, out_w) | {
        "x_start": -pad_x * seen.pixel_bytes, "y_start": -pad_y, "in_h": seen.height,
        "fill": x.zero_point, "zero_point": y.zero_point, "low": low, "high": high,
        "out_row": out_w * (seen.pixel_bytes // config.V), "group_rows": rows * cols}
    params = channel_params(graph, op, kernel, operand_offset(x.zero_point, config, channel=True),
                            config)
    return (Step(op=Opcode.CHANNEL, fields=fields, groups=len(params),
                 weights=_rows(kernel, config), params=params, source=source, output=output,
                 in_offset=-pad_y * seen.row_bytes),)


def _rows(kernel: np.ndarray, config: CoreConfig) -> np.ndarray:
    """Weight rows of lane 0, a tap each: uint8 [groups, taps * L * C]."""
    count, taps = kernel.shape
    groups = -(-count // config.C)
    wide = np.zeros((groups * config.C, taps), np.int8)
    wide[:count] = kernel
    lanes = np.zeros((groups, taps, config.L, config.C), np.int8)
    lanes[:, :, 0] = wide.reshape(groups, config.C, taps).transpose(0, 2, 1)
    return lanes.view(np.uint8).reshape(groups, -1)
