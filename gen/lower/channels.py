"""Parameters of output channels: bias, multiplier and shift of the requantizers."""

import numpy as np

from gen.lower.arith import encode_ratio
from gen.lower.steps import param_words
from hw.config import NARROW_ZERO, CoreConfig
from models.graph import Graph, ModelError, Op


def operand_offset(zero_point: int, config: CoreConfig, channel: bool = False) -> int:
    """What the multipliers' operands lack: x - zero_point, x + 128 if narrow, x per channel."""
    if config.narrow:
        return NARROW_ZERO
    return 0 if channel else zero_point


def channel_params(graph: Graph, op: Op, kernel: np.ndarray, offset: int,
                   config: CoreConfig) -> np.ndarray:
    """Parameter groups of a convolution.

    Parameters
    ----------
    kernel : numpy.ndarray
        int8 [out channels, taps].
    offset : int
        Operands are x - offset; the bias makes up for the zero point.

    Returns
    -------
    numpy.ndarray
        uint32 [groups, C, 4], as `gen.lower.steps.param_words`.

    Raises
    ------
    ModelError
        A psum could exceed the accumulators, or a ratio of scales what the requantizer can do.
    """
    zero_point = graph.tensors[op.inputs[0]].zero_point
    bias, ratios = _bias(graph, op, len(kernel)), _ratios(graph, op, len(kernel))
    _check_shifted(op, kernel, bias, ratios, zero_point)
    _check_psums(op, kernel, offset, config)
    bias = bias - (zero_point - offset) * kernel.sum(axis=1, dtype=np.int64)
    return param_words(config, bias, [m for m, _ in ratios], [s for _, s in ratios])


def _bias(graph, op, count):
    index = op.inputs[2] if len(op.inputs) > 2 else -1
    data = graph.tensors[index].data if index >= 0 else None
    return np.zeros(count, np.int64) if data is None else data.reshape(-1).astype(np.int64)


def _ratios(graph, op, count):
    """Multiplier and shift of every channel; the scales multiply in double precision."""
    x, weights = graph.tensors[op.inputs[0]], graph.tensors[op.inputs[1]]
    y = graph.tensors[op.outputs[0]]
    ratios = [x.scale[0] * scale / y.scale[0] for scale in weights.scale]
    encoded = [encode_ratio(ratio, op.name) for ratio in ratios]
    return encoded * count if len(encoded) == 1 else encoded


def _check_shifted(op, kernel, bias, ratios, zero_point):
    """A multiplier above 1 shifts the sum left once: no sum may be too large for it."""
    shifted = np.array([multiplier >= 1 << 31 for multiplier, _ in ratios])
    if not shifted.any():
        return
    reach = max(127 - zero_point, zero_point + 128)
    most = np.abs(kernel.astype(np.int64)).sum(axis=1) * reach + np.abs(bias)
    worst = int(most[shifted].max())
    if worst >= 1 << 30:
        raise ModelError(f"{op.name} sums must stay below 2^30 where the scale ratio exceeds 1, "
                         f"not reach {worst}; quantize with a representative dataset")


def _check_psums(op, kernel, offset, config):
    """Without its bias, no psum may exceed the accumulators, whatever the activations are."""
    weights = kernel.astype(np.int64)
    up, down = weights.clip(0).sum(axis=1), -weights.clip(None, 0).sum(axis=1)
    low, high = -128 - offset, 127 - offset
    require_psums(op, int(max((up * high - down * low).max(), (down * high - up * low).max())),
                  config)


def require_sums(op: Op, weight: int, count: int, config: CoreConfig):
    """`require_psums` of ``count`` bytes, each times ``weight``."""
    require_psums(op, weight * count * (255 if config.narrow else 128), config)


def require_psums(op: Op, worst: int, config: CoreConfig):
    """Raise ModelError unless the accumulators hold a psum of that size."""
    if worst >= 1 << config.acc_width - 1:
        raise ModelError(f"{op.name} psums must stay below 2^{config.acc_width - 1}, not reach "
                         f"{worst}; set acc_width=32")
