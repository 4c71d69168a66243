"""A convolution of random weights, alone in its network, with as many zeros as are asked for."""

from dataclasses import dataclass

import numpy as np

from models.graph import Graph, Op, Tensor

ZERO_POINT = -128           # of the input, as behind a ReLU
SCALE, SPREAD = 1 / 128, 4  # of inputs and weights; deviations of a sum that int8 can hold


@dataclass(frozen=True, kw_only=True)
class Shape:
    """Size of the layer; its windows lie within the map, as the zeros of a border would count too.

    Parameters
    ----------
    side : int
        Rows and columns of the input.
    channels, outputs : int
        In and out.
    kernel : int
        Rows and columns of the window.
    """

    side: int = 16
    channels: int = 16
    outputs: int = 64
    kernel: int = 3

    @property
    def taps(self) -> int:
        """Length of a dot product, K."""
        return self.kernel**2 * self.channels

    @property
    def text(self) -> str:
        """What it is, for people."""
        return (f"{self.kernel}x{self.kernel}, {self.channels} to {self.outputs} channels, "
                f"K = {self.taps}")


def layer(shape: Shape, columns: int, zero_rows: float, seed: int) -> Graph:
    """The network of a layer whose weights are random, but for rows of zeros.

    Parameters
    ----------
    shape : Shape
    columns : int
        Outputs that share a row of weights: C of the core.
    zero_rows : float
        Part of each group's rows that is zero, 0..1, anywhere.
    seed : int
    """
    rng = np.random.default_rng(seed)
    weights = rng.integers(1, 128, (shape.outputs, shape.taps), np.int8)
    weights *= rng.choice(np.array([-1, 1], np.int8), weights.shape)
    for first in range(0, shape.outputs, columns):
        weights[first:first + columns, some(rng, shape.taps, zero_rows)] = 0
    size = shape.side - shape.kernel + 1
    # takes away the mean of the sums where half of the activations are zero
    bias = (weights.sum(axis=1, dtype=np.int64) * ZERO_POINT // 2).astype(np.int32)
    deviation = 128 * 128 * np.sqrt(shape.taps) / 3
    return Graph(name="layer", input=0, output=3, tensors=(
        Tensor(name="x", shape=(1, shape.side, shape.side, shape.channels), dtype="int8",
               scale=(SCALE,), zero_point=ZERO_POINT),
        Tensor(name="weights", dtype="int8", scale=(SCALE,) * shape.outputs,
               shape=(shape.outputs, shape.kernel, shape.kernel, shape.channels),
               data=weights.reshape(shape.outputs, shape.kernel, shape.kernel, shape.channels)),
        Tensor(name="bias", shape=(shape.outputs,), dtype="int32",
               scale=(SCALE**2,) * shape.outputs, data=bias),
        Tensor(name="y", shape=(1, size, size, shape.outputs), dtype="int8",
               scale=(SPREAD * SCALE**2 * deviation / 128,)),
    ), ops=(Op(index=0, kind="CONV_2D", inputs=(0, 1, 2), outputs=(3,)),))


def inputs(shape: Shape, zero_activations: float, seed: int) -> np.ndarray:
    """Random values of which a part, 0..1, is the zero point: int8 [1, side, side, channels]."""
    rng = np.random.default_rng(seed)
    values = rng.integers(ZERO_POINT + 1, 128, (1, shape.side, shape.side, shape.channels), np.int8)
    values.reshape(-1)[some(rng, values.size, zero_activations)] = ZERO_POINT
    return values


def some(rng: np.random.Generator, count: int, share: float) -> np.ndarray:
    """Which of ``count`` things are the share: indices."""
    return rng.permutation(count)[:round(share * count)]
