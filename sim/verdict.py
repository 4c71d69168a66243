"""How a measurement on simulated cores ends."""

import sys
from pathlib import Path

from gen.exits import FAILED, FINE


def verdict(mismatches: int, file: Path, cores: str = "the cores") -> int:
    """The exit code of a measurement; an error on stderr if bytes differ from the golden model.

    Parameters
    ----------
    mismatches : int
        Values that differ.
    file : Path
        Says which.
    cores : str
        Who wrote them.
    """
    if not mismatches:
        return FINE
    print(f"error: {cores} must write what the golden model computes, not {mismatches:,} other "
          f"values; see {file}", file=sys.stderr)
    return FAILED
