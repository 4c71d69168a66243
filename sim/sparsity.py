"""What zeros are there, and what passing over them is worth: of a network, layer by layer."""

from dataclasses import dataclass

import numpy as np
from rich.table import Table

from gen.activity import assumed_cycles, nonzero
from gen.compile import compile_model
from gen.cycles import predict
from gen.fold import fold_channels
from gen.lower import lower
from gen.targets import PRESETS, Target
from hw.config import CoreConfig
from hw.drain import Drain
from hw.issue import Issue
from models.graph import Graph
from sim.activity import convolutions, visit_costs
from sim.golden import run

PAYS = 1.01             # a smaller speed-up is none
SIDE, CHANNELS = 8, 16  # of the layer that the last table is about: 3x3, K = 144


@dataclass(frozen=True, kw_only=True)
class LayerSparsity:
    """Zeros of a layer and their worth, means over the inputs.

    Parameters
    ----------
    name : str
    macs : int
    activations : float or None
        Part of the patch bytes that equal the zero point, padding included; None if the layer is
        no convolution and not fully connected.
    weight_rows : float
        Part of the rows of C weights that are all zero (`core.C` columns, one lane).
    work : float
        Part of the pairs of a patch byte and a row of C weights of which neither is zero.
    dense, skipping : float
        Predicted cycles.
    """

    name: str
    macs: int
    activations: float | None
    weight_rows: float
    work: float
    dense: float
    skipping: float

    @property
    def ideal(self) -> float:
        """Speed-up if zeros cost nothing and nothing else were in the way."""
        return 1 / max(1e-3, self.work)

    @property
    def expected(self) -> float:
        """Speed-up by the cycle model."""
        return self.dense / self.skipping


def sparsity(graph: Graph, target: Target, inputs: np.ndarray) -> list[LayerSparsity]:
    """Measure the zeros of a network on inputs.

    Parameters
    ----------
    graph : Graph
    target : Target
        Without scanners (`skip=off`) nothing is gained.
    inputs : numpy.ndarray
        int8 [N, ...].
    """
    program = compile_model(graph, target)
    found: dict[int, list[np.ndarray]] = {}
    cycles = []
    for x in inputs:
        golden = run(graph, x[None])
        cycles.append([c.total for c in predict(
            program, costs=visit_costs(program, golden, 0, x))])
        for number, _, d, memory in convolutions(program, golden, 0, x):
            found.setdefault(number, []).append(nonzero(d | {"skip": 1}, memory).mean(axis=0))
    rows = _weight_rows(graph, target.config)
    return [LayerSparsity(
        name=layer.name, macs=layer.macs, dense=full.total,
        weight_rows=1 - float(rows[layer.name].mean()) if layer.name in rows else 0.0,
        activations=1 - float(np.mean([one.mean() for one in found[number]]))
        if number in found else None, work=_work(found.get(number, []), rows.get(layer.name)),
        skipping=float(np.mean([one[number] for one in cycles])))
        for number, (layer, full) in enumerate(
            zip(program.layers, predict(program, dense=True), strict=True))]


def _weight_rows(graph, config):
    """Of every layer: which rows of C weights are not all zero, one after the other, by group."""
    found = {}
    for layer in lower(fold_channels(graph).graph, config).layers:
        rows = [np.asarray(step.weights.reshape(len(step.weights), -1, config.C).any(axis=2))
                for step in layer.steps if step.weights.size]
        if rows:
            widest = max(part.shape[1] for part in rows)
            found[layer.name] = np.concatenate([part for part in rows if part.shape[1] == widest])
    return found


def _work(seen, rows):
    """Mean over patch bytes: how often one is not zero times how many groups give it weights."""
    if not seen or rows is None:
        return 1.0
    kept = rows.mean(axis=0)
    return float(np.mean([one @ kept[:len(one)] / len(one) for one in seen
                          if len(one) <= len(kept)]))


def break_even(config: CoreConfig) -> float:
    """Density of activations above which a 3x3 layer of 16 channels gains nothing.

    Evenly spread zeros, K = 144; passes are no closer than their drain.
    """
    size = 9 * CHANNELS
    d = {"kernel_h": 1, "segments": 1, "segment_bytes": size, "segment_pitch": 0, "in_start": 0,
         "in_h": SIDE, "row_bytes": SIDE * size, "y_start": 0, "stride_h": 1,
         "y_step": SIDE * size, "x_start": 0, "x_step": size, "out_w": SIDE, "out_h": SIDE,
         "offset": -128, "fill": -128, "skip": 1}
    least = Issue.apart(config, Drain.cycles(config))
    dense = max(least, -(-size // config.L))
    for percent in range(99, 0, -1):
        cycles = np.maximum(assumed_cycles(config, d, density=percent / 100), least).mean()
        if dense / cycles >= PAYS:
            return percent / 100
    return 0.0


def sparsity_table(graph: Graph, target: Target, layers: list[LayerSparsity]) -> Table:
    """Return a row per layer."""
    table = Table(title=f"{graph.name} on {target.name}: zeros and what they are worth")
    table.add_column("layer", overflow="fold")
    for name in ("MACs", "zero activations", "zero weight rows", "ideal", "dense cycles",
                 "cycles", "expected"):
        table.add_column(name, justify="right")
    for layer in layers:
        there = layer.activations is not None
        table.add_row(layer.name, f"{layer.macs:,}",
                      f"{layer.activations:.1%}" if there else "",
                      f"{layer.weight_rows:.1%}" if layer.macs else "",
                      f"{layer.ideal:.2f}x" if there else "",
                      f"{layer.dense:,.0f}", f"{layer.skipping:,.0f}",
                      f"{layer.expected:.2f}x" if there else "")
    dense, skipping = (sum(getattr(x, n) for x in layers) for n in ("dense", "skipping"))
    table.add_section()
    table.add_row("total", f"{sum(x.macs for x in layers):,}", "", "", "", f"{dense:,.0f}",
                  f"{skipping:,.0f}", f"{dense / skipping:.2f}x")
    return table


def break_even_text() -> str:
    """Up to which density passing over zeros pays, on every preset."""
    parts = [f"{name} {break_even(target.config):.0%}" for name, target in PRESETS.items()]
    return (f"pays below this density of activations (3x3, {CHANNELS} channels): "
            f"{', '.join(parts)}; above it costs nothing")
