"""The sweep as a picture: speed-ups over the share of zeros, a panel for each core."""

from collections.abc import Sequence

from sim.svg import draw_svg, plain
from sim.sweep.measure import ABLE, Point

COLORS = dict(zip(ABLE["both"], ("#1565c0", "#ef6c00", "#2e7d32"), strict=True))
TICKS = (1, 2, 4, 8, 16, 32)
LEAST = 0.9      # bottom of the picture: a loss could be seen
ROOM = 2         # times the best measured speed-up: its top
KEY = "dots: RTL; lines: cycle model; dotted: ideal"


def draw(points: Sequence[Point], title: str) -> bytes:
    """The SVG file, the same bytes for the same points; the title says of what layer."""
    return draw_svg(lambda figure: _draw(figure, points, title), 10, 4.6)


def _draw(figure, points, title):
    targets = list(dict.fromkeys(point.target for point in points))
    panels = figure.subplots(1, len(targets), squeeze=False, sharey=True)[0]
    dots = {}
    for axes, target in zip(panels, targets, strict=True):
        for zeros, color in COLORS.items():
            mine = [point for point in points if (point.target, point.zeros) == (target, zeros)]
            shares = [100 * point.share for point in mine]
            axes.plot(shares, [point.ideal for point in mine], ":", color=color)
            axes.plot(shares, [point.predicted for point in mine], "-", color=color, linewidth=1)
            dots[zeros], = axes.plot(shares, [point.measured for point in mine], "o", color=color,
                                     markersize=4)
        axes.set_title(target)
        axes.set_xlabel("zeros, %")
        axes.set_yscale("log", base=2)
        axes.set_yticks(TICKS, labels=[f"{tick}x" for tick in TICKS])
        plain(axes)
    panels[0].set_ylim(LEAST, ROOM * max(point.measured for point in points))
    panels[0].set_ylabel(f"speed-up over --skip off\n({title})")
    labels = {"activations": "zero activations", "rows": "zero rows of C weights",
              "both": "as many of both"}
    figure.legend(dots.values(), [labels[zeros] for zeros in dots], title=KEY, ncols=len(dots),
                  loc="outside upper center", frameon=False)
