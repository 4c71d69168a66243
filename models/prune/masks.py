"""Which weights of a layer to keep: the patterns of zeros that hardware can pass over.

Weights are [out channels, positions]: position k of a window meets the same byte of the patch in
every output channel. All functions return bool of the same shape, True for what stays.

Sources
-------
Vectors with equal counts: Zhu et al., "Sparse Tensor Core", MICRO 2019. N:M: Mishra et al.,
"Accelerating Sparse Deep Neural Networks", arXiv:2104.08378. Magnitudes: Han et al., "Learning both
Weights and Connections for Efficient Neural Networks", NeurIPS 2015.
"""

import numpy as np


def vector_mask(weights: np.ndarray, sparsity: float, lanes: int, columns: int) -> np.ndarray:
    """Keep the strongest vectors, as many in each lane, so that no lane waits for another.

    A vector is what an array of ``lanes`` lanes and ``columns`` columns takes in a cycle and lane:
    the weights of ``columns`` output channels for one position. Position k belongs to lane k mod
    ``lanes``. Strength is the Euclidean norm.

    Parameters
    ----------
    weights : numpy.ndarray
        Real values [out channels, positions].
    sparsity : float
        Part of each lane's positions that becomes zero, 0..1, rounded to whole ones; one stays.
    lanes, columns : int
        At least 1: L and C of the core.
    """
    count, size = weights.shape
    groups, rows = -(-count // columns), -(-size // lanes)
    squares = np.zeros((groups * columns, size))
    squares[:count] = np.square(weights)
    strengths = np.full((groups, rows * lanes), -1.0)  # behind the last position: never chosen
    strengths[:, :size] = squares.reshape(groups, columns, size).sum(axis=1)
    kept = _largest(strengths.reshape(groups, rows, lanes), _kept(rows, sparsity), axis=1)
    return kept.reshape(groups, -1)[:, :size].repeat(columns, axis=0)[:count]


def n_of_m_mask(weights: np.ndarray, n: int, m: int) -> np.ndarray:
    """Keep the ``n`` largest magnitudes of every ``m`` consecutive positions of a channel, n <= m.

    Positions that are left over behind the last whole group are a group of their own.
    """
    count, size = weights.shape
    magnitudes = np.full((count, -(-size // m) * m), -1.0)
    magnitudes[:, :size] = np.abs(weights)
    return _largest(magnitudes.reshape(count, -1, m), n, axis=2).reshape(count, -1)[:, :size]


def magnitude_mask(weights: np.ndarray, sparsity: float) -> np.ndarray:
    """Keep the largest magnitudes of the layer wherever they are: unstructured pruning.

    ``sparsity`` is the part that becomes zero, 0..1, rounded to whole weights; one stays.
    """
    magnitudes = np.abs(weights).reshape(-1)
    return _largest(magnitudes, _kept(magnitudes.size, sparsity), axis=0).reshape(weights.shape)


def _kept(count, sparsity):
    return max(1, round((1 - sparsity) * count))


def _largest(scores, count, axis):
    """Where the ``count`` largest scores along an axis are; of equal ones the first."""
    order = np.argsort(-scores, axis=axis, kind="stable")
    kept = np.zeros(scores.shape, bool)
    np.put_along_axis(kept, order.take(range(min(count, scores.shape[axis])), axis), True, axis)
    return kept
