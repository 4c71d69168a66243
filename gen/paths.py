"""Where generated things go, and how output folders are filled: whole or not at all."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def build_folder() -> Path:
    """Return build/ of the repository, or the user's cache where systolith is installed."""
    if (ROOT / "pyproject.toml").is_file():
        return ROOT / "build"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "systolith"


@contextmanager
def work_folder(kind: str) -> Iterator[Path]:
    """Give a new folder under build/, gone at the end."""
    parent = build_folder() / kind
    parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=parent, prefix=".work-") as folder:
        yield Path(folder)


@contextmanager
def output_folder(target: Path) -> Iterator[Path]:
    """Give an empty folder beside ``target``; its files move there if all went well.

    ``target`` may exist; files of other names in it stay as they are.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}-"))
    try:
        yield scratch
        target.mkdir(exist_ok=True)
        for path in sorted(scratch.iterdir()):
            path.replace(target / path.name)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def write_whole(path: Path, text: str) -> None:
    """Write a text file so that ``path`` holds all of it or is left as it was."""
    with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=".", delete=False,
                                     encoding="utf-8") as file:
        partial = Path(file.name)
    try:
        partial.write_text(text, encoding="utf-8")
        partial.chmod(0o644)
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
