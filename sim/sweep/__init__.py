"""Speed-up of one layer against the share of zeros: ``python -m sim.sweep``."""
