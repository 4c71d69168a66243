"""Which operators run where: on the core, on the host, or not at all and what to do about it."""

from dataclasses import dataclass, replace

from gen.lower.arith import POOL_WEIGHT, pool_ratio, quantize_ratio
from gen.lower.channels import channel_params, operand_offset, require_sums
from gen.lower.mean import mean_ratio
from gen.lower.mul import by_channel, mul_ratio
from gen.lower.network import CORE, FREE, WEIGHTED, is_dense, split_host
from gen.lower.pool import spans
from gen.lower.tensors import pixel_shape
from hw.config import CoreConfig, align_up
from models.graph import Graph, ModelError, Op

MOST_KERNEL = 255        # kernel_h, segments and stride_h have 8 bits
MOST_PAD = 128           # y_start has 8 bits and a sign
MOST_ROW_BYTES = 65535   # row_bytes, segment_bytes and x_step have 16 bits
QUANTIZE = "quantize with a representative dataset"


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Where an operator runs.

    Parameters
    ----------
    op : str
        Its name.
    kind : str
    shape : tuple of int
        Of its output.
    macs : int
    where : str
        "core", "host" or "unsupported".
    reason : str
        One line: why, and for "unsupported" what to do.
    """

    op: str
    kind: str
    shape: tuple[int, ...]
    macs: int
    where: str
    reason: str = ""


def check(graph: Graph, config: CoreConfig) -> list[Verdict]:
    """A verdict for every operator, in order."""
    _, host = split_host(graph)
    verdicts = []
    for op in graph.ops:
        where, reason = "core", ""
        if op.name in host:
            where, reason = "host", "last operator"
        elif op.kind in FREE:
            reason = "free: the same bytes"
        try:
            if where == "core":
                _check_op(graph, op, config)
        except ModelError as error:
            where, reason = "unsupported", str(error)
        verdicts.append(Verdict(op=op.name, kind=op.kind, where=where, reason=reason,
                                shape=graph.tensors[op.outputs[0]].shape, macs=graph.macs(op)))
    return verdicts


def require_supported(graph: Graph, config: CoreConfig):
    """Raise ModelError for the first operator that runs neither on the core nor on the host."""
    for verdict in check(graph, config):
        if verdict.where == "unsupported":
            raise ModelError(verdict.reason)


def _check_op(graph, op, config):
    """Every rule that one operator must obey for the core."""
    if op.kind == "SOFTMAX":
        raise ModelError(f"{op.name} must be the last operator (it runs on the host), not in the "
                         f"middle; remove it or cut the network there")
    if op.kind in ("QUANTIZE", "DEQUANTIZE"):
        raise ModelError(f"{op.name} must stand at an end of the network and keep the real values, "
                         f"not requantize them; quantize the whole network with one set of scales")
    if op.kind not in CORE + FREE:
        raise ModelError(f"{op.name} kind must be one of {', '.join(CORE + FREE)}, not "
                         f"{op.kind!r}, which is not supported yet; replace the operator")
    activations = [i for i in op.inputs if i >= 0 and graph.tensors[i].data is None]
    data = {"ADD": 2, "CONCATENATION": len(op.inputs)}.get(op.kind, 1)
    wanted = activations if op.kind == "MUL" and activations else list(op.inputs[:data])
    if activations != wanted:
        raise ModelError(f"{op.name} inputs must be {data} computed tensors, not "
                         f"{len(activations)}; fold or remove constant operands")
    for i in (*activations, *op.outputs):
        _check_tensor(op, graph.tensors[i])
    if op.kind in WEIGHTED:
        _check_ratios(graph, op)
    CHECKS.get(op.kind, _check_copy)(graph, op, config)
    if op.kind in WEIGHTED:
        _check_sums(graph, op, config)


def _rule(op: Op, what: str, rule: str, holds: bool, value, remedy: str):
    if not holds:
        raise ModelError(f"{op.name} {what} must be {rule}, not {value!r}; {remedy}")


def _check_tensor(op, tensor):
    _rule(op, "tensors", "int8", tensor.dtype == "int8", tensor.dtype,
          "quantize the network to int8")
    batch = tensor.shape[0] if len(tensor.shape) == 4 else 1
    _rule(op, "batch", "1", batch == 1, batch, "export the model for batch 1")


def _check_ratios(graph, op):
    x, weights, y = (graph.tensors[i] for i in (*op.inputs[:2], *op.outputs))
    worst = max(x.scale[0] * scale / y.scale[0] for scale in weights.scale)
    _rule(op, "scale ratio", "below 2", quantize_ratio(worst)[1] <= 1, worst, QUANTIZE)


def _check_sums(graph, op, config):
    """The accumulators hold every sum of products, a left shift all of its bits."""
    weights = graph.tensors[op.inputs[1]].data
    depthwise = op.kind == "DEPTHWISE_CONV_2D"
    kernel = weights.reshape(-1, weights.shape[-1]).T if depthwise \
        else weights.reshape(len(weights), -1)
    point = graph.tensors[op.inputs[0]].zero_point
    offset = operand_offset(point, config, channel=not is_dense(graph, op))
    channel_params(graph, op, kernel, offset, config)


def _check_conv(graph, op, config):
    sides = graph.tensors[op.inputs[1]].shape[1:3]
    reach = [(side - 1) * step + 1 for side, step in zip(sides, op.dilation, strict=True)]
    _check_window(graph, op, reach, config)


def _check_dense(graph, op, config):
    x, weights = graph.tensors[op.inputs[0]], graph.tensors[op.inputs[1]]
    depth = weights.shape[1]
    _rule(op, "inputs", f"at most {MOST_ROW_BYTES}", depth <= MOST_ROW_BYTES, depth,
          "split the layer")
    _rule(op, "input shape", f"one vector or rows of {depth}", depth in (x.size, x.shape[-1]),
          x.shape, "flatten before the layer")
    _check_sides(op, graph.tensors[op.outputs[0]], config)


def _check_add(graph, op, config):
    a, b, y = (graph.tensors[i] for i in (*op.inputs[:2], *op.outputs))
    _rule(op, "operands", f"alike, both {list(y.shape)}", a.shape == b.shape == y.shape,
          (a.shape, b.shape), "avoid broadcasting")
    _check_sides(op, y, config)
    ratio = 2 * max(a.scale[0], b.scale[0]) / ((1 << 20) * y.scale[0])
    _rule(op, "scale ratio", "below 2", quantize_ratio(ratio)[1] <= 1, ratio, QUANTIZE)


def _check_pool(graph, op, config):
    _check_window(graph, op, op.kernel, config)
    if op.kind == "AVERAGE_POOL_2D":
        x, y = graph.tensors[op.inputs[0]], graph.tensors[op.outputs[0]]
        sides = [{size for *_, size in spans(op.kernel[i], op.stride[i], op.padding[i][0],
                                             x.shape[1 + i], y.shape[1 + i])} for i in range(2)]
        for count in sorted({rows * cols for rows in sides[0] for cols in sides[1]}):
            require_sums(op, POOL_WEIGHT, count, config)
            try:
                pool_ratio(count)
            except ModelError as error:
                raise ModelError(f"{op.name} {error}") from None


def _check_mean(graph, op, config):
    """A window as large as the image."""
    x, y = graph.tensors[op.inputs[0]], graph.tensors[op.outputs[0]]
    _check_window(graph, op, x.shape[1:3], config)
    require_sums(op, 1, x.shape[1] * x.shape[2], config)
    mean_ratio(x, y, op.name)


def _check_concatenation(graph, op, config):
    """Every operand is copied."""
    for tensor in op.inputs:
        _check_copy(graph, replace(op, inputs=(tensor,)), config)


def _check_mul(graph, op, config):
    """One factor a channel."""
    found = by_channel(graph, op)
    if found is None:
        shapes = tuple(graph.tensors[i].shape for i in op.inputs)
        raise ModelError(f"{op.name} operands must be a computed tensor and one factor for each "
                         f"of its channels, not {shapes}; broadcast over height and width")
    mul_ratio(graph, found)
    computed = graph.tensors[found.inputs[1]].data is None
    _rule(op, "align", f"at most C = {config.C}", not computed or config.align <= config.C,
          config.align, "set align=1")
    _check_copy(graph, found, config)


def _check_copy(graph, op, config):
    """A window of one pixel."""
    _rule(op, "paddings of channels", "(0, 0)", op.channel_padding == (0, 0), op.channel_padding,
          "make the layer before it compute these channels")
    _check_window(graph, op, op.kernel, config)


def _check_sides(op, tensor, config):
    """Rows and columns that the core can count."""
    most = (1 << config.dim_bits) - 1
    height, width, _ = pixel_shape(tensor.shape)
    _rule(op, "height and width", f"at most {most}", max(height, width) <= most, (height, width),
          "raise dim_bits" if config.dim_bits < 16 else "make the image smaller")


def _check_window(graph, op, kernel, config):
    """What the descriptor's fields of a window can hold."""
    x, y = graph.tensors[op.inputs[0]], graph.tensors[op.outputs[0]]
    _rule(op, "kernel", f"at most {MOST_KERNEL} x {MOST_KERNEL}", max(kernel) <= MOST_KERNEL,
          tuple(kernel), "use a smaller kernel")
    _rule(op, "stride", f"at most {MOST_KERNEL}", max(op.stride) <= MOST_KERNEL, op.stride,
          "use a smaller stride")
    pads = (op.padding[0][0], op.padding[1][0])
    _rule(op, "padding", f"at most {MOST_PAD}", max(pads) <= MOST_PAD, pads,
          "pad less")
    most, wider = (1 << config.column_bits) - 1, "raise column_bits"
    for tensor in (x, y):
        _, width, channels = pixel_shape(tensor.shape)
        row = width * align_up(channels, config.V)
        _rule(op, "row of pixels", f"at most {most} bytes", row <= most, row,
              wider if row <= MOST_ROW_BYTES else "make the image narrower or take fewer channels")
        _check_sides(op, tensor, config)
    reach = max(kernel[1], op.stride[1]) * align_up(x.shape[-1], config.V)
    _rule(op, "window", f"at most {most} bytes wide", reach <= most, reach,
          wider if reach <= MOST_ROW_BYTES else "use a smaller kernel or stride")
    left = pads[1] * align_up(x.shape[-1], config.V)
    _rule(op, "left padding", f"at most {most // 2 + 1} bytes", left <= most // 2 + 1, left,
          wider if left <= MOST_ROW_BYTES // 2 + 1 else "pad less")


CHECKS = {"CONV_2D": _check_conv, "DEPTHWISE_CONV_2D": _check_conv, "FULLY_CONNECTED": _check_dense,
          "ADD": _check_add, "AVERAGE_POOL_2D": _check_pool, "MAX_POOL_2D": _check_pool,
          "MEAN": _check_mean, "CONCATENATION": _check_concatenation, "MUL": _check_mul,
          "RESHAPE": lambda *_: None}  # of the others, _check_copy
