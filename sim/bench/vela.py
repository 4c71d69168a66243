"""Arm's estimate of the same networks on an Ethos-U55: what its compiler Vela says."""

import csv
import importlib.util
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

PACKAGE = "ethos-u-vela"
INSTALL = ".venv/bin/pip install -c constraints.txt -e '.[bench]'"
ACCELERATORS = ("ethos-u55-32", "ethos-u55-64", "ethos-u55-128", "ethos-u55-256")
# Weights and activations on chip, as our presets have them; the files are part of the package.
OPTIONS = ("--config", "Arm/vela.ini", "--system-config", "Ethos_U55_High_End_Embedded",
           "--memory-mode", "Sram_Only")
# Vela has two compilers, each with an estimator; the smaller estimate counts.
COMPILERS = ("--debug-force-regor", "--debug-force-legacy-core")
COLUMN = "cycles_total"


class VelaError(RuntimeError):
    """Vela failed or wrote something else; the text names what, the rule and the remedy."""


def title(accelerator: str) -> str:
    """An accelerator's name for readers: "Arm U55-128"."""
    return f"Arm {accelerator.removeprefix('ethos-').upper()}"


def macs_per_cycle(accelerator: str) -> int:
    """Its peak."""
    return int(accelerator.rsplit("-", 1)[1])


def find(executable: Path | None = None) -> list[str] | None:
    """The command that runs Vela: the given one, the installed one; None if there is none."""
    if executable is not None:
        return [str(executable)]
    if importlib.util.find_spec("ethosu") is not None:
        return [sys.executable, "-m", "ethosu.vela"]
    found = shutil.which("vela")
    return [found] if found else None


def version(command: list[str]) -> str:
    """Vela's version.

    Raises
    ------
    VelaError
        The command cannot be run or says no version.
    """
    text = run(command, ["--version"]).strip()
    if not re.fullmatch(r"\d[\w.]*", text):
        raise VelaError(f"{command[-1]} --version must print a version, not {text[:60]!r}; "
                        f"install {PACKAGE}: {INSTALL}")
    return text


def run(command: list[str], arguments: Iterable[str]) -> str:
    """Run Vela and return what it printed.

    Raises
    ------
    VelaError
        It cannot be run or fails.
    """
    try:
        done = subprocess.run([*command, *arguments], check=False, capture_output=True, text=True)
    except OSError as error:
        raise VelaError(f"{command[0]} must be Vela's executable, not {error.strerror!r}; "
                        f"install {PACKAGE}: {INSTALL}") from None
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()[-1]
        raise VelaError(f"{command[-1]} must succeed, not end with {last[:120]!r}; "
                        f"install {PACKAGE} again: {INSTALL}")
    return done.stdout


def estimate(command: list[str], model: Path, accelerator: str, folder: Path) -> int:
    """Cycles of one inference on an accelerator, the better of Vela's two compilers.

    Parameters
    ----------
    command : list of str
        From `find`.
    model : Path
        .tflite file.
    accelerator : str
        One of ACCELERATORS.
    folder : Path
        For Vela's output; a folder each is made in it.

    Raises
    ------
    VelaError
        Vela failed, or wrote no summary.
    """
    found = []
    for compiler in COMPILERS:
        output = folder / f"{model.stem}-{accelerator}{compiler.removeprefix('--debug-force')}"
        shutil.rmtree(output, ignore_errors=True)
        run(command, [str(model), "--accelerator-config", accelerator, *OPTIONS, compiler,
                      "--output-dir", str(output)])
        summaries = list(output.glob("*_summary_*.csv"))
        if len(summaries) != 1:
            raise VelaError(f"Vela must write one summary, not {len(summaries)}, into {output}; "
                            f"take another version of {PACKAGE}")
        found.append(parse_summary(summaries[0].read_text()))
    return min(found)


def parse_summary(text: str) -> int:
    """Cycles of one inference from the CSV summary of one network, rounded down.

    Raises
    ------
    VelaError
        It has no such column or no number in it.
    """
    rows = list(csv.DictReader(text.splitlines()))
    value = rows[0].get(COLUMN) if rows else None
    try:
        return int(float(value or ""))
    except ValueError:
        raise VelaError(f"Vela's summary must have a number as {COLUMN}, not {value!r}; "
                        f"take another version of {PACKAGE}") from None
