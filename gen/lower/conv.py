"""CONV_2D and FULLY_CONNECTED as convolutions: windows as segments, weights as rows of lanes."""

from dataclasses import dataclass, replace

import numpy as np

from gen.lower.arith import activation_range, encode_ratio
from gen.lower.steps import Step, Storage, choose_split, param_words
from gen.lower.tensors import pixel_shape, view
from hw.config import CoreConfig, align_up
from hw.layout import DESCRIPTOR, Opcode
from models.graph import Graph, ModelError, Op


@dataclass(frozen=True, kw_only=True)
class Window:
    """A convolution as the feeder sees it: its input as it lies in memory, and its weights.

    Parameters
    ----------
    source : Storage
    weights : numpy.ndarray
        int8 [out channels, kernel rows, kernel columns, in channels].
    stride, pad : (y, x)
        Padding above and left of the first window.
    out_h, out_w : int
    """

    source: Storage
    weights: np.ndarray
    stride: tuple[int, int]
    pad: tuple[int, int]
    out_h: int
    out_w: int


@dataclass(frozen=True, kw_only=True)
class Segments:
    """A kernel row in memory: ``count`` segments of ``size`` bytes, ``pitch`` apart."""

    count: int
    size: int
    pitch: int


def window(graph: Graph, op: Op, storage: Storage, config: CoreConfig) -> Window:
    """The window of a CONV_2D or FULLY_CONNECTED over its input's root storage."""
    weights = graph.tensors[op.inputs[1]].data
    assert weights is not None
    out_h, out_w, _ = pixel_shape(graph.tensors[op.outputs[0]].shape)
    if op.kind == "CONV_2D":
        seen = view(storage, graph.tensors[op.inputs[0]].shape, op, config)
        pad = (op.padding[0][0], op.padding[1][0])
        found = Window(source=seen, weights=weights, stride=op.stride, pad=pad,
                       out_h=out_h, out_w=out_w)
    elif weights.shape[1] == storage.pixels * storage.channels:  # the whole tensor is one window
        seen = storage
        if storage.contiguous and storage.size <= _most("row_bytes"):
            seen = Storage(height=1, width=1, channels=storage.size, pixel_bytes=storage.size)
        kernel = weights.reshape(-1, seen.height, seen.width, seen.channels)
        found = Window(source=seen, weights=kernel, stride=(1, 1), pad=(0, 0), out_h=1, out_w=1)
    else:  # every row of the input's matrix is a pixel
        depth = weights.shape[1]
        rows = storage.pixels * storage.channels // depth
        seen = view(storage, (1, rows, depth), op, config)
        found = Window(source=seen, weights=weights.reshape(-1, 1, 1, depth), stride=(1, 1),
                       pad=(0, 0), out_h=1, out_w=rows)
    return _turned(found)


def _turned(found: Window) -> Window:
    """A column of pixels as a row of pixels, which lies alike and is one run of bytes."""
    source = found.source
    fits = source.size <= _most("row_bytes") and found.weights.shape[1] <= _most("segments")
    if source.width != 1 or source.height == 1 or found.out_w != 1 or not fits:
        return found
    column = found.weights[:, :, found.pad[1]:found.pad[1] + 1]  # the others meet padding only
    return Window(
        source=replace(source, height=1, width=source.height),
        weights=column.transpose(0, 2, 1, 3), stride=(1, found.stride[0]),
        pad=(0, found.pad[0]), out_h=1, out_w=found.out_h)


def segments(found: Window, config: CoreConfig) -> Segments:
    """How a kernel row is cut: in one piece where what lies between pixels costs nothing."""
    source, kernel_w = found.source, found.weights.shape[2]
    each = align_up(source.channels, config.align)
    if kernel_w == 1:
        return Segments(count=1, size=each, pitch=0)
    if each >= source.pixel_bytes:
        whole = (kernel_w - 1) * source.pixel_bytes + source.channels
        return Segments(count=1, size=align_up(whole, config.align), pitch=0)
    return Segments(count=kernel_w, size=each, pitch=source.pixel_bytes)


def aligned(found: Window, config: CoreConfig) -> bool:
    """Whether every address and column of the window is a multiple of ``align``."""
    source, step = found.source, config.align
    rows = source.height > 1 or found.weights.shape[1] > 1
    steps = found.stride[1] * source.pixel_bytes if found.out_w > 1 else 0
    columns = (steps, found.pad[1] * source.pixel_bytes, source.row_bytes if rows else 0,
               segments(found, config).pitch)
    return all(value % step == 0 for value in columns)


def lower_conv(graph: Graph, op: Op, storage: Storage, config: CoreConfig,
               source: int, output: int) -> Step:
    """The step of one convolution.

    Parameters
    ----------
    storage : Storage
        Of the input's root.
    source, output : int
        Root tensors.

    Raises
    ------
    ModelError
        A value does not fit the core's fields.
    """
    found = window(graph, op, storage, config)
    if not aligned(found, config):
        raise ModelError(f"{op.name} input pixels must start at multiples of align = "
                         f"{config.align} bytes, not every {found.source.pixel_bytes}; set align=1")
    x, y = graph.tensors[op.inputs[0]], graph.tensors[op.outputs[0]]
    cut, seen = segments(found, config), found.source
    kernel = kernel_bytes(found, cut)
    rows = -(-kernel.shape[1] // config.L)
    bias, ratios = _bias(graph, op), _ratios(graph, op, len(kernel))
    _check_shifted(op, kernel, bias, ratios, x.zero_point)
    _check_psums(op, kernel, x.zero_point, config)
    if config.narrow:
        bias = bias - (128 + x.zero_point) * kernel.sum(axis=1, dtype=np.int64)
    low, high = activation_range(op.activation, y.scale[0], y.zero_point)
    pitch = -(-len(kernel) // config.V)
    groups = -(-len(kernel) // config.C)
    fields = {
        "kernel_h": found.weights.shape[1], "row_bytes": seen.row_bytes,
        "segment_bytes": cut.size, "segments": cut.count, "segment_pitch": cut.pitch,
        "y_step": found.stride[0] * seen.row_bytes if found.out_h > 1 else 0,
        "x_start": -found.pad[1] * seen.pixel_bytes,
        "x_step": found.stride[1] * seen.pixel_bytes if found.out_w > 1 else 0,
        "in_h": seen.height, "out_w": found.out_w, "out_h": found.out_h,
        "y_start": -found.pad[0], "stride_h": found.stride[0], "group_rows": rows,
        "out_pitch": pitch, "out_row": found.out_w * pitch,
        "fill": x.zero_point, "offset": 0 if config.narrow else x.zero_point,
        "zero_point": y.zero_point, "low": low, "high": high,
        "split": choose_split(config, found.out_w, found.out_h, groups),
        "chunked": int(kernel.shape[1] > config.patch_lines * config.V),
    }
    return Step(op=Opcode.CONV, fields=fields, groups=groups,
                weights=weight_rows(kernel, rows, config),
                params=param_words(config, bias, [m for m, _ in ratios], [s for _, s in ratios]),
                source=source, output=output, in_offset=-found.pad[0] * seen.row_bytes)


def kernel_bytes(found: Window, cut: Segments) -> np.ndarray:
    """Weights in the order of the patch's bytes: int8 [out channels, patch bytes]."""
    count, rows, cols, depth = found.weights.shape
    pixel = cut.size if cut.count > 1 else found.source.pixel_bytes
    wide = np.zeros((count, rows, cols, pixel), np.int8)
    wide[..., :depth] = found.weights
    flat = wide.reshape(count, rows, -1)
    whole = np.zeros((count, rows, cut.count * cut.size), np.int8)
    used = min(whole.shape[2], flat.shape[2])
    whole[..., :used] = flat[..., :used]
    return whole.reshape(count, -1)


def weight_rows(kernel: np.ndarray, rows: int, config: CoreConfig) -> np.ndarray:
    """Rows as the banks hold them: uint8 [groups, rows * L * C], lane by lane, column by column."""
    count, size = kernel.shape
    groups = -(-count // config.C)
    wide = np.zeros((groups * config.C, rows * config.L), np.int8)
    wide[:count, :size] = kernel
    lanes = wide.reshape(groups, config.C, rows, config.L).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(lanes).view(np.uint8).reshape(groups, -1)


def _bias(graph, op):
    index = op.inputs[2] if len(op.inputs) > 2 else -1
    data = graph.tensors[index].data if index >= 0 else None
    count = graph.tensors[op.inputs[1]].shape[0]
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


def _check_psums(op, kernel, zero_point, config):
    """Without its bias, no psum may exceed the accumulators, whatever the activations are."""
    weights = kernel.astype(np.int64)
    up, down = weights.clip(0).sum(axis=1), -weights.clip(None, 0).sum(axis=1)
    low, high = (0, 255) if config.narrow else (-128 - zero_point, 127 - zero_point)
    worst = int(max((up * high - down * low).max(), (down * high - up * low).max()))
    if worst >= 1 << config.acc_width - 1:
        raise ModelError(f"{op.name} psums must stay below 2^{config.acc_width - 1}, not reach "
                         f"{worst}; set acc_width=32")


def _most(field):
    return (1 << DESCRIPTOR[field].width) - 1
