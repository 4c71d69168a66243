"""Where the command line prints: a console for tables, and what is being done meanwhile."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    Task,
    TextColumn,
    TimeElapsedColumn,
)
from rich.text import Text

WIDTH = 140   # of tables that go into a pipe


def console(stderr: bool = False, width: int = WIDTH) -> Console:
    """Return a console that prints text as it is, so wide in a pipe."""
    found = Console(stderr=stderr, highlight=False, markup=False)
    if not found.is_terminal:
        found.width = width
    return found


class Count(MofNCompleteColumn):
    """How far a task is: its field ``count``, else how many of how many are done."""

    def render(self, task: Task) -> Text:
        """Return what is shown."""
        count = task.fields.get("count")
        return super().render(task) if count is None else Text(count)


def progress(kept: Console | None = None) -> Progress:
    """What is being done, how far and for how long.

    On stderr, gone at the end, silent in a pipe; or on a console where it is kept.
    """
    found = kept or console(stderr=True)
    return Progress(TextColumn("{task.description}", markup=False), BarColumn(), Count(),
                    TimeElapsedColumn(), console=found, transient=kept is None,
                    disable=kept is None and not found.is_terminal)


@contextmanager
def stages(name: str) -> Iterator[Callable[[str], None]]:
    """Give what is told each stage of something: "name: stage" is shown while it lasts."""
    with progress() as shown:
        task = shown.add_task("", total=None, count="")
        yield lambda text: shown.update(task, description=f"{name}: {text}")
