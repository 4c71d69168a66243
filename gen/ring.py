"""A memory through which pages rotate: where the next one goes, and what must be over before."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

OPEN = 1 << 30     # a command that is not known yet


@dataclass(frozen=True, kw_only=True)
class Tenant:
    """Units ``begin .. end - 1`` of a ring, which hold a block."""

    begin: int
    end: int


class Ring:
    """Remembers of each unit which command must run before it can be overwritten.

    Parameters
    ----------
    size : int
        Units: weight rows, parameter groups or lines.
    """

    def __init__(self, size: int):
        self.size = size
        self._after = np.zeros(size, np.int64)
        self._tenants: dict[bytes | int, Tenant] = {}

    def find(self, block: bytes) -> Tenant | None:
        """Where a block still is."""
        return self._tenants.get(block)

    def take(self, block: bytes | None, units: int) -> tuple[Tenant, list[tuple[int, int, int]]]:
        """Room for a block (None: of its own kind) that is soon free.

        Returns
        -------
        Tenant and list of (begin, end, after)
            Its place; the parts in which it can be written, as soon as command ``after`` runs.

        Raises
        ------
        ValueError
            The block exceeds the ring.
        """
        if units > self.size:
            raise ValueError(f"a ring of {self.size} must hold {units}")
        edges = {0, self.size - units, *(t.end for t in self._tenants.values()),
                 *(t.begin - units for t in self._tenants.values())}
        begin = min(sorted(e for e in edges if 0 <= e <= self.size - units), key=lambda begin: (
            self._after[begin:begin + units].max(), self._after[begin:begin + units].sum()))
        tenant = Tenant(begin=begin, end=begin + units)
        for key, other in list(self._tenants.items()):
            if other.begin < tenant.end and tenant.begin < other.end:
                del self._tenants[key]
        self._tenants[id(tenant) if block is None else block] = tenant
        after = self._after[tenant.begin:tenant.end]
        cuts = [0, *(np.flatnonzero(np.diff(after)) + 1).tolist(), units]
        parts = [(begin + a, begin + b, int(after[a])) for a, b in pairwise(cuts)]
        assert after.max() < OPEN          # a command needs one block of a ring
        after[:] = OPEN
        return tenant, sorted(parts, key=lambda part: part[2])

    def use(self, tenant: Tenant, command: int):
        """A command, later than all before, reads a block."""
        self._after[tenant.begin:tenant.end] = command + 1
