"""One network on one preset: compile it, then simulate it or ask the cycle model."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field

import numpy as np

from gen.compile import compile_model
from gen.cycles import predict
from gen.fold import fold_channels
from gen.image import Program
from gen.targets import PRESETS, FitError
from models.graph import Graph
from models.tflite_reader import load
from models.zoo import NETWORKS, model_path, random_inputs, real_inputs
from sim.simulate import load_inputs, simulate

TITLES = {network.name: network.title for network in NETWORKS}
# Kinds of layers as readers know them, in the order of the tables; other kinds go by their names.
KINDS = {"CONV_2D": "convolution", "DEPTHWISE_CONV_2D": "depthwise",
         "FULLY_CONNECTED": "fully connected", "ADD": "addition", "AVERAGE_POOL_2D": "pooling",
         "MAX_POOL_2D": "pooling", "MEAN": "pooling"}


@dataclass(frozen=True, kw_only=True)
class Case:
    """A row of the results.

    Parameters
    ----------
    network : str
        As `models.zoo.NETWORKS` names it.
    fold : bool
        Without channels that need not be computed.
    fit : tuple of str
        Presets whose memories are fitted to the network.
    """

    network: str
    fold: bool = True
    fit: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """The network and the options, as the command line has them."""
        fold = "" if self.fold else ", `--no-fold`"
        fit = f", `--fit` on {', '.join(self.fit)}" if self.fit else ""
        return TITLES[self.network] + fold + fit


CASES = (
    Case(network="fashion"), Case(network="ic_resnet8"), Case(network="kws_dscnn"),
    Case(network="vww_mobilenet"),
    Case(network="vww_mobilenet", fold=False, fit=("ecp5-85k",)),
    Case(network="ad_autoencoder", fit=("ecp5-85k",)),
)


@dataclass(frozen=True, kw_only=True)
class Share:
    """MACs and mean cycles of all layers of a kind."""

    macs: int = 0
    cycles: float = 0


@dataclass(kw_only=True)
class Cell:
    """What a case did on a preset.

    Parameters
    ----------
    preset : str
    peak : int
        MACs a cycle.
    macs : int
        MACs of one inference.
    refusal : str
        Why it does not fit; then nothing of the following is known.
    cycles : float
        Mean over the inputs.
    dense_cycles : float
        The same with `--skip off`, on cores that pass over zeros.
    mismatches : int
        Wrong values over all layers and inputs.
    kinds : dict of str to Share
    """

    preset: str
    peak: int
    macs: int
    refusal: str = ""
    cycles: float = 0
    dense_cycles: float = 0
    mismatches: int = 0
    kinds: dict[str, Share] = field(default_factory=dict)

    @property
    def limit_cycles(self) -> int:
        """Cycles of an array that is never idle."""
        return -(-self.macs // self.peak)

    @property
    def utilization(self) -> float:
        """Part of the array's peak, beyond 1 where lanes pass over enough zeros."""
        return self.macs / (self.cycles * self.peak) if self.cycles else 0.0

    @property
    def dense_utilization(self) -> float:
        """Part of the array's peak with `--skip off`, 0..1."""
        return self.macs / (self.dense_cycles * self.peak) if self.dense_cycles else 0.0

    def kind_utilization(self, kind: str) -> float:
        """Part of the array's peak during the layers of a kind, 0..1."""
        share = self.kinds[kind]
        return share.macs / (share.cycles * self.peak) if share.cycles else 0.0

    def to_dict(self) -> dict:
        """Plain values for JSON."""
        return asdict(self) | {
            "limit_cycles": self.limit_cycles, "utilization": round(self.utilization, 4),
            "kinds": {kind: asdict(share) | {"utilization": round(self.kind_utilization(kind), 4)}
                      for kind, share in self.kinds.items()}}


@dataclass(kw_only=True)
class Row:
    """A case on all presets.

    Parameters
    ----------
    case : Case
    macs, network_macs : int
        To compute, and of the whole network, folded channels included.
    inputs : int
        How many the cells are means of; 0 if the cycles are predicted.
    real : bool
        They are no random ones.
    cells : dict of str to Cell
        By preset.
    arm : dict of str to int
        Cycles by accelerator, as `sim.bench.vela` estimates them.
    """

    case: Case
    macs: int
    network_macs: int
    inputs: int = 0
    real: bool = False
    cells: dict[str, Cell] = field(default_factory=dict)
    arm: dict[str, int] = field(default_factory=dict)

    def to_dict(self) -> dict:
        """Plain values for JSON."""
        return asdict(self) | {"cells": {name: cell.to_dict() for name, cell in self.cells.items()}}


def load_case(case: Case, count: int) -> tuple[Row, Graph, np.ndarray]:
    """A row without cells, its network, and int8 [count, ...] inputs, fewer if real ones end.

    Raises
    ------
    FetchError, ModelError
        The network cannot be had or read.
    """
    path = model_path(case.network)
    graph = load(path)
    folded = fold_channels(graph).graph if case.fold else graph
    file = real_inputs(path)
    inputs = (load_inputs(file, graph)[:count] if file else
              random_inputs(graph.tensors[graph.input].shape[1:], count))
    row = Row(case=case, macs=_macs(folded), network_macs=_macs(graph), inputs=len(inputs),
              real=file is not None)
    return row, graph, inputs


def measure(case: Case, graph: Graph, preset: str, inputs: np.ndarray | None,
            stage: Callable[[str], None] = lambda text: None) -> Cell:
    """Compile a case for a preset and run it.

    Parameters
    ----------
    case : Case
    graph : Graph
        Its network.
    preset : str
    inputs : numpy.ndarray or None
        int8 [N, ...]; None to predict the cycles.
    stage : callable
        Told what begins.

    Raises
    ------
    ToolError, DeviceError
        The simulator cannot be built, or the core did not finish.
    """
    target = PRESETS[preset]
    stage("compiling")
    try:
        program = compile_model(graph, target, fit=preset in case.fit, fold=case.fold)
    except FitError as error:
        return Cell(preset=preset, peak=target.config.macs, macs=0, refusal=str(error))
    cell = Cell(preset=preset, peak=target.config.macs, macs=sum(x.macs for x in program.layers))
    layers, cell.cycles, cell.mismatches = _run(graph, program, inputs, stage)
    if target.config.skips:
        dense = compile_model(graph, target, fit=preset in case.fit, fold=case.fold, skip="off")
        _, cell.dense_cycles, wrong = _run(graph, dense, inputs, stage)
        cell.mismatches += wrong
    cell.kinds = by_kind(program, layers)
    return cell


def _run(graph, program, inputs, stage):
    """Mean cycles of every layer and of an inference, and mismatches."""
    if inputs is None:
        layers = [float(cycles.total) for cycles in predict(program)]
        return layers, sum(layers), 0
    result = simulate(graph, program, inputs, stage=stage)
    layers = [float(np.mean(layer["cycles"])) for layer in result.layers]
    return layers, float(np.mean(result.cycles)), result.mismatches


def by_kind(program: Program, cycles: list[float]) -> dict[str, Share]:
    """MACs and cycles by kind of layer; a layer that took in an addition goes by its first."""
    found: dict[str, Share] = {}
    for layer, count in zip(program.layers, cycles, strict=True):
        op = layer.kind.split("+")[0]
        kind = KINDS.get(op, op)
        before = found.get(kind, Share())
        found[kind] = Share(macs=before.macs + layer.macs, cycles=before.cycles + count)
    order = list(dict.fromkeys(KINDS.values()))
    return dict(sorted(found.items(), key=lambda item: (
        order.index(item[0]) if item[0] in order else len(order), item[0])))


def _macs(graph: Graph) -> int:
    return sum(graph.macs(op) for op in graph.ops)
