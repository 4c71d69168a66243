"""CONV_2D and its likes as convolutions: windows as segments, weights as rows of lanes."""

from dataclasses import dataclass, replace

import numpy as np

from gen.lower.arith import activation_range
from gen.lower.channels import channel_params, operand_offset
from gen.lower.steps import Step, Storage, choose_split, spare_beats
from gen.lower.tensors import pixel_shape, view
from hw.config import CoreConfig, align_up
from hw.drain import Drain
from hw.layout import Opcode, field_widths
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
    dilation : (y, x)
        From one kernel row or column to the next.
    out_h, out_w : int
    """

    source: Storage
    weights: np.ndarray
    stride: tuple[int, int]
    pad: tuple[int, int]
    dilation: tuple[int, int] = (1, 1)
    out_h: int
    out_w: int


@dataclass(frozen=True, kw_only=True)
class Segments:
    """A kernel row in memory: ``count`` segments of ``size`` bytes, ``pitch`` apart."""

    count: int
    size: int
    pitch: int


def window(graph: Graph, op: Op, storage: Storage, config: CoreConfig) -> Window:
    """The window of a dense layer over its input's root storage."""
    weights = graph.tensors[op.inputs[1]].data
    assert weights is not None
    out_h, out_w, _ = pixel_shape(graph.tensors[op.outputs[0]].shape)
    if op.kind == "DEPTHWISE_CONV_2D":
        weights = _ungrouped(weights, graph.tensors[op.inputs[0]].shape[3])
    if op.kind != "FULLY_CONNECTED":
        seen = view(storage, graph.tensors[op.inputs[0]].shape, op, config)
        pad = (op.padding[0][0], op.padding[1][0] - seen.margin[0])
        found = Window(source=seen, weights=weights, stride=op.stride, pad=pad,
                       dilation=op.dilation, out_h=out_h, out_w=out_w)
    elif weights.shape[1] == storage.pixels * storage.channels:  # the whole tensor is one window
        seen = storage
        if storage.contiguous and storage.size <= _most("row_bytes", config):
            seen = Storage(height=1, width=1, channels=storage.size, pixel_bytes=storage.size)
        kernel = weights.reshape(-1, seen.height, seen.width, seen.channels)
        found = Window(source=seen, weights=kernel, stride=(1, 1), pad=(0, 0), out_h=1, out_w=1)
    else:  # every row of the input's matrix is a pixel
        depth = weights.shape[1]
        rows = storage.pixels * storage.channels // depth
        seen = view(storage, (1, rows, depth), op, config)
        found = Window(source=seen, weights=weights.reshape(-1, 1, 1, depth), stride=(1, 1),
                       pad=(0, 0), out_h=1, out_w=rows)
    return spread(turned(found, config))


def spread(found: Window) -> Window:
    """The same without dilation of its rows: rows of zeros lie between them."""
    (count, rows, *rest), (step, columns) = found.weights.shape, found.dilation
    wide = np.zeros((count, (rows - 1) * step + 1, *rest), np.int8)
    wide[:, ::step] = found.weights
    return replace(found, weights=wide, dilation=(1, columns))


def _ungrouped(weights: np.ndarray, depth: int) -> np.ndarray:
    """Depthwise weights [1, y, x, out channels] as OHWI: each channel reads one of ``depth``."""
    _, rows, cols, count = weights.shape
    dense = np.zeros((count, rows, cols, depth), np.int8)
    channels = np.arange(count)
    dense[channels, :, :, channels // (count // depth)] = weights[0].transpose(2, 0, 1)
    return dense


def turned(found: Window, config: CoreConfig) -> Window:
    """A column of pixels as a row of pixels, which lies alike and is one run of bytes."""
    source = found.source
    fits = source.size <= _most("row_bytes", config) \
        and found.weights.shape[1] <= _most("segments", config)
    tap, missed = divmod(found.pad[1], found.dilation[1])
    seen = not missed and tap < found.weights.shape[2]
    if source.width != 1 or source.height == 1 or found.out_w != 1 or not seen or not fits:
        return found
    column = found.weights[:, :, tap:tap + 1]  # the others meet padding only
    return Window(
        source=replace(source, height=1, width=source.height),
        weights=column.transpose(0, 2, 1, 3), stride=(1, found.stride[0]),
        pad=(0, found.pad[0]), dilation=(1, found.dilation[0]), out_h=1, out_w=found.out_h)


def twin(found: Window, config: CoreConfig) -> Window | None:
    """The same with the windows of two neighbouring pixels as one, if that takes fewer cycles.

    Each pixel has half of the columns; the taps that only the other one sees are zeros.
    """
    (count, rows, columns, depth), half, step = found.weights.shape, config.C // 2, found.stride[1]
    if not config.twins or count > half or found.out_w % 2 or found.dilation[1] > 1:
        return None
    both = np.zeros((2, half, rows, columns + step, depth), np.int8)
    both[0, :count, :, :columns] = found.weights
    both[1, :count, :, step:] = found.weights
    pair = replace(found, weights=both.reshape(2 * half, rows, columns + step, depth),
                   stride=(found.stride[0], 2 * step), out_w=found.out_w // 2)
    alone = 2 * max(patch_rows(found, config), Drain.cycles(config, spare_beats(config, count)))
    rows = patch_rows(pair, config)
    fits = rows * config.L <= config.patch_lines * config.V and rows <= config.weight_rows
    return pair if fits and max(rows, Drain.cycles(config)) < alone else None


def segments(found: Window, config: CoreConfig) -> Segments:
    """How a kernel row is cut: in one piece where what lies between pixels costs nothing."""
    source, kernel_w = found.source, found.weights.shape[2]
    each = align_up(source.channels, config.align)
    if kernel_w == 1:
        return Segments(count=1, size=each, pitch=0)
    if each >= source.pixel_bytes and found.dilation[1] == 1:
        whole = (kernel_w - 1) * source.pixel_bytes + source.channels
        return Segments(count=1, size=align_up(whole, config.align), pitch=0)
    return Segments(count=kernel_w, size=each, pitch=found.dilation[1] * source.pixel_bytes)


def patch_rows(found: Window, config: CoreConfig) -> int:
    """Rows of the patch, and of the weights of one column group."""
    cut = segments(found, config)
    return -(-found.weights.shape[1] * cut.count * cut.size // config.L)


def aligned(found: Window, config: CoreConfig) -> bool:
    """Whether every address and column of the window is a multiple of ``align``."""
    source, step = found.source, config.align
    rows = source.height > 1 or found.weights.shape[1] > 1
    steps = found.stride[1] * source.pixel_bytes if found.out_w > 1 else 0
    columns = (steps, found.pad[1] * source.pixel_bytes, source.row_bytes if rows else 0,
               segments(found, config).pitch)
    return all(value % step == 0 for value in columns)


def lower_conv(graph: Graph, op: Op, storage: Storage, config: CoreConfig,
               source: int, output: int, sums: bool = False) -> Step:
    """The step of one convolution.

    Parameters
    ----------
    storage : Storage
        Of the input's root.
    source, output : int
        Root tensors.
    sums : bool
        An addition will be fused to it.

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
    offset = operand_offset(x.zero_point, config)
    kernel = kernel_bytes(found, segments(found, config))
    params = channel_params(graph, op, kernel, offset, config)
    pitch, half = -(-len(kernel) // config.V), config.C // 2
    pair = None if sums else twin(found, config)
    if pair:
        found, pitch = pair, 2
        kernel = kernel_bytes(found, segments(found, config))
        params[:, half:] = params[:, :half]
    cut, seen, groups = segments(found, config), found.source, -(-len(kernel) // config.C)
    rows = patch_rows(found, config)
    low, high = activation_range(op.activation, y.scale[0], y.zero_point)
    fields = {
        "kernel_h": found.weights.shape[1], "row_bytes": seen.row_bytes,
        "segment_bytes": cut.size, "segments": cut.count, "segment_pitch": cut.pitch,
        "y_step": found.stride[0] * seen.row_bytes if found.out_h > 1 else 0,
        "x_start": -found.pad[1] * seen.pixel_bytes,
        "x_step": found.stride[1] * seen.pixel_bytes if found.out_w > 1 else 0,
        "in_h": seen.height, "out_w": found.out_w, "out_h": found.out_h,
        "y_start": -found.pad[0], "stride_h": found.stride[0], "group_rows": rows,
        "out_pitch": pitch, "out_row": found.out_w * pitch,
        "fill": x.zero_point, "offset": offset,
        "zero_point": y.zero_point, "low": low, "high": high,
        "split": choose_split(config, found.out_w, found.out_h, groups),
        "twin": int(pair is not None),
        "chunked": int(kernel.shape[1] > config.patch_lines * config.V),
    }
    return Step(op=Opcode.CONV, fields=fields, groups=groups,
                weights=weight_rows(kernel, rows, config),
                params=params,
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


def _most(field, config):
    return (1 << field_widths(config)[field]) - 1
