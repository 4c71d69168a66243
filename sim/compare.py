"""Compare what the core wrote with the golden model, layer by layer."""

from dataclasses import dataclass

import numpy as np

from gen.fold import FoldedTensor
from gen.image import Program
from models.graph import Graph
from sim.golden.operators import KINDS
from sim.run import Inference, Measured


@dataclass(frozen=True, kw_only=True)
class Mismatch:
    """The first wrong value of a comparison.

    Parameters
    ----------
    layer : str
    input : int
        Number of the input.
    index : tuple of int
        Within the tensor.
    expected, got : int
    """

    layer: str
    input: int
    index: tuple[int, ...]
    expected: int
    got: int

    def __str__(self) -> str:
        return (f"{self.layer}, input {self.input}, index {list(self.index)}: "
                f"expected {self.expected}, got {self.got}")


@dataclass
class Comparison:
    """Differing values so far, and the first of them in the network's order."""

    mismatches: int = 0
    first: Mismatch | None = None

    def add(self, layer: str, number: int, expected: np.ndarray, got: np.ndarray) -> None:
        """Compare one tensor of one input."""
        expected = expected.reshape(got.shape)
        wrong = np.argwhere(expected != got)
        self.mismatches += len(wrong)
        if len(wrong) and self.first is None:
            index = tuple(int(i) for i in wrong[0])
            self.first = Mismatch(layer=layer, input=number, index=index,
                                  expected=int(expected[index]), got=int(got[index]))


def compare_layers(comparison: Comparison, program: Program, golden: dict[int, np.ndarray],
                   row: int, number: int, inference: Inference) -> None:
    """Compare every tensor that the core wrote for one input, and all folded channels.

    Parameters
    ----------
    golden : dict of int to numpy.ndarray
        What ``sim.golden.run`` computed for a batch.
    row, number : int
        The input's place in that batch, and its number in messages.
    """
    folded = {tensor.tensor: tensor for tensor in program.folded}
    for layer, run in zip(program.layers, inference.layers, strict=True):
        expected, got = golden[layer.output.tensor][row], run.output
        lost = folded.pop(layer.output.tensor, None)
        if lost is not None:
            got = unfold(lost, got, expected)
        comparison.add(layer.name, number, expected, got)
    for lost in folded.values():  # the core writes no such tensor
        expected = golden[lost.tensor][row]
        comparison.add(f"{lost.name} (folded channels)", number, expected,
                       unfold(lost, expected[..., lost.kept], expected))
    comparison.add(f"{program.layers[-1].name} (read over the bus)", number,
                   inference.layers[-1].output, inference.output)


def unfold(folded: FoldedTensor, kept: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Give a tensor its folded channels back: their constants, or what is expected if unread.

    Parameters
    ----------
    kept : numpy.ndarray
        int8 [..., channels that are left].
    expected : numpy.ndarray
        int8 [..., all channels].
    """
    whole = expected.copy()
    whole[..., folded.kept] = kept.reshape(*expected.shape[:-1], -1)
    for channel, constant in zip(folded.removed, folded.constants, strict=True):
        if constant is not None:
            whole[..., channel] = constant
    return whole


def host_output(graph: Graph, program: Program, inference: Measured) -> np.ndarray:
    """Return the model's last tensor: what the core computed, and the host's operators on it."""
    values = {program.output.tensor: inference.output}
    for op in graph.ops:
        source, target = op.inputs[0], op.outputs[0]
        if source in values and target not in values:
            out = graph.tensors[target]
            if op.name in program.host or op.kind == "RESHAPE":
                operands = [graph.tensors[i] for i in op.inputs if i >= 0]
                arrays = [values.get(i, graph.tensors[i].data) for i in op.inputs if i >= 0]
                values[target] = KINDS[op.kind](op, operands, out, *arrays).reshape(out.shape)
    return values[graph.output]
