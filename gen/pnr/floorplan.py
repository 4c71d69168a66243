"""Where the multipliers and the shared memories of a core go on an ECP5.

nextpnr spreads the hard blocks of two clusters over each other; wires then cross the whole device.
Cluster by cluster and column by column, as here, `ecp5-85k` routes in half the time and runs at
78 MHz instead of 60.
"""

import json
import re
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

DSP_SITES = ((0, "MULT18_0"), (1, "MULT18_1"), (4, "MULT18_4"), (5, "MULT18_5"))
EBR_SITES = ((0, "EBR0"), (2, "EBR1"), (4, "EBR2"), (6, "EBR3"))
SERDES = "um5g-"         # devices with transceivers are else the same
SHARED_PER_ROW = 40      # of the RAM blocks of a row, before another row is taken


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Columns and rows where a device has DSP and RAM blocks, four in a column (prjtrellis).

    Parameters
    ----------
    columns : tuple of int
        X of the first block of each four.
    dsp_rows, ebr_rows : tuple of int
        Y, those in the middle of the device first among ``ebr_rows``.
    """

    columns: tuple[int, ...]
    dsp_rows: tuple[int, ...]
    ebr_rows: tuple[int, ...]

    def sites(self, row: int, kinds: tuple[tuple[int, str], ...]) -> list[str]:
        """nextpnr's names of a row's blocks, from the left."""
        return [f"X{x + step}/Y{row}/{name}" for x in self.columns for step, name in kinds]


GRIDS = {     # not the 25k: with one row of multipliers the placer does better alone
    "85k": Grid(columns=(*range(4, 59, 9), *range(69, 115, 9)), dsp_rows=(10, 34, 58),
                ebr_rows=(22, 46, 70, 82)),
}


def floorplan(netlist: Path, top: str, device: str) -> None:
    """Give the blocks of a synthesised core their places, in the netlist itself."""
    grid = GRIDS.get(device.removeprefix(SERDES))
    if grid is None:
        return
    design = json.loads(netlist.read_text())
    cells = design["modules"][top]["cells"]
    of_type = {kind: sorted((name for name, cell in cells.items() if cell["type"] == kind),
                            key=natural) for kind in ("MULT18X18D", "DP16KD")}
    for name, site in places(of_type["MULT18X18D"], of_type["DP16KD"], grid).items():
        cells[name]["attributes"]["BEL"] = site
    netlist.write_text(json.dumps(design))


def natural(name: str) -> list:
    """Sort key in which numbers count as numbers."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]


def places(multipliers: list[str], memories: list[str], grid: Grid) -> dict[str, str]:
    """Sites by cell name; cells for which there is no room are left to the placer."""
    rows = [grid.sites(row, DSP_SITES) for row in grid.dsp_rows]
    clusters = sorted({cluster for name in multipliers if (cluster := _cluster(name)) is not None})
    found: dict[str, str] = {}
    for cluster in reversed(clusters):
        if len(clusters) > 1 and cluster:              # the right half; what is left for the other
            own = [row[len(row) // 2:] for row in rows]
        else:
            used = set(found.values())
            own = [[site for site in row if site not in used] for row in rows]
        mine = [name for name in multipliers if _cluster(name) == cluster]
        requantizers = [name for name in mine if ".requant" in name]
        found |= _around(requantizers, own, [name for name in mine if ".requant" not in name],
                         outside_first=cluster == 0)
    return found | _shared(memories, grid)


def _cluster(name):
    match = re.search(r"\bcluster(\d+)\.", name)
    return int(match[1]) if match else None


def _around(requantizers, rows, multipliers, outside_first):
    """Requantizers in the middle of the middle row; columns follow each other around them."""
    middle = len(rows) // 2
    row = rows[middle]
    begin = max(0, (len(row) - len(requantizers)) // 2)
    chosen = row[begin:begin + len(requantizers)]
    rest = [site for site in row if site not in chosen]
    above, below = rows[:middle], rows[middle + 1:]
    step = -1 if outside_first else 1                  # from the inside out, and back in
    way = [*chain.from_iterable(r[::step] for r in above), *rest,
           *chain.from_iterable(r[::-step] for r in below)]
    return dict(zip(requantizers, chosen, strict=False)) | dict(
        zip(multipliers, way, strict=False))


def _shared(memories, grid):
    """Between the clusters: parameters, around them the banks, column by column of all lanes."""
    banks = sorted((name for name in memories if ".weights" in name),
                   key=lambda name: (natural(name.split(".")[-1]), natural(name)))
    params = sorted((name for name in memories if ".params" in name), key=natural)
    banks[len(banks) // 2:len(banks) // 2] = params
    count = min(len(grid.ebr_rows), max(2, -(-len(banks) // SHARED_PER_ROW)))
    each = -(-len(banks) // count)
    rows = []
    for y in grid.ebr_rows[:count]:
        sites = grid.sites(y, EBR_SITES)
        begin = max(0, (len(sites) - each) // 2)
        rows.append(sites[begin:begin + each])
    order = [site for same in zip(*rows, strict=True) for site in same]
    return dict(zip(banks, order, strict=False))
