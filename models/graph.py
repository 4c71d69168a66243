"""The network as data: one small typed graph that readers produce and later stages walk."""

from dataclasses import dataclass, field
from math import prod

import numpy as np


class ModelError(ValueError):
    """A model cannot be read or is not supported: file or operator, rule, value and remedy."""


@dataclass(frozen=True, kw_only=True)
class Tensor:
    """One tensor of the graph.

    Parameters
    ----------
    name : str
    shape : tuple of int
        Without unknown dimensions; activations are [1, H, W, C] or [1, C].
    dtype : str
        numpy name: "int8", "int32", "float32" ...
    scale : tuple of float
        float32 values: none if the tensor is not quantized, one, or one per output channel.
    zero_point : int
        0 for weights and biases.
    data : numpy.ndarray or None
        Constant contents in the model's own layout (OHWI for convolutions), None for activations.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    scale: tuple[float, ...] = ()
    zero_point: int = 0
    data: np.ndarray | None = field(default=None, repr=False, compare=False)

    @property
    def size(self) -> int:
        """Number of elements."""
        return prod(self.shape)


@dataclass(frozen=True, kw_only=True)
class Op:
    """One operator.

    Parameters
    ----------
    index : int
        Position in the file, stable through folding; layer names derive from it.
    kind : str
        TFLite's name: "CONV_2D", "ADD" ...
    inputs, outputs : tuple of int
        Tensor indices into ``Graph.tensors``; -1 for an absent optional input.
    stride : (y, x); dilation : (y, x); kernel : (y, x) of pooling windows
    padding : ((top, bottom), (left, right)), already resolved from SAME/VALID; of PAD too.
    channel_padding : (before, after)
        Of PAD.
    fill : int
        int8 value that PAD writes.
    activation : "NONE", "RELU", "RELU6", "RELU_N1_TO_1"
    beta : float
        Of SOFTMAX.
    alpha : float
        Slope of LEAKY_RELU below zero.
    """

    index: int
    kind: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    kernel: tuple[int, int] = (1, 1)
    padding: tuple[tuple[int, int], tuple[int, int]] = ((0, 0), (0, 0))
    channel_padding: tuple[int, int] = (0, 0)
    fill: int = 0
    activation: str = "NONE"
    beta: float = 1.0
    alpha: float = 0.0

    @property
    def name(self) -> str:
        """Unique and stable: "op03_CONV_2D"."""
        return f"op{self.index:02d}_{self.kind}"


@dataclass(frozen=True, kw_only=True)
class Graph:
    """A network with one input and one output.

    Parameters
    ----------
    name : str
        The file's stem.
    tensors : tuple of Tensor
    ops : tuple of Op
        In execution order.
    input, output : int
        Tensor indices of the int8 input and the last int8 tensor; QUANTIZE and DEQUANTIZE at the
        ends are dropped.
    """

    name: str
    tensors: tuple[Tensor, ...]
    ops: tuple[Op, ...]
    input: int
    output: int

    def macs(self, op: Op) -> int:
        """MACs of one operator as TFLite counts them: dense, padding included; 0 for others."""
        if op.kind not in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"):
            return 0
        out, weights = self.tensors[op.outputs[0]], self.tensors[op.inputs[1]]
        if op.kind == "DEPTHWISE_CONV_2D":
            return out.size * weights.shape[1] * weights.shape[2]
        return out.size * prod(weights.shape[1:])

    def consumers(self, tensor: int) -> tuple[Op, ...]:
        """Operators that read a tensor."""
        return tuple(op for op in self.ops if tensor in op.inputs)

    def producer(self, tensor: int) -> Op | None:
        """Operator that writes a tensor; None for inputs and constants."""
        return next((op for op in self.ops if tensor in op.outputs), None)
