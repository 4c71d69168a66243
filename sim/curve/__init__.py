"""Accuracy against sparsity against measured cycles: ``python -m sim.curve``."""
