"""Tables that the command line prints: verdicts on operators, parameters, predicted cycles."""

from collections.abc import Sequence

from rich.table import Table

from gen.image import Program
from gen.report import summarize
from gen.store import Store
from gen.support import Verdict
from gen.targets import PRESETS, parameters


def verdict_table(title: str, verdicts: Sequence[Verdict]) -> Table:
    """Return a row per operator: shape, MACs, where it runs and why."""
    table = Table(title=title)
    table.add_column("operator", overflow="fold")
    table.add_column("output", justify="right")
    table.add_column("MACs", justify="right")
    table.add_column("runs on")
    table.add_column("why, what to do", overflow="fold")
    for verdict in verdicts:
        style = "red" if verdict.where == "unsupported" else None
        table.add_row(verdict.op, "x".join(map(str, verdict.shape)), f"{verdict.macs:,}",
                      verdict.where, verdict.reason, style=style)
    return table


def parameter_table() -> Table:
    """Return a row per parameter: range, value in each preset, meaning."""
    table = Table(title="parameters of the core: --set NAME=VALUE")
    table.add_column("name", no_wrap=True)
    table.add_column("may be", overflow="fold")
    for preset in PRESETS:
        table.add_column(preset, overflow="fold")
    table.add_column("meaning", overflow="fold")
    for name, choices, values, meaning in parameters():
        table.add_row(name, choices, *(values[preset] for preset in PRESETS), meaning)
    return table


def cycle_table(program: Program, store: Store) -> Table:
    """Return a row per layer: what the cycle model predicts."""
    values = summarize(program, store)
    table = Table(title=f"{program.model} on {program.target}, predicted")
    table.add_column("layer", overflow="fold")
    names = list(values["layers"][0]["stalls"])
    for name in ("MACs", "cycles", "of peak", *(f"{name} stalls" for name in names)):
        table.add_column(name, justify="right")
    for row in values["layers"]:
        table.add_row(row["name"], *_cells(row, row["stalls"]))
    table.add_section()
    table.add_row("total", *_cells(values, {
        name: sum(row["stalls"][name] for row in values["layers"]) for name in names}))
    return table


def _cells(values, stalls):
    return (f"{values['macs']:,}", f"{values['cycles']:,}",
            f"{values['utilization']:.1%}" if values["macs"] else "",
            *(f"{cycles:,}" for cycles in stalls.values()))
