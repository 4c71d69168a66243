"""The curve as a picture: accuracy and cycles over the zeros among the weights."""

from collections.abc import Sequence

from sim.curve.measure import Point
from sim.svg import draw_svg, plain


def draw(points: Sequence[Point]) -> bytes:
    """The SVG file, the same bytes for the same points."""
    return draw_svg(lambda figure: _draw(figure, points), 10, 4.6)


def _draw(figure, points):
    left, right = figure.subplots(1, 2)
    for point in points:
        zeros = 100 * point.zero_weights
        (dot,) = left.plot(zeros, 100 * point.accuracy, "o", label=point.model)
        right.plot(zeros, point.dense_cycles, "o", color=dot.get_color(), fillstyle="none")
        right.plot(zeros, point.cycles, "o", color=dot.get_color())
    left.set_ylabel(f"accuracy, % of {points[0].images:,} images")
    right.set_ylabel(f"cycles of an inference on {points[0].target}\n(rings: --skip off)")
    right.set_ylim(bottom=0)
    for axes in (left, right):
        axes.set_xlabel("MACs whose weight is zero, %")
        plain(axes)
    figure.legend(*left.get_legend_handles_labels(), loc="outside upper center", frameon=False,
                  ncols=min(4, len(points)))
