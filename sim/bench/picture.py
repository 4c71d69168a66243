"""The results as a picture: cycles by network, a bar for each preset and accelerator."""

import textwrap

from gen.targets import PRESETS
from sim.bench import vela
from sim.bench.text import NO_FIT, Results
from sim.svg import draw_svg, plain

OURS = ("#90caf9", "#42a5f5", "#1565c0", "#0d47a1")   # light to dark: small to large arrays
THEIRS = ("#bdbdbd", "#9e9e9e", "#757575", "#616161")
GROUP = 0.84         # of the distance between two networks
TITLE_COLUMNS = 20   # letters a line


def draw(results: Results) -> bytes:
    """The SVG file, the same bytes for the same results."""
    return draw_svg(lambda figure: _draw(figure, results), 10, 4.6)


def _draw(figure, results):
    bars = [(f"{name}, {PRESETS[name].config.macs} MACs/cycle", color,
             [row.cells[name].cycles for row in results.rows])
            for name, color in zip(results.presets, OURS, strict=False)]
    bars += [(f"{vela.title(name)}, {vela.macs_per_cycle(name)} MACs/cycle (Vela's estimate)",
              color, [row.arm[name] for row in results.rows])
             for name, color in zip(results.accelerators, THEIRS, strict=False)]
    known = [value for *_, values in bars for value in values if value]
    low, high = (min(known) / 2, max(known) * 4) if known else (1, 10)
    axes = figure.add_subplot(yscale="log" if known else "linear")
    width = GROUP / len(bars)
    for index, (label, color, values) in enumerate(bars):
        places = [x - GROUP / 2 + (index + 0.5) * width for x in range(len(values))]
        axes.bar(places, values, width * 0.92, color=color, label=label)
        for x, value in zip(places, values, strict=True):
            axes.text(x, (value or low) * 1.08, _short(value) if value else NO_FIT,
                      rotation=90, ha="center", va="bottom", fontsize=7.5,
                      color="#212121" if value else "#9e9e9e")
    axes.set_ylim(low, high)
    axes.set_ylabel("cycles of an inference, log scale"
                    + (", predicted" if results.predicted else ""))
    axes.set_xticks(range(len(results.rows)), [
        textwrap.fill(row.case.title.replace("`", "").replace("MLPerf Tiny ", ""),
                      TITLE_COLUMNS, break_on_hyphens=False) for row in results.rows])
    axes.tick_params(axis="x", length=0)
    plain(axes, grid="y")
    figure.legend(loc="outside upper center", ncols=2 if len(bars) > 3 else len(bars),
                  frameon=False)


def _short(value: float) -> str:
    """Three digits or so: 21.1 k, 960 k."""
    thousands = value / 1000
    return f"{thousands:.1f} k" if thousands < 100 else f"{thousands:,.0f} k"
