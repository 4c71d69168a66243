"""The networks that are measured and tested, and inputs for them: ours and MLPerf Tiny's four."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from models.fetch import DEFAULT_FOLDER, MODELS, fetch

OURS = Path(__file__).resolve().parent / "fashion"
# Where the networks may lie with real inputs beside them: NAME.input.npy, int8 [N, ...].
SHARED = Path(__file__).resolve().parents[2] / "shared" / "mlperf_tiny"
SEED = 1   # of random inputs


@dataclass(frozen=True, kw_only=True)
class Network:
    """A network that we know by name.

    Parameters
    ----------
    name : str
        Stem of its file.
    title : str
        For readers.
    """

    name: str
    title: str


NETWORKS = (
    Network(name="fashion", title="our Fashion-MNIST network"),
    Network(name="ic_resnet8", title="MLPerf Tiny ResNet-8"),
    Network(name="kws_dscnn", title="MLPerf Tiny DS-CNN, keyword spotting"),
    Network(name="vww_mobilenet", title="MLPerf Tiny MobileNet, visual wake words"),
    Network(name="ad_autoencoder", title="MLPerf Tiny autoencoder"),
)


def mlperf_folder() -> Path | None:
    """Folder that holds all four networks of MLPerf Tiny; None if they must be fetched."""
    return next((folder for folder in (SHARED, DEFAULT_FOLDER)
                 if all((folder / model.name).is_file() for model in MODELS)), None)


def model_path(name: str) -> Path:
    """File of a network; those of MLPerf Tiny are fetched into build/models if need be.

    Raises
    ------
    FetchError
        They are not there and cannot be fetched.
    """
    if name == OURS.name:
        return OURS / f"{name}.tflite"
    folder = mlperf_folder()
    if folder is None:
        fetch(DEFAULT_FOLDER)
        folder = DEFAULT_FOLDER
    return folder / f"{name}.tflite"


def real_inputs(path: Path) -> Path | None:
    """File of real inputs beside a network, int8 [N, ...]; None if there is none."""
    names = (f"{path.stem}.input.npy", *(("images.npy",) if path.parent == OURS else ()))
    return next((path.with_name(name) for name in names if path.with_name(name).is_file()), None)


def random_inputs(shape: tuple[int, ...], count: int) -> np.ndarray:
    """Inputs where there are no real ones, the same on every call: int8 [count, *shape]."""
    return np.random.default_rng(SEED).integers(-128, 128, (count, *shape), np.int8)
