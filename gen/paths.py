"""Where generated things go, and how output folders are filled: whole or not at all."""

import os
import tempfile
from argparse import ArgumentTypeError
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from hw.config import ConfigError

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


def folder_argument(text: str) -> Path:
    """An output folder as the command line names it; the empty name is a usage error."""
    if not text:
        raise ArgumentTypeError("must name a folder, not ''; write . for the current one")
    return Path(text)


def require_folder(path: Path) -> None:
    """Refuse, before any work, an output folder that cannot be made or written.

    Raises
    ------
    ConfigError
        It or the nearest folder above it is something else or closed to writing.
    """
    there = next(p for p in (path, *path.absolute().parents) if p.exists())
    if not (there.is_dir() and os.access(there, os.W_OK | os.X_OK)):
        raise ConfigError(f"output must be in a folder that can be written, not in "
                          f"{str(there)!r}; give another path")


def require_file(path: Path) -> None:
    """Refuse, before any work, an output file that cannot be made or replaced.

    Raises
    ------
    ConfigError
        It is a folder or a device, or its folder cannot be written.
    """
    if path.exists() and not path.is_file():
        raise ConfigError(f"output must be a file, not {str(path)!r}; give another path")
    require_folder(path.parent)


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a name beside ``path`` to write to; the file takes its place if all went well."""
    require_file(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_files(folder: Path, files: Mapping[str, str | bytes]) -> None:
    """Write files into a folder, made if need be; they take their places once all are written."""
    with ExitStack() as stack:
        for name, content in files.items():
            partial = stack.enter_context(whole_file(folder / name))
            partial.write_bytes(content.encode() if isinstance(content, str) else content)
