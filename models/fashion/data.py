"""Fashion-MNIST as a network is trained on it."""

from pathlib import Path

import numpy as np

from models.fashion.idx import read_idx


def read_split(folder: Path, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Return images float32 [N, 28, 28, 1] in 0..1 and labels uint8 [N] of "train" or "t10k".

    Raises
    ------
    IdxError
        A file is missing or damaged.
    """
    images = read_idx(folder / f"{split}-images-idx3-ubyte.gz")
    labels = read_idx(folder / f"{split}-labels-idx1-ubyte.gz")
    return images[..., None].astype(np.float32) / 255, labels


def augment(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return images [N, 28, 28, 1], each flipped at random and shifted by -1..1 pixels a side."""
    flip = rng.random(len(images)) < 0.5
    padded = np.pad(np.where(flip[:, None, None, None], images[:, :, ::-1], images),
                    ((0, 0), (1, 1), (1, 1), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (28, 28), (1, 2))
    row, column = rng.integers(0, 3, (2, len(images)))
    return windows[np.arange(len(images)), row, column, 0][..., None]
