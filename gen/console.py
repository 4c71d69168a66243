"""Where the command line prints: a console for tables, and what is being done meanwhile."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

WIDTH = 140   # of tables that go into a pipe


def console(stderr: bool = False) -> Console:
    """Return a console that prints text as it is."""
    found = Console(stderr=stderr, highlight=False, markup=False)
    if not found.is_terminal:
        found.width = WIDTH
    return found


def progress() -> Progress:
    """What is being done, how far and for how long; on stderr, silent in a pipe."""
    found = console(stderr=True)
    return Progress(TextColumn("{task.description}", markup=False), BarColumn(),
                    TextColumn("{task.fields[count]}"), TimeElapsedColumn(), console=found,
                    transient=True, disable=not found.is_terminal)


@contextmanager
def stages(name: str) -> Iterator[Callable[[str], None]]:
    """Give what is told each stage of something: "name: stage" is shown while it lasts."""
    with progress() as shown:
        task = shown.add_task("", total=None, count="")
        yield lambda text: shown.update(task, description=f"{name}: {text}")
