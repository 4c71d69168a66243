"""The synthesised netlist, simulated beside the RTL that it was made of."""

from sim.gates.build import build_netlist
from sim.gates.prove import GateError, Proof, prove

__all__ = ["GateError", "Proof", "build_netlist", "prove"]
