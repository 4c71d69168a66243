"""How much faster a layer with zeros is: measured, as predicted, and at best."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from gen.compile import compile_model
from gen.cycles import predict
from gen.targets import Target
from hw.config import ConfigError
from models.graph import Graph
from sim import golden
from sim.activity import visit_costs
from sim.simulate import simulate
from sim.sweep.layer import Shape, inputs, layer

ACTIVATIONS, ROWS, BOTH = "activations", "rows", "both"
ABLE = {"off": (), "act": (ACTIVATIONS,), "both": (ACTIVATIONS, ROWS, BOTH)}


@dataclass(frozen=True, kw_only=True)
class Point:
    """A layer with some zeros on a core.

    Parameters
    ----------
    target : str
    zeros : str
        Where they are: "activations", "rows" (of C weights), "both".
    share : float
        How much of these is zero, of each kind.
    dense_cycles : int
        Of an inference with ``--skip off``.
    cycles, predicted_cycles : int
        With the zeros passed over: the core's own count, and the cycle model's for this input.
    mismatches : int
        Values that are not the golden model's.
    """

    target: str
    zeros: str
    share: float
    dense_cycles: int
    cycles: int
    predicted_cycles: int
    mismatches: int

    @property
    def ideal(self) -> float:
        """Speed-up if zeros cost nothing and nothing else were in the way."""
        return (1 - self.share) ** (-2 if self.zeros == BOTH else -1)

    @property
    def measured(self) -> float:
        """Speed-up of the simulated core."""
        return self.dense_cycles / self.cycles

    @property
    def predicted(self) -> float:
        """Speed-up by the cycle model."""
        return self.dense_cycles / self.predicted_cycles

    def record(self) -> dict:
        """Plain values, the speed-ups among them."""
        return asdict(self) | {"ideal": self.ideal, "measured": self.measured,
                               "predicted": self.predicted}


def kinds(target: Target) -> tuple[str, ...]:
    """What a core can pass over.

    Raises
    ------
    ConfigError
        Nothing.
    """
    found = ABLE[target.config.skip]
    if not found:
        raise ConfigError(f"{target.name}: skip must be act or both, not {target.config.skip}; "
                          f"give --set skip=act")
    return found


def sweep(target: Target, shape: Shape, shares: Sequence[float], seed: int,
          stage: Callable[[str], None] = lambda text: None) -> Iterator[Point]:
    """Measure a layer with every share of every kind of zeros that the core passes over.

    Parameters
    ----------
    target : Target
    shape : Shape
    shares : sequence of float
        0 to below 1.
    seed : int
        Of weights, inputs, and the places of the zeros.
    stage : callable
        Told what begins.

    Raises
    ------
    ConfigError, ModelError
        The core passes over nothing; the layer does not fit it.
    ToolError, DeviceError
        The simulator cannot be built, or the core did not finish.
    """
    def drawn(activations: float, rows: float) -> tuple[Graph, np.ndarray]:
        return layer(shape, target.config.C, rows, seed), inputs(shape, activations, seed)

    wanted = kinds(target)
    dense, _, wrong = run(target, *drawn(0, 0), "off", stage)
    for zeros in wanted:
        for share in shares:
            cycles, predicted, mismatches = run(
                target, *drawn(share * (zeros != ROWS), share * (zeros != ACTIVATIONS)), "auto",
                stage)
            yield Point(target=target.name, zeros=zeros, share=share, dense_cycles=dense,
                        cycles=cycles, predicted_cycles=predicted, mismatches=wrong + mismatches)
            wrong = 0


def run(target: Target, graph: Graph, x: np.ndarray, skip: str,
        stage: Callable[[str], None] = lambda text: None) -> tuple[int, int, int]:
    """One inference: cycles of the core, of the cycle model, and mismatches.

    Parameters
    ----------
    target : Target
    graph : Graph
    x : numpy.ndarray
        int8 [1, ...].
    skip : str
        As `gen.skip.skipping` takes it.
    stage : callable
        Told what begins.
    """
    program = compile_model(graph, target, fold=False, skip=skip)
    costs = visit_costs(program, golden.run(graph, x), 0, x[0])
    result = simulate(graph, program, x, stage=stage)
    predicted = sum(cycles.total for cycles in predict(program, costs=costs))
    return result.cycles[0], predicted, result.mismatches
