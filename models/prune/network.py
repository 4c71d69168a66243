"""A network with the rounding of its int8 inference, in torch: what is trained is what will run.

Source
------
Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
Inference", CVPR 2018: fake quantization with straight-through gradients.
"""

from collections.abc import Mapping

import numpy as np
import torch
from torch.nn import functional

from models.graph import Graph, ModelError, Op
from models.prune.layers import INT8_MAX, Layer, read_layers

ACTIVATIONS = {"NONE": lambda x: x, "RELU": functional.relu, "RELU6": functional.relu6}


class Network(torch.nn.Module):
    """The layers of a Graph with real weights, rounded wherever the int8 network rounds.

    Scales and zero points of activations stay those of the graph; scales of weights follow the
    weights.

    Parameters
    ----------
    graph : Graph
    masks : dict of str to numpy.ndarray
        By the names of operators: bool [out channels, positions], False where weights are zero.

    Raises
    ------
    ModelError
        An operator cannot be trained.
    """

    def __init__(self, graph: Graph, masks: Mapping[str, np.ndarray]):
        super().__init__()
        self.graph = graph
        self.steps = {"CONV_2D": self._conv, "FULLY_CONNECTED": self._fully_connected,
                      "ADD": self._add, "MAX_POOL_2D": self._max_pool,
                      "AVERAGE_POOL_2D": self._average_pool, "RESHAPE": self._reshape}
        self.ops = graph.ops[:-1] if graph.ops[-1].kind == "SOFTMAX" else graph.ops
        for op in self.ops:
            if op.kind not in self.steps or not _trainable(graph, op):
                raise ModelError(f"{graph.name}: {op.name} must be one of {', '.join(self.steps)}, "
                                 f"without padded pools and constant operands of ADD, to be "
                                 f"fine-tuned; prune without --data")
        self.weights, self.biases = torch.nn.ParameterDict(), torch.nn.ParameterDict()
        for layer in read_layers(graph):
            name = layer.op.name
            self.weights[name] = torch.nn.Parameter(torch.from_numpy(layer.weights))
            if layer.bias is not None:
                self.biases[name] = torch.nn.Parameter(torch.from_numpy(layer.bias))
            mask = masks.get(name, np.ones_like(layer.weights, bool))
            self.register_buffer(f"mask_{name}", torch.from_numpy(mask).float())

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the real values before SOFTMAX [N, classes] of real images [N, H, W, C]."""
        found = {self.graph.input: self._rounded(images.permute(0, 3, 1, 2), self.graph.input)}
        for op in self.ops:
            y = self.steps[op.kind](op, *(found[i] for i in op.inputs if i in found))
            found[op.outputs[0]] = self._rounded(ACTIVATIONS[op.activation](y), op.outputs[0])
        return found[self.ops[-1].outputs[0]].flatten(1)

    def layers(self) -> tuple[Layer, ...]:
        """The trained weights, zero wherever the masks are."""
        with torch.no_grad():
            return tuple(Layer(op=op, weights=self._masked(op).numpy(),
                               bias=self.biases[op.name].numpy()
                               if op.name in self.biases else None)
                         for op in self.ops if op.name in self.weights)

    def _rounded(self, x, tensor):
        quantized = self.graph.tensors[tensor]
        return torch.fake_quantize_per_tensor_affine(
            x, quantized.scale[0], quantized.zero_point, -128, 127)

    def _masked(self, op: Op):
        return self.weights[op.name] * self.get_buffer(f"mask_{op.name}")

    def _weights(self, op: Op):
        """Masked and rounded, and the bias."""
        weights = self._masked(op)
        if len(self.graph.tensors[op.inputs[1]].scale) > 1:
            largest = weights.detach().abs().amax(dim=1)
        else:
            largest = weights.detach().abs().max().expand(len(weights))
        scale = (largest / INT8_MAX).clamp(min=torch.finfo(torch.float32).tiny)
        rounded = torch.fake_quantize_per_channel_affine(
            weights, scale, torch.zeros(len(scale), dtype=torch.int32), 0, -INT8_MAX, INT8_MAX)
        return rounded, self.biases.get(op.name, None)

    def _conv(self, op, x):
        weights, bias = self._weights(op)
        count, *window = self.graph.tensors[op.inputs[1]].shape
        weights = weights.reshape(count, *window).permute(0, 3, 1, 2)
        (top, bottom), (left, right) = op.padding
        if (top, left) == (bottom, right):
            padding = (top, left)
        else:
            padding, x = (0, 0), functional.pad(x, (left, right, top, bottom))
        return functional.conv2d(x, weights, bias, op.stride, padding, op.dilation)

    def _fully_connected(self, op, x):
        return functional.linear(_channels_last(x).flatten(1), *self._weights(op))

    def _add(self, _op, x, y):
        return x + y

    def _max_pool(self, op, x):
        return functional.max_pool2d(x, op.kernel, op.stride)

    def _average_pool(self, op, x):
        return functional.avg_pool2d(x, op.kernel, op.stride)

    def _reshape(self, op, x):
        y = _channels_last(x).reshape(-1, *self.graph.tensors[op.outputs[0]].shape[1:])
        return y.permute(0, 3, 1, 2) if y.dim() == 4 else y


def _trainable(graph, op):
    data = op.inputs[:2] if op.kind == "ADD" else op.inputs[:1]
    padded_pool = "POOL" in op.kind and any(sum(op.padding, ()))
    return op.activation in ACTIVATIONS and not padded_pool and all(
        graph.tensors[i].data is None for i in data)


def _channels_last(x):
    return x.permute(0, 2, 3, 1) if x.dim() == 4 else x
