"""Tables that the command line prints: verdicts on operators, parameters of the core."""

from collections.abc import Sequence

from rich.table import Table

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
