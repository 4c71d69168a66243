"""Which operators run where: on the core, on the host, or not at all and what to do about it."""

from dataclasses import dataclass

from hw.config import CoreConfig
from models.graph import Graph, ModelError


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Where an operator runs.

    Parameters
    ----------
    op : str
        Its name.
    kind : str
    shape : tuple of int
        Of its output.
    macs : int
    where : str
        "core", "host" or "unsupported".
    reason : str
        One line: why, and for "unsupported" what to do.
    """

    op: str
    kind: str
    shape: tuple[int, ...]
    macs: int
    where: str
    reason: str = ""


def require_supported(graph: Graph, config: CoreConfig):
    """Raise ModelError for the first operator that does not run anywhere."""
