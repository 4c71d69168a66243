"""Where generated things go, and how output folders are filled: whole or not at all."""

import os
import tempfile
from collections.abc import Iterator, Mapping
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
def whole_file(path: Path) -> Iterator[Path]:
    """Give a name beside ``path`` to write to; the file takes its place if all went well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_files(folder: Path, files: Mapping[str, str]) -> None:
    """Write text files into a folder, made if need be; each is whole or as it was."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        with whole_file(folder / name) as partial:
            partial.write_text(text, encoding="utf-8")
