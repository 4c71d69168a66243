"""Which channels of a network's tensors hold one known byte in every pixel, for every input."""

import numpy as np

from gen.lower.arith import ADD_SHIFT, activation_range, add_table, quantize_ratio, requantize
from gen.lower.functions import FUNCTIONS, byte_table
from gen.lower.mean import mean_ratio
from models.graph import Graph, ModelError, Op, Tensor

VARIES = 256         # in the place of a constant byte
MOST = 1 << 31       # int32 values lie below: larger sums would wrap
MOST_PIXELS = 255    # that a dense layer reads as one window, where they do not lie seamlessly
DENSE = ("CONV_2D", "FULLY_CONNECTED")
POOLS = ("AVERAGE_POOL_2D", "MAX_POOL_2D")


def channels(tensor: Tensor) -> int:
    """Length of a tensor's last axis."""
    return tensor.shape[-1] if tensor.shape else 1


def find_constants(graph: Graph) -> dict[int, np.ndarray]:
    """The byte of every channel of every activation; VARIES where it is not known.

    Returns
    -------
    dict of int to numpy.ndarray
        Tensor index to int64 [channels]: -128..127 or VARIES.
    """
    known = {i: np.full(channels(tensor), VARIES) for i, tensor in enumerate(graph.tensors)
             if tensor.data is None}
    for op in graph.ops:
        if followed(graph, op):
            known[op.outputs[0]] = RULES[op.kind](graph, op, known)
    return known


def followed(graph: Graph, op: Op) -> bool:
    """Whether the channels of an operator's output follow from those of its inputs.

    Not where the core could not compute the operator on fewer channels, which no longer fill
    whole lines of its memory: RESHAPE may only keep channels, or flatten for FULLY_CONNECTED.
    """
    if op.kind not in RULES:
        return False
    data = op.inputs[:2] if op.kind == "ADD" else op.inputs[:1]
    x, y = graph.tensors[data[0]], graph.tensors[op.outputs[0]]
    if any(graph.tensors[i].data is not None for i in data):
        return False
    if op.channel_padding != (0, 0):
        return False
    pixels = x.size // channels(x)
    if op.kind == "ADD":
        return all(graph.tensors[i].shape == y.shape for i in data)
    if op.kind == "FULLY_CONNECTED":
        depth = graph.tensors[op.inputs[1]].shape[1]
        return depth == channels(x) or depth == x.size and pixels <= MOST_PIXELS
    if op.kind == "RESHAPE" and channels(y) != channels(x):
        readers = graph.consumers(op.outputs[0])
        return channels(y) == x.size and pixels <= MOST_PIXELS and all(
            reader.kind == "FULLY_CONNECTED" for reader in readers)
    return True


def dense_weights(graph: Graph, op: Op) -> np.ndarray:
    """Weights of CONV_2D or FULLY_CONNECTED by channel: int8 [out, taps, in]."""
    data = graph.tensors[op.inputs[1]].data
    assert data is not None
    return data.reshape(len(data), -1, channels(graph.tensors[op.inputs[0]]))


def bias_of(graph: Graph, op: Op) -> np.ndarray:
    """The bias of an operator with weights, zeros if it has none: int64 [out]."""
    index = op.inputs[2] if len(op.inputs) > 2 else -1
    data = graph.tensors[index].data if index >= 0 else None
    count = channels(graph.tensors[op.outputs[0]])
    return np.zeros(count, np.int64) if data is None else data.reshape(-1).astype(np.int64)


def exact_shares(graph: Graph, op: Op, known) -> tuple[np.ndarray, np.ndarray]:
    """Input channels that add the same to an operator's sums in every pixel.

    They hold a constant, and either no window reaches into the padding or it holds the same.

    Returns
    -------
    exact : numpy.ndarray
        bool [in].
    share : numpy.ndarray
        int64 [in]: what multiplies the sum of a channel's weights; 0 where not exact.
    """
    zero_point, values = graph.tensors[op.inputs[0]].zero_point, known[op.inputs[0]]
    complete = not any(op.padding[0] + op.padding[1])
    exact = (values != VARIES) & (complete | (values == zero_point))
    return exact, np.where(exact, values - zero_point, 0)


def _dense(graph, op, known):
    weights, (exact, share) = dense_weights(graph, op), exact_shares(graph, op, known)
    varies = weights[..., ~exact].any(axis=(1, 2))
    sums = bias_of(graph, op) + weights.sum(axis=1, dtype=np.int64) @ share
    return _requantized(graph, op, sums, varies)


def _depthwise(graph, op, known):
    weights = graph.tensors[op.inputs[1]]
    assert weights.data is not None
    taps = weights.data.reshape(-1, weights.shape[3])
    multiplier = weights.shape[3] // channels(graph.tensors[op.inputs[0]])
    exact, share = (np.repeat(each, multiplier) for each in exact_shares(graph, op, known))
    sums = bias_of(graph, op) + taps.sum(axis=0, dtype=np.int64) * share
    return _requantized(graph, op, sums, taps.any(axis=0) & ~exact)


def _add(graph, op, known):
    operands = [(graph.tensors[i], known[i]) for i in op.inputs[:2]]
    twice = 2 * max(tensor.scale[0] for tensor, _ in operands)
    sums = sum(add_table(tensor.scale[0] / twice, tensor.zero_point)[values & 255].astype(np.int64)
               for tensor, values in operands)
    varies = (operands[0][1] == VARIES) | (operands[1][1] == VARIES)
    y = graph.tensors[op.outputs[0]]
    ratio = twice / ((1 << ADD_SHIFT) * y.scale[0])
    return _bytes(op, y, sums, [ratio] * len(varies), varies)


def _pool(graph, op, known):
    """Mean and maximum of equal bytes are that byte; padding takes no part."""
    y, values = graph.tensors[op.outputs[0]], known[op.inputs[0]]
    limits = activation_range(op.activation, y.scale[0], y.zero_point)
    return np.where(values == VARIES, VARIES, values.clip(*limits))


def _pad(_graph, op, known):
    """Only what equals the padding is the same in every pixel."""
    values = known[op.inputs[0]]
    return np.where(values == op.fill, values, VARIES) if any(sum(op.padding, ())) else values


def _mean(graph, op, known):
    x, y, values = graph.tensors[op.inputs[0]], graph.tensors[op.outputs[0]], known[op.inputs[0]]
    try:
        multiplier, shift = mean_ratio(x, y, op.name)
    except ModelError:  # of a scale that the core cannot have
        return np.full(len(values), VARIES)
    sums = (values - x.zero_point) * (x.shape[1] * x.shape[2])
    found = (requantize(sums, multiplier, shift) + y.zero_point).clip(-128, 127)
    return np.where(values == VARIES, VARIES, found)


def _mapped(graph, op, known):
    values = known[op.inputs[0]]
    return np.where(values == VARIES, VARIES, byte_table(graph, op)[values & 255])


def _reshape(graph, op, known):
    values = known[op.inputs[0]]
    return np.tile(values, channels(graph.tensors[op.outputs[0]]) // len(values))


def _requantized(graph, op, sums, varies):
    x, weights, y = (graph.tensors[i] for i in (*op.inputs[:2], *op.outputs))
    ratios = [x.scale[0] * scale / y.scale[0] for scale in weights.scale]
    return _bytes(op, y, sums, ratios * (len(sums) // len(ratios)), varies)


def _bytes(op, y, sums, ratios, varies):
    """Output bytes of sums; VARIES where told, or where 32 bits do not hold what TFLM computes."""
    low, high = activation_range(op.activation, y.scale[0], y.zero_point)
    found = np.full(len(sums), VARIES)
    for i in np.flatnonzero(~varies):
        multiplier, exponent = quantize_ratio(ratios[i])
        scaled = int(sums[i]) << max(exponent, 0)
        if abs(scaled) < MOST:
            value = int(requantize(np.array(scaled), multiplier, max(-exponent, 0)))
            if abs(value + y.zero_point) < MOST:
                found[i] = min(max(value + y.zero_point, low), high)
    return found


RULES = {"CONV_2D": _dense, "FULLY_CONNECTED": _dense, "DEPTHWISE_CONV_2D": _depthwise,
         "ADD": _add, "AVERAGE_POOL_2D": _pool, "MAX_POOL_2D": _pool, "RESHAPE": _reshape,
         "MEAN": _mean, "PAD": _pad, "PADV2": _pad,
         **dict.fromkeys(FUNCTIONS, _mapped)}
