"""Simulate a network on generated Verilog and check every tensor: what the command line runs."""

import json
import tokenize
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from gen.cycles import STORE
from gen.image import Program
from gen.paths import whole_file
from gen.store import Store
from models.graph import Graph, ModelError
from sim.compare import Comparison, Mismatch, compare_layers, host_output
from sim.golden import dequantize
from sim.golden import run as golden_run
from sim.loaded import STALLS
from sim.run import Measured, Session
from sim.verilated import build

PER_INPUT = ("cycles", "utilization", "stalls", "macs_done", "lane_idle")   # of a layer
BATCH = 16  # inputs whose golden tensors are in memory together
# What numpy raises on a damaged .npy file.
DAMAGE = (ValueError, TypeError, SyntaxError, MemoryError, RecursionError, tokenize.TokenError)


@dataclass(kw_only=True)
class Simulation:
    """Everything that a simulation found out.

    Parameters
    ----------
    graph : Graph
    program : Program
    mismatches : int
        Over all layers and inputs, those against ``--expect`` included.
    first : Mismatch or None
    cycles : list of int
        One per input.
    layers : list of dict
        name, op, macs; one per input whose layers were measured: cycles, utilization, stalls,
        macs_done (multiplications, those of unused columns included) and lane_idle (cycles of lanes
        that had no row).
    outputs : list of numpy.ndarray
        int8 values of the model's last tensor.
    """

    graph: Graph
    program: Program
    mismatches: int = 0
    first: Mismatch | None = None
    cycles: list[int] = field(default_factory=list)
    layers: list[dict] = field(default_factory=list)
    outputs: list[np.ndarray] = field(default_factory=list)

    @classmethod
    def of(cls, graph: Graph, program: Program) -> "Simulation":
        """Nothing measured yet."""
        layers = [{"name": layer.name, "op": layer.kind, "macs": layer.macs,
                   **{name: [] for name in PER_INPUT}} for layer in program.layers]
        return cls(graph=graph, program=program, layers=layers)

    @property
    def macs(self) -> int:
        """MACs of one inference."""
        return sum(layer["macs"] for layer in self.layers)

    def add(self, inference: Measured) -> None:
        """Take in one input's measurements."""
        config = self.program.core_config
        self.cycles.append(inference.cycles)
        self.outputs.append(host_output(self.graph, self.program, inference))
        if not inference.layers:
            return
        for layer, run in zip(self.layers, inference.layers, strict=True):
            layer["cycles"].append(run.cycles)
            layer["utilization"].append(round(layer["macs"] / (run.cycles * config.macs), 4)
                                        if run.cycles else 0.0)
            layer["stalls"].append(run.stalls)
            layer["macs_done"].append(run.lane_rows * config.C)
            layer["lane_idle"].append(run.cycles * config.P * config.L - run.lane_rows)

    def scores(self) -> np.ndarray:
        """Return the outputs as real values: [inputs, values]."""
        tensor = self.graph.tensors[self.graph.output]
        return np.stack([dequantize(tensor, output).reshape(-1) for output in self.outputs])

    def to_json(self) -> str:
        """Return the text of ``--json``."""
        return json.dumps({
            "model": self.program.model, "target": self.program.target,
            "config": self.program.config, "macs": self.macs, "inputs": len(self.cycles),
            "mismatches": self.mismatches, "cycles": self.cycles, "layers": self.layers,
            "outputs": [output.reshape(-1).tolist() for output in self.outputs]}, indent=1) + "\n"


def load_inputs(path: Path, graph: Graph) -> np.ndarray:
    """Read a .npy file of inputs: int8 [N, ...].

    Raises
    ------
    ModelError
        The file is unreadable or holds another type or shape.
    """
    tensor = graph.tensors[graph.input]
    return load_array(path, "input", tensor.shape[1:])


def load_expected(path: Path, graph: Graph, count: int) -> np.ndarray:
    """Read a .npy file of expected outputs: int8 [N, ...] for ``count`` inputs.

    Raises
    ------
    ModelError
        The file is unreadable or holds another type or shape.
    """
    expected = load_array(path, "expected output", graph.tensors[graph.output].shape[1:])
    if len(expected) != count:
        raise ModelError(f"{path.name}: expected outputs must number {count}, one per input, not "
                         f"{len(expected)}; take both files from the same run")
    return expected


def load_array(path: Path, what: str, shape: tuple[int, ...]) -> np.ndarray:
    """Read an int8 array of shape [N, *shape], N at least 1."""
    try:
        with path.open("rb") as stream:
            array = np.lib.format.read_array(stream, allow_pickle=False)
    except OSError as error:
        raise ModelError(f"{path}: {what} must be a readable .npy file, not "
                         f"{error.strerror or 'a damaged one'!r}; check the path") from None
    except DAMAGE as error:
        reason = " ".join(str(error).split())[:80]
        raise ModelError(f"{path.name}: {what} must be a .npy file, not {reason!r}; "
                         f"write it with numpy.save") from None
    wanted = ", ".join(map(str, ("N", *shape)))
    if array.dtype != np.int8:
        raise ModelError(f"{path.name}: {what} must be int8, not {array.dtype}; quantize it with "
                         f"the model's scale and zero point")
    if array.ndim != len(shape) + 1 or array.shape[1:] != shape or not len(array):
        raise ModelError(f"{path.name}: {what} must have shape [{wanted}] with N at least 1, not "
                         f"{list(array.shape)}; reshape it")
    return array


def simulate(graph: Graph, program: Program, inputs: np.ndarray, *, store: Store = STORE,
             expected: np.ndarray | None = None, trace: Path | None = None,
             stage: Callable[[str], None] = lambda text: None,
             done: Callable[[int], None] = lambda count: None) -> Simulation:
    """Run every input on the simulated core and compare all that it writes.

    Parameters
    ----------
    graph : Graph
    program : Program
        Compiled from it.
    inputs : numpy.ndarray
        int8 [N, ...].
    store : Store
        How fast pages come, if the program has any.
    expected : numpy.ndarray, optional
        int8 [N, ...]: the model's last tensor.
    trace : Path, optional
        Waveforms of the first input.
    stage, done : callable
        Told what begins, and how many inputs are done.

    Raises
    ------
    ToolError
        The simulator cannot be built.
    DeviceError
        The core stopped with an error or did not finish.
    """
    result = Simulation.of(graph, program)
    comparison = Comparison()
    binary = build(program.core_config, trace=trace is not None, stage=stage)
    stage("simulating")
    waves = whole_file(trace.resolve()) if trace else nullcontext()
    with waves as waves_file, Session(program, binary, waves_file, store) as session:
        for begin in range(0, len(inputs), BATCH):
            batch = inputs[begin:begin + BATCH]
            golden = golden_run(graph, batch)
            for row, x in enumerate(batch):
                number = begin + row
                inference = session.infer(x)
                compare_layers(comparison, program, golden, row, number, inference)
                result.add(inference)
                if expected is not None:
                    comparison.add("model output (--expect)", number, expected[number],
                                   result.outputs[-1].reshape(expected[number].shape))
                done(number + 1)
    result.mismatches, result.first = comparison.mismatches, comparison.first
    return result


def mean_stalls(layer: dict) -> dict[str, float]:
    """Return each stall's mean over the inputs."""
    return {name: sum(stalls[name] for stalls in layer["stalls"]) / len(layer["stalls"])
            for name in STALLS}
