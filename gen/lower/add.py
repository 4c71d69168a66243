"""ADD: one operand through a table, the other shifted, alone or in a convolution's drain."""

from dataclasses import dataclass, replace

import numpy as np

from gen.lower.arith import ADD_SHIFT, activation_range, add_table, encode_ratio
from gen.lower.steps import Step, Storage, choose_split, no_params, no_weights, uniform_words
from hw.config import CoreConfig
from hw.layout import Opcode
from models.graph import Graph, Op


@dataclass(frozen=True, kw_only=True)
class Sum:
    """How an ADD is computed, seen from operand ``first`` (0 or 1 of the operator)."""

    fields: dict[str, int]
    table: np.ndarray
    params: np.ndarray


def addition(graph: Graph, op: Op, first: int, config: CoreConfig) -> Sum:
    """Fields, table and parameters of ADD with operand ``first`` in the convolution's place.

    Raises
    ------
    ModelError
        The output's scale is too small for the core.
    """
    operands = [graph.tensors[op.inputs[i]] for i in (first, 1 - first)]
    y = graph.tensors[op.outputs[0]]
    twice = 2 * max(tensor.scale[0] for tensor in operands)
    looked_up = 0 if operands[0].scale[0] < operands[1].scale[0] else 1
    table, shifted = operands[looked_up], operands[1 - looked_up]
    low, high = activation_range(op.activation, y.scale[0], y.zero_point)
    fields = {"table_first": int(looked_up == 0), "z_other": shifted.zero_point,
              "add_zero_point": y.zero_point, "add_low": low, "add_high": high}
    ratio = encode_ratio(twice / ((1 << ADD_SHIFT) * y.scale[0]), op.name)
    return Sum(fields=fields, table=add_table(table.scale[0] / twice, table.zero_point),
               params=uniform_words(config, 0, *ratio))


def fuse(step: Step, total: Sum, residual: int, output: int) -> Step:
    """A convolution's step that adds the residual to its outputs."""
    return replace(step, fields=step.fields | total.fields | {"add": 1}, table=total.table,
                   add_params=total.params, residual=residual, output=output)


def lower_add(total: Sum, storage: Storage, config: CoreConfig, first: int, second: int,
              output: int) -> Step:
    """The step of an ADD of its own, over all pixels, as one row if that can be counted."""
    groups = -(-storage.channels // config.C)
    pitch = storage.pixel_bytes // config.V
    flat = storage.pixels < 1 << config.dim_bits
    width, height = (storage.pixels, 1) if flat else (storage.width, storage.height)
    fields = total.fields | {
        "out_w": width, "out_h": height, "out_pitch": pitch, "uniform": 1,
        "out_row": width * pitch if height > 1 else 0,
        "split": choose_split(config, width, height, groups)}
    return Step(op=Opcode.ADD, fields=fields, groups=groups, weights=no_weights(),
                params=no_params(config), add_params=total.params, table=total.table,
                first=first, residual=second, output=output)
