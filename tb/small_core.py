"""Build the simulator of a small core or its netlist in seconds: one file, no optimization.

`sim.verilated.build` makes fast simulators slowly; tests of many cores want the opposite.
"""

import hashlib
import os
import subprocess
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from gen.paths import build_folder
from gen.targets import Target
from gen.verilog import emit
from hw.config import CoreConfig
from sim.gates.build import read_netlist
from sim.verilated import CELL_MODELS, HARNESS, environment, wrapper

VERILATE = ("--cc", "--x-assign", "fast", "--x-initial", "fast", "--no-assert", "-Wno-fatal",
            "-Wno-lint", "-Wno-style", "--top-module", "sim_top", "--Mdir", "obj")
COMPILE = ("-std=gnu++20", "-w", "-DVM_TRACE=0", "-DVM_COVERAGE=0", "-DVM_SC=0", "-DVM_TIMING=0")
LIBRARY = ("verilated.cpp", "verilated_threads.cpp")


def build(config: CoreConfig, folder: Path, core: str = "") -> Path:
    """Return the simulator of a core for `sim.device.Device`, built in a folder.

    ``core`` is its Verilog, if that is there already.
    """
    core = core or emit(config)
    (folder / "systolith.v").write_text(core)
    (folder / "sim_top.v").write_text(wrapper(config, core))
    return compile_simulator(folder, ["sim_top.v", "systolith.v"], config, HARNESS)


def build_netlist(target: Target, folder: Path) -> Path:
    """Return the simulator of the core's netlist in a folder, built there."""
    netlist = read_netlist(target, folder)
    for name, text in netlist.sources.items():
        (folder / name).write_text(text)
    return _compiled(folder, [*netlist.options, *netlist.sources, *netlist.cells], HARNESS)


def compile_simulator(folder: Path, sources: list[str], config: CoreConfig, harness: Path,
                      optimize: str = "-O0") -> Path:
    """Return the simulator of Verilog files around a core, driven by a harness."""
    cells = [] if config.memory == "plain" and config.multiplier == "lut" \
        else sorted(CELL_MODELS.glob("*.v"))
    return _compiled(folder, [*sources, *cells], harness, optimize)


def _compiled(folder: Path, arguments: Sequence, harness: Path, optimize: str = "-O0") -> Path:
    env = environment()
    _run(["verilator_bin", *VERILATE, *arguments], folder, env)
    parts = [*sorted((folder / "obj").glob("*.cpp")), harness]
    (folder / "all.cpp").write_text("".join(f'#include "{part}"\n' for part in parts))
    _run(["g++", *COMPILE, *_includes(env), "-I", "obj", optimize, "all.cpp", *_library(env),
          "-pthread", "-o", "simulate"], folder, env)
    return folder / "simulate"


def _library(env: dict[str, str]) -> list[Path]:
    """Objects of Verilator's library, compiled once."""
    key = hashlib.sha256(f"{COMPILE}{env['VERILATOR_ROOT']}".encode()).hexdigest()[:8]
    kept = build_folder() / f"verilated-{version('verilator')}-{key}-small"
    kept.mkdir(parents=True, exist_ok=True)
    objects = [kept / Path(name).with_suffix(".o") for name in LIBRARY]
    for name, target in zip(LIBRARY, objects, strict=True):
        if not target.is_file():
            part = target.with_suffix(f".{os.getpid()}.o")
            source = Path(env["VERILATOR_ROOT"]) / "include" / name
            _run(["g++", *COMPILE, *_includes(env), "-O1", "-c", source, "-o", part], kept, env)
            part.replace(target)
    return objects


def _includes(env: dict[str, str]) -> tuple[str, ...]:
    include = Path(env["VERILATOR_ROOT"]) / "include"
    return ("-I", str(include), "-I", str(include / "vltstd"))


def _run(command, folder: Path, env: dict[str, str]) -> None:
    done = subprocess.run([str(part) for part in command], cwd=folder, env=env, check=False,
                          capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, f"{command[0]} failed: {done.stderr[-3000:]}"
