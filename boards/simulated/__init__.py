"""A board's own top in a simulation, behind a pseudo-terminal."""
