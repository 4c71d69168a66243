"""What a simulation prints: a row per layer, the class scores, and a summary."""

from statistics import fmean as mean

from rich.table import Table
from rich.text import Text

from sim.loaded import STALLS
from sim.simulate import Simulation, mean_stalls

MOST_CLASSES = 20   # an output with more values is no classifier's
MOST_INPUTS = 16    # shown one by one


def layer_table(result: Simulation) -> Table:
    """Return a row per layer, averaged over the inputs whose layers were measured."""
    count = len(result.layers[0]["cycles"])
    table = Table(title=f"{result.program.model} on {result.program.target}"
                        + (f", mean of {count} inputs" if count > 1 else ""))
    table.add_column("layer", overflow="fold")
    for name in ("output", "MACs", "cycles", "MACs/cycle", "of peak",
                 *(f"{name} stalls" for name in STALLS)):
        table.add_column(name, justify="right")
    peak = result.program.core_config.macs
    for layer, info in zip(result.layers, result.program.layers, strict=True):
        cycles = mean(layer["cycles"])
        share = mean(layer["utilization"])
        stalls = mean_stalls(layer)
        table.add_row(layer["name"], "x".join(map(str, info.output.shape[1:])),
                      f"{layer['macs']:,}", f"{cycles:,.0f}",
                      f"{share * peak:.1f}" if layer["macs"] else "",
                      f"{share:.1%}" if layer["macs"] else "",
                      *(f"{stalls[name]:,.0f}" for name in STALLS))
    total = mean(result.cycles)
    table.add_section()
    table.add_row("total", "", f"{result.macs:,}", f"{total:,.0f}",
                  f"{result.macs / total:.1f}" if total else "",
                  f"{result.macs / (total * peak):.1%}" if total else "",
                  *(f"{sum(mean_stalls(layer)[name] for layer in result.layers):,.0f}"
                    for name in STALLS))
    return table


def score_table(result: Simulation) -> Table | None:
    """Return the scores of every class, None for outputs that are no classes."""
    scores = result.scores()
    if scores.shape[1] > MOST_CLASSES:
        return None
    table = Table(title="scores")
    table.add_column("input", justify="right")
    table.add_column("class", justify="right")
    for number in range(scores.shape[1]):
        table.add_column(str(number), justify="right")
    for number, row in enumerate(scores[:MOST_INPUTS]):
        best = int(row.argmax())
        table.add_row(str(number), str(best),
                      *(Text(f"{value:.3f}", style="bold" if i == best else "")
                        for i, value in enumerate(row)))
    return table


def summary(result: Simulation) -> str:
    """Return the closing lines."""
    count = len(result.cycles)
    shown = f"{result.cycles[0]:,}" if len(set(result.cycles)) == 1 else \
        f"{min(result.cycles):,}..{max(result.cycles):,}"
    inputs = "1 input" if count == 1 else f"{count} inputs"
    return f"{inputs}, {shown} cycles each, {result.mismatches} mismatches"
