"""Packed weights: rows that are zero left out, and the row masks that say so."""

from dataclasses import replace

import numpy as np

from gen.lower.steps import Step
from hw.config import CoreConfig
from hw.masks import BASE_BITS


def pack(step: Step, config: CoreConfig) -> tuple[Step, np.ndarray]:
    """A step of CONV without the weight rows that are zero, and which are not.

    Each lane's rows follow each other, group after group.

    Returns
    -------
    packed : Step
    stored : numpy.ndarray
        bool [groups, rows, L].
    """
    window, lanes = config.window_rows, config.L
    rows = step.weights.reshape(step.groups, -1, lanes, config.C)
    stored = np.asarray(rows.any(axis=3))
    windows = -(-rows.shape[1] // window)
    wide = np.zeros((step.groups, windows * window, lanes), bool)
    wide[:, :rows.shape[1]] = stored
    bits = wide.reshape(-1, window, lanes)
    counts = bits.sum(axis=1)
    bases = np.where(counts, counts.cumsum(axis=0) - counts, 0)
    masks = (bits << np.arange(window)[:, None]).sum(axis=1) | bases << window
    weights = np.zeros((int(counts.sum(axis=0).max()), lanes, config.C), np.uint8)
    for lane in range(lanes):
        kept = rows[:, :, lane][stored[:, :, lane]]
        weights[:len(kept), lane] = kept
    packed = replace(
        step, fields=step.fields | {"packed": 1, "group_rows": windows},
        weights=weights.reshape(1, -1),
        masks=masks.astype(np.uint32).reshape(step.groups, windows, lanes))
    return packed, stored


def mask_words(masks: np.ndarray, row: int, config: CoreConfig) -> bytes:
    """Row masks as the core holds them, of weights from a row of the banks on."""
    window = config.window_rows
    assert window + BASE_BITS == 32
    empty = masks & (1 << window) - 1 == 0
    return np.where(empty, 0, masks + (row << window)).astype("<u4").tobytes()


def kept_rows(masks: np.ndarray, config: CoreConfig) -> int:
    """Rows of C weights that row masks say are stored."""
    return int(np.bitwise_count(masks & (1 << config.window_rows) - 1).sum())


def stored_rows(config: CoreConfig, d: dict[str, int], masks: bytes) -> np.ndarray:
    """Which weight rows of a packed descriptor are stored, from the contents of Space.MASK.

    Returns
    -------
    numpy.ndarray
        bool [groups, windows * window_rows, L].
    """
    words = np.frombuffer(masks, "<u4").reshape(-1, config.L)[d["w_base"]:]
    words = words[:d["groups"] * d["group_rows"], None]
    bits = words >> np.arange(config.window_rows, dtype=np.uint32)[:, None] & 1
    return bits.reshape(d["groups"], -1, config.L).astype(bool)
