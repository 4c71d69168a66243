"""One network on the RTL and on the netlist: the same bytes, in the same cycles."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gen.image import Program
from models.graph import Graph, ModelError
from sim.compare import Comparison, compare_layers
from sim.golden import run as golden_run
from sim.run import Session

POLL_CYCLES = 10_000  # the host notices the end of a run later through the shell's pins


class GateError(RuntimeError):
    """The RTL is wrong, or the netlist is another circuit; the text says where they differ."""


@dataclass(frozen=True)
class Proof:
    """What was the same.

    Parameters
    ----------
    cycles : int
        Of the inference.
    size : int
        Bytes read back from the core: the counters of all descriptors and the lines of all tensors.
    """

    cycles: int
    size: int


def require_resident(program: Program) -> None:
    """Refuse a program with pages: the shell's pins have no room for a store that keeps its pace.

    Raises
    ------
    ModelError
        It has some.
    """
    if program.stream:
        raise ModelError(f"{program.model}: constants must fit the memories of {program.target}, "
                         f"not come as pages; the netlist runs without a store")


def prove(graph: Graph, program: Program, x: np.ndarray, rtl: Path, gates: Path) -> Proof:
    """Run one input on both simulators of a core.

    Parameters
    ----------
    graph : Graph
    program : Program
        Compiled from it, without pages.
    x : numpy.ndarray
        int8, one input, without a first dimension of 1.
    rtl, gates : Path
        What ``sim.verilated.build`` and `build_netlist` returned.

    Raises
    ------
    ModelError
        The program has pages.
    GateError
        Bytes differ between golden model and RTL, or bytes or cycles between RTL and netlist.
    DeviceError
        A core refused something or did not finish.
    """
    require_resident(program)
    comparison = Comparison()
    golden = golden_run(graph, x[None])
    with Session(program, rtl) as session:
        inference = session.infer(x)
        compare_layers(comparison, program, golden, 0, 0, inference)
        wanted = session.remains()
    if comparison.first is not None:
        raise GateError(f"the RTL must compute what the golden model does, not {comparison.first}")
    with Session(program, gates) as session:
        session.limit = 2 * inference.cycles + POLL_CYCLES
        cycles = session.run(x).cycles
        found = session.remains()
    if cycles != inference.cycles:
        raise GateError(f"the netlist must take {inference.cycles:,} cycles as the RTL does, not "
                        f"{cycles:,}")
    differing = sum(a != b for a, b in zip(found, wanted, strict=True))
    if differing:
        raise GateError(f"the netlist must leave the {len(wanted):,} bytes of the RTL, not "
                        f"{differing:,} others")
    return Proof(cycles=cycles, size=len(wanted))
