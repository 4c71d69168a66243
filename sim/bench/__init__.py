"""Cycles, utilisation, area and clock of our networks on all presets: ``python -m sim.bench``."""
