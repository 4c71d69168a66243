"""MUL by one factor a channel: each column multiplies its channel with rows of weights.

A product (x - zx) * (s - zs) is a sum of products of bytes. Operands of the array are x - o, where
o is -128 for narrow multipliers, else 0; outside the tensor stands zx. With c = zx - o it is

    (x - o) * (s - zs) + c * (-1 - s) + c * (1 + zs)

Rows of weights at the pixel are s and -zs (two rows where int8 does not hold it), outside the
tensor -1 - s, which int8 always holds; the rest is the bias.
"""

from dataclasses import replace

import numpy as np

from gen.lower.arith import activation_range, encode_ratio
from gen.lower.channels import operand_offset
from gen.lower.copies import copy
from gen.lower.depthwise import tap_rows
from gen.lower.functions import difference_table
from gen.lower.pool import geometry
from gen.lower.steps import Step, Storage, choose_split, param_words, uniform_words
from gen.lower.tensors import pixel_shape
from hw.config import CoreConfig
from hw.layout import Opcode
from models.graph import Graph, Op


def by_channel(graph: Graph, op: Op) -> Op | None:
    """The operator with the factors as its second input; None if there is not one a channel."""
    y = graph.tensors[op.outputs[0]]
    for i in range(2):
        inputs = op.inputs[i], op.inputs[1 - i]
        x, factors = (graph.tensors[tensor] for tensor in inputs)
        shape, count = factors.shape or (1,), y.shape[-1]
        single = factors.size == shape[-1] and (
            shape[-1] == count or factors.data is not None and factors.size == 1)
        if x.data is None and x.shape == y.shape and single:
            return replace(op, inputs=inputs)
    return None


def mul_ratio(graph: Graph, op: Op) -> tuple[int, int]:
    """Multiplier and shift of the products.

    Raises
    ------
    ModelError
        The ratio is 2 or more.
    """
    a, b, y = (graph.tensors[i] for i in (*op.inputs, *op.outputs))
    return encode_ratio(a.scale[0] * b.scale[0] / y.scale[0], op.name)


def scratch_storage(graph: Graph, op: Op, config: CoreConfig) -> Storage:
    """Where the rows of computed factors are put together: a pixel a row."""
    rows, cols = _shape(graph, op, config)
    groups = -(-graph.tensors[op.outputs[0]].shape[-1] // config.C)
    return Storage(height=1, width=groups * rows * cols, channels=config.row_bytes,
                   pixel_bytes=config.row_bytes)


def lower_constant(graph: Graph, op: Op, seen: Storage, config: CoreConfig,
                   source: int, output: int) -> tuple[Step, ...]:
    """The step of a MUL by constants: ordinary weights."""
    x, factors = (graph.tensors[i] for i in op.inputs)
    assert factors.data is not None
    values = factors.data.reshape(-1).astype(np.int64) - factors.zero_point
    values = np.broadcast_to(values, (seen.channels,))
    taps = np.array(_bytes(values))
    bias = (operand_offset(0, config, channel=True) - x.zero_point) * values
    multiplier, shift = mul_ratio(graph, op)
    step = _product(graph, op, seen, (1, len(taps)), config, source, output)
    return (replace(step, weights=tap_rows(taps[None].astype(np.int8), config, False),
                    params=param_words(config, bias, [multiplier] * len(bias),
                                       [shift] * len(bias))),)


def lower_computed(graph: Graph, op: Op, seen: Storage, factors: Storage, config: CoreConfig,
                   roots: tuple[int, int], scratch: int, output: int) -> tuple[Step, ...]:
    """The steps of a MUL by computed factors: put their rows together, load them, multiply.

    Parameters
    ----------
    factors : Storage
        One pixel, whole lines.
    roots : (int, int)
        Root tensors of both operands.
    scratch : int
        The tensor of `scratch_storage`.
    """
    x, s = (graph.tensors[i] for i in op.inputs)
    shape = _shape(graph, op, config)
    lines = config.row_bytes // config.V
    groups, block = -(-seen.channels // config.C), shape[0] * shape[1] * lines

    def row(number: int, **fields: int) -> Step:
        """Bytes of lane 0 in row ``number`` of every group: the factors, or one value."""
        step = copy(op, factors, (1, groups), config, roots[1], scratch, **{
            "x_step": config.C if groups > 1 else 0, "out_pitch": block, "out_row": 0,
            "split": choose_split(config, groups, 1, 1)} | fields)
        return replace(step, groups=1, out_offset=number * lines)

    parts = config.groups_per_line
    empty = copy(op, factors, (groups, block), config, roots[1], scratch, y_start=1, out_pitch=1,
                 out_row=block, split=choose_split(config, block, groups, parts))
    steps = [replace(empty, groups=parts), row(0)]
    for number, value in enumerate(_zero_point(s.zero_point)):
        steps.append(row(1 + number, y_start=1, fill=value))
    if shape[0] == 2:
        inverted = ~np.arange(256).astype(np.int8).astype(np.int64)
        steps.append(replace(row(shape[1], table_first=1), table=difference_table(inverted)))
    bias = (x.zero_point - operand_offset(0, config, channel=True)) * (1 + s.zero_point)
    product = _product(graph, op, seen, shape, config, roots[0], output, uniform=1)
    weights = np.zeros((groups, shape[0] * shape[1] * config.row_bytes), np.uint8)
    return (*steps, replace(product, weights=weights, written=scratch,
                            params=uniform_words(config, bias, *mul_ratio(graph, op))))


def _shape(graph, op, config):
    """Kernel of a MUL by computed factors: rows at the pixel and outside, weights in each."""
    x, s = (graph.tensors[i] for i in op.inputs)
    outside = x.zero_point != operand_offset(0, config, channel=True)
    return 1 + outside, 1 + len(_zero_point(s.zero_point))


def _zero_point(value):
    """Weights that add up to minus a zero point."""
    return [int(part) for part in _bytes(np.array(-value))] if value else []


def _bytes(values):
    """int8 arrays that add up to an array."""
    parts = []
    while not parts or values.any():
        parts.append(values.clip(-128, 127))
        values = values - parts[-1]
    return parts


def _product(graph, op, seen, kernel, config, source, output, **fields):
    """The convolution; its first kernel row is the pixel itself, others lie outside."""
    x, y = graph.tensors[op.inputs[0]], graph.tensors[op.outputs[0]]
    height, width, _ = pixel_shape(y.shape)
    low, high = activation_range(op.activation, y.scale[0], y.zero_point)
    fields = geometry(op, seen, config, kernel, height, width) | {
        "segment_pitch": 0, "in_h": 1, "stride_h": 0, "fill": x.zero_point,
        "zero_point": y.zero_point, "low": low, "high": high, "group_rows": kernel[0] * kernel[1],
        "out_row": width * (seen.pixel_bytes // config.V)} | fields
    empty = np.zeros((0, 0), np.uint8)
    return Step(op=Opcode.CHANNEL, fields=fields, groups=-(-seen.channels // config.C),
                weights=empty, params=uniform_words(config, 0, 0, 0), source=source, output=output)
