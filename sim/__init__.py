"""Simulation: the bit-exact golden model, and what drives the generated core against it."""
