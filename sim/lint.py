"""Lint emitted Verilog with Verilator, the waivers listed with their reasons in lint.vlt."""

import subprocess
from pathlib import Path

from gen.paths import work_folder
from gen.verilog import TOP
from sim.verilated import CELL_MODELS, environment

WAIVERS = Path(__file__).with_name("lint.vlt")


def lint(verilog: str) -> list[str]:
    """Return what ``verilator --lint-only -Wall`` says about a core, waivers applied.

    Raises
    ------
    ToolError
        Verilator is missing.
    """
    with work_folder("lint") as folder:
        (folder / "systolith.v").write_text(verilog)
        done = subprocess.run(
            ["verilator_bin", "--lint-only", "-Wall", "--top-module", TOP, str(WAIVERS),
             "systolith.v", *map(str, sorted(CELL_MODELS.glob("*.v")))],
            cwd=folder, env=environment(), check=False, capture_output=True, text=True)
    return [line for line in (done.stdout + done.stderr).splitlines()
            if line.startswith("%") and "Exiting due to" not in line]
