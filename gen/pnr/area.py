"""Where the cells of a synthesised core went: counts by module of the flattened netlist."""

import json
from collections import Counter, defaultdict
from pathlib import Path

DEPTH = 4  # levels of hierarchy told apart
KINDS = {
    "SB_LUT4": "LUT", "LUT4": "LUT", "SB_CARRY": "carry", "CCU2C": "carry", "PFUMX": "mux",
    "L6MUX21": "mux", "TRELLIS_FF": "FF", "TRELLIS_DPR16X4": "LUT RAM", "SB_RAM40_4K": "RAM",
    "DP16KD": "RAM", "SB_SPRAM256KA": "SPRAM", "SB_MAC16": "DSP", "MULT18X18D": "DSP"}
COLUMNS = ("LUT", "FF", "carry", "mux", "LUT RAM", "RAM", "SPRAM", "DSP")


def kind_of(cell_type: str) -> str | None:
    """Return the column of a cell type, None for what is no cell of the device."""
    return "FF" if cell_type.startswith("SB_DFF") else KINDS.get(cell_type)


def cells_by_module(netlist: Path, top: str) -> dict[str, Counter]:
    """Count the cells of each module; a LUT belongs to the net that it drives."""
    modules = json.loads(netlist.read_text())["modules"]
    counts: dict[str, Counter] = defaultdict(Counter)
    for name, cell in modules[top]["cells"].items():
        kind = kind_of(cell["type"])
        if kind:
            module = ".".join(name.split(".")[:-1][:DEPTH]) or "top"
            counts[module][kind] += 1
    return dict(sorted(counts.items(), key=lambda item: -item[1]["LUT"] - item[1]["FF"]))


def area_report(netlist: Path, top: str) -> str:
    """Return a Markdown table of the cells by module, the largest first."""
    counts = cells_by_module(netlist, top)
    total = sum(counts.values(), Counter())
    lines = ["| module | " + " | ".join(COLUMNS) + " |", "|---|" + "---|" * len(COLUMNS)]
    for module, cells in (*counts.items(), ("**total**", total)):
        lines.append(f"| {module} | " + " | ".join(str(cells[kind] or "")
                                                   for kind in COLUMNS) + " |")
    return "\n".join(lines) + "\n"
