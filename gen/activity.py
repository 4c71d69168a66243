"""How many rows the lanes cannot pass over: what the cycle model needs to know of the data."""

from functools import lru_cache

import numpy as np

from hw.config import CoreConfig
from hw.layout import Opcode
from hw.seeker import Seeker

ASSUMED_DENSITY = 0.5   # of activations behind a ReLU, where nothing is known of them
RELU_ZERO = -128        # zero point of an output that a ReLU clamps
GEOMETRY = ("kernel_h", "segments", "segment_bytes", "segment_pitch", "in_start", "in_h",
            "row_bytes", "y_start", "stride_h", "y_step", "x_start", "x_step", "out_w", "out_h",
            "offset", "fill", "skip")


def visit_cycles(config: CoreConfig, d: dict[str, int], memory: np.ndarray,
                 stored: np.ndarray | None = None) -> np.ndarray:
    """Cycles in which lanes issue rows of each patch buffer of a CONV that passes over zeros.

    Parameters
    ----------
    config : CoreConfig
    d : dict
        Fields of the descriptor.
    memory : numpy.ndarray
        int8 [bytes]: the activation memory when it begins.
    stored : numpy.ndarray, optional
        bool [groups, rows, L]: where it is packed, the weight rows that are there.

    Returns
    -------
    numpy.ndarray
        int [output pixels, buffers of a patch, groups, or 1 if all are alike]: rows of the busiest
        lane that are not zero, and one more if its last window has none; where config.seeks one
        more for every window that has none, and so many that the last one has Seeker.LEAST.
    """
    return _busiest(config, nonzero(d, memory), stored)


def _busiest(config, found, stored):
    room, counts = config.patch_lines * config.V, []
    window = config.window_rows
    for begin in range(0, found.shape[1], room):
        chunk, first = found[:, begin:begin + room], begin // config.L
        tail = -(-chunk.shape[1] // config.L) - 1      # the last row, and where its window begins
        tail = tail // window * window
        lanes = []
        for lane in range(config.L):
            seen = chunk[:, lane::config.L].astype(np.float32)
            if config.seeks:
                lanes.append(_sought(seen, tail + window, window))
                continue
            kept = np.ones((seen.shape[1], 1), np.float32)
            if stored is not None:
                kept = stored[:, first:first + seen.shape[1], lane].T.astype(np.float32)
            lanes.append(seen @ kept + (seen[:, tail:] @ kept[tail:] == 0))
        counts.append(np.max(lanes, axis=0))
    return np.stack(counts, axis=1).astype(int)


def _sought(seen, rows, window):
    """Cycles of a lane that comes to each window; ``rows``: of all windows."""
    seen = np.pad(seen, ((0, 0), (0, rows - seen.shape[1])))
    found = seen.reshape(len(seen), -1, window).sum(axis=2)
    least = np.ones(found.shape[1])
    least[-1] = Seeker.LEAST
    return np.maximum(found, least).sum(axis=1, keepdims=True)


def nonzero(d: dict[str, int], memory: np.ndarray) -> np.ndarray:
    """Which bytes of every window, as the feeder packs it, the lanes cannot pass over: with
    ``skip`` those whose operand is not zero.

    Returns
    -------
    numpy.ndarray
        bool [output pixels, patch bytes].
    """
    rows = d["y_start"] + d["stride_h"] * np.arange(d["out_h"])[:, None] + np.arange(d["kernel_h"])
    starts = (d["in_start"] + d["y_step"] * np.arange(d["out_h"])[:, None]
              + d["row_bytes"] * np.arange(d["kernel_h"]))
    columns = (d["x_start"] + d["x_step"] * np.arange(d["out_w"])[:, None, None]
               + d["segment_pitch"] * np.arange(d["segments"])[:, None]
               + np.arange(d["segment_bytes"])).reshape(d["out_w"], -1)
    patches = []
    for inside, start in zip((rows >= 0) & (rows < d["in_h"]), starts, strict=True):
        there = inside[None, :, None] & ((columns >= 0) & (columns < d["row_bytes"]))[:, None, :]
        found = memory[np.where(there, start[None, :, None] + columns[:, None, :], 0)]
        patches.append(np.where(there, found, d["fill"]).reshape(d["out_w"], -1))
    found = np.concatenate(patches) != d["offset"]
    return found if d["skip"] else np.ones_like(found)


def assumed_cycles(config: CoreConfig, d: dict[str, int], stored: np.ndarray | None = None,
                   density: float = ASSUMED_DENSITY) -> np.ndarray:
    """`visit_cycles` of activations of which nothing is known.

    Behind a ReLU, where the zero point is -128, a ``density`` of them is not zero, evenly spread;
    elsewhere all are not.
    """
    values = tuple((name, d[name]) for name in GEOMETRY)
    found = _assumed(values, density if d["fill"] == RELU_ZERO else 1.0)
    return _busiest(config, found, stored)


@lru_cache(maxsize=64)
def _assumed(values, density):
    d = dict(values)
    size = max(0, d["in_start"]) + d["y_step"] * d["out_h"] + d["row_bytes"] * d["kernel_h"]
    memory = np.full(size, d["offset"], np.int8)
    memory[np.random.default_rng(0).random(len(memory)) < density] = d["offset"] ^ 1
    return nonzero(d, memory)


def skips(d: dict[str, int]) -> bool:
    """Whether a descriptor's lanes pass over zeros."""
    return d["op"] == Opcode.CONV and bool(d["skip"] or d["packed"])
