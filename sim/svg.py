"""Pictures as SVG files: one style, and the same bytes for the same results."""

import io
from collections.abc import Callable


def draw_svg(draw: Callable, width: float, height: float) -> bytes:
    """Return the file of a picture.

    Parameters
    ----------
    draw : callable
        Draws into the matplotlib Figure that it is given.
    width, height : float
        Inches.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure
    with rc_context({"svg.hashsalt": "systolith", "svg.fonttype": "none", "font.size": 9,
                     "font.family": "DejaVu Sans"}):
        figure = Figure(figsize=(width, height), layout="constrained")
        draw(figure)
        stream = io.BytesIO()
        figure.savefig(stream, format="svg", metadata={"Date": None})
    # matplotlib ends lines with blanks
    return b"\n".join(line.rstrip() for line in stream.getvalue().splitlines()) + b"\n"


def plain(axes, grid: str = "both") -> None:
    """Draw axes without the frame's upper and right lines, with a light grid behind the data."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis=grid, color="#eeeeee")
    axes.set_axisbelow(True)
