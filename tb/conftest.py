"""Fixtures shared by all tests: where the repository and the reference data are."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from models.fetch import MODELS
from models.zoo import SHARED, mlperf_folder

ROOT = Path(__file__).resolve().parents[1]
NETWORKS = tuple(sorted(Path(model.name).stem for model in MODELS))


def fetched_folder() -> Path | None:
    """Folder with the MLPerf Tiny networks, fetched if need be; None if that fails."""
    if mlperf_folder() is None:
        subprocess.run([sys.executable, "-m", "models.fetch"], cwd=ROOT, check=False,
                       capture_output=True)
    return mlperf_folder()


@pytest.fixture(scope="session")
def root() -> Path:
    """Return the repository's root."""
    return ROOT


@pytest.fixture(scope="session")
def fashion() -> Path:
    """Return the folder of our own network, its test images and labels."""
    return ROOT / "models" / "fashion"


@pytest.fixture(scope="session")
def mlperf() -> Path:
    """Return the folder of the four MLPerf Tiny networks; skip if they cannot be had."""
    folder = fetched_folder()
    if folder is None:
        pytest.skip("the MLPerf Tiny networks are not here and 'make models' could not fetch them")
    return folder


@pytest.fixture(scope="session")
def mlperf_reference() -> Path:
    """Return the folder with real inputs and TFLM's output of every layer."""
    if not (SHARED / "ic_resnet8.npz").is_file():
        pytest.skip(f"no recorded outputs of TFLM in ../{SHARED.parent.name}/{SHARED.name}; "
                    "tflite-micro judges the same networks in the other tests")
    return SHARED


@pytest.fixture(scope="session")
def tflite_micro():
    """Return TensorFlow Lite Micro's Python runtime, the independent judge."""
    if importlib.util.find_spec("tflite_micro") is None:
        pytest.skip("tflite-micro is not installed: run make setup")
    from tflite_micro import runtime
    return runtime
