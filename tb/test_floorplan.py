"""Where hard blocks go: real sites, each once, clusters apart, whatever the configuration."""

import json
import re

import pytest

from gen.pnr.floorplan import DSP_SITES, EBR_SITES, GRIDS, floorplan, places


def names(clusters: int, macs: int, requantizers: int, banks: int) -> tuple[list[str], list[str]]:
    """Cells as Yosys names those of a core."""
    multipliers = [f"core.cluster{p}.columns{n // 8}.mac{n // 2 % 4}.mult{n % 2}"
                   for p in range(clusters) for n in range(macs)]
    multipliers += [f"core.cluster{p}.drain.requant{n // 4}.scale.mult.mult_{n % 4}"
                    for p in range(clusters) for n in range(requantizers)]
    memories = [f"core.weights$285.bank{lane}.ram.block0_{n}"
                for lane in range(4) for n in range(banks)]
    return multipliers, [*memories, "core.params$1.bias0.ram.block0_0", "core.act.ram.block0_0"]


@pytest.mark.parametrize("device", GRIDS)
@pytest.mark.parametrize(("clusters", "macs", "requantizers", "banks"), [
    (2, 62, 16, 16), (1, 20, 8, 4), (2, 32, 4, 40), (1, 0, 0, 1), (2, 100, 40, 60)])
def test_every_block_has_a_site_of_its_own(device, clusters, macs, requantizers, banks):
    grid = GRIDS[device]
    multipliers, memories = names(clusters, macs, requantizers, banks)
    found = places(multipliers, memories, grid)
    dsps = {site for row in grid.dsp_rows for site in grid.sites(row, DSP_SITES)}
    rams = {site for row in grid.ebr_rows for site in grid.sites(row, EBR_SITES)}
    assert len(set(found.values())) == len(found)
    assert {found[name] for name in multipliers if name in found} <= dsps
    assert {found[name] for name in memories if name in found} <= rams
    if len(multipliers) <= len(dsps):
        assert set(multipliers) <= set(found)
    assert "core.act.ram.block0_0" not in found, "activations go where the placer likes them"


def test_clusters_are_left_and_right():
    found = places(*names(2, 62, 16, 16), GRIDS["85k"])

    def middle(part):
        columns = [int(re.findall(r"X(\d+)/", site)[0]) for name, site in found.items()
                   if part in name]
        return sum(columns) / len(columns)
    assert middle("cluster0") < middle("weights") < middle("cluster1")
    rows = {site.split("/")[1] for name, site in found.items() if "requant" in name}
    assert rows == {"Y34"}, "requantizers in the middle row"


def test_netlist_carries_the_sites(tmp_path):
    multipliers, _ = names(1, 8, 4, 1)
    cells = {name: {"type": "MULT18X18D", "attributes": {}} for name in multipliers}
    netlist = tmp_path / "design.json"
    netlist.write_text(json.dumps({"modules": {"shell": {"cells": cells}}}))
    floorplan(netlist, "shell", "25k")                  # which is left to the placer
    assert "BEL" not in netlist.read_text()
    floorplan(netlist, "shell", "um5g-85k")
    written = json.loads(netlist.read_text())["modules"]["shell"]["cells"]
    assert all(cell["attributes"]["BEL"].startswith("X") for cell in written.values())
