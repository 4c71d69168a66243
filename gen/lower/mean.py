"""MEAN of height and width: each column sums its own channel, as in average pooling."""

import numpy as np

from gen.lower.arith import quantize_ratio
from gen.lower.channels import operand_offset
from gen.lower.pool import geometry
from gen.lower.steps import Step, Storage, uniform_words
from hw.config import CoreConfig
from hw.layout import Opcode
from models.graph import Graph, ModelError, Op, Tensor


def mean_ratio(x: Tensor, y: Tensor, field: str) -> tuple[int, int]:
    """Multiplier and shift that turn the sum over height and width into their mean.

    Raises
    ------
    ModelError
        The multiplier would have to shift left more than once.

    Source
    ------
    TFLite, reference_ops::QuantizedMeanOrSum: the quotient is truncated.
    """
    count = x.shape[1] * x.shape[2]
    q, exponent = quantize_ratio(x.scale[0] / y.scale[0])
    shift = min(count.bit_length() - 1, 32, 31 + exponent)
    multiplier, exponent = (q << shift) // count, exponent - shift
    if exponent > 1:
        raise ModelError(f"{field} scale ratio must be below 2 for each of {count} pixels, not "
                         f"{x.scale[0] / y.scale[0]:.6g} in all; quantize with a representative "
                         f"dataset")
    return (2 * multiplier, 0) if exponent == 1 else (multiplier, -exponent)


def lower_mean(graph: Graph, op: Op, seen: Storage, config: CoreConfig,
               source: int, output: int) -> tuple[Step, ...]:
    """The step of one MEAN: a window as large as the image."""
    x, y = graph.tensors[op.inputs[0]], graph.tensors[op.outputs[0]]
    bias = (operand_offset(0, config, channel=True) - x.zero_point) * seen.pixels
    row = np.zeros((1, config.row_bytes), np.uint8)
    row[0, :config.C] = 1  # lane 0; what other lanes see does not count
    fields = geometry(op, seen, config, (seen.height, seen.width), 1, 1) | {
        "in_h": seen.height, "group_rows": 1, "hold": 1, "uniform": 1,
        "zero_point": y.zero_point, "low": -128, "high": 127}
    return (Step(op=Opcode.CHANNEL, fields=fields, groups=-(-seen.channels // config.C),
                 weights=row, params=uniform_words(config, bias, *mean_ratio(x, y, op.name)),
                 source=source, output=output),)
