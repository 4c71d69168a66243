"""Accuracy of an int8 image classifier over a labelled IDX data set, plain or gzipped.

A pixel of 0..255 means 0..1 to the network.
"""

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from math import prod
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track

from models.arguments import positive
from models.fashion.idx import IdxError, read_idx
from models.graph import Graph, ModelError
from models.tflite_reader import parse
from sim.golden import quantize, run

PIXEL_MAX = 255  # means 1.0
BATCH = 100  # images between two steps of the progress bar
EXAMPLE = """example:
  python -m sim.accuracy models/fashion/fashion.tflite \\
      fmnist/t10k-images-idx3-ubyte.gz fmnist/t10k-labels-idx1-ubyte.gz
"""

Classifier = Callable[[np.ndarray], np.ndarray]  # images int8 [N, H, W, C] to classes [N]


class AccuracyError(ValueError):
    """Model and data do not fit; the text names what, the rule, the value and the remedy."""


def golden_classifier(graph: Graph) -> Classifier:
    """Return a function from images int8 [N, H, W, C] to classes [N], by the golden model."""
    return lambda images: run(graph, images)[graph.output].reshape(len(images), -1).argmax(1)


def tflm_classifier(content: bytes) -> Classifier:
    """Return the same by TensorFlow Lite Micro, from the bytes of a .tflite.

    Raises
    ------
    AccuracyError
        The optional package tflite-micro is not installed.
    """
    try:
        from tflite_micro import runtime
    except ImportError as error:
        raise AccuracyError(f"tflite-micro must be installed for this engine, not "
                            f"{str(error)!r}; pip install tflite-micro") from error
    interpreter = runtime.Interpreter.from_bytes(content)

    def classify(image: np.ndarray) -> int:
        interpreter.set_input(image[None], 0)
        interpreter.invoke()
        return int(np.argmax(interpreter.get_output(0)))
    return lambda images: np.array([classify(image) for image in images])


def read_samples(graph: Graph, images: Path, labels: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return images int8 [N, H, W, C] as the network wants them, and labels uint8 [N].

    Raises
    ------
    IdxError
        A file cannot be read.
    AccuracyError
        Shapes of network, images and labels do not fit together.
    """
    pixels, wanted = read_idx(images), read_idx(labels)
    tensor = graph.tensors[graph.input]
    if not len(pixels) or prod(pixels.shape[1:]) != tensor.size:
        raise AccuracyError(f"{images} must hold images of {tensor.size} values, as {graph.name} "
                            f"wants, not {list(pixels.shape)}; give the data set it is for")
    if wanted.shape != pixels.shape[:1]:
        raise AccuracyError(f"{labels} must hold {len(pixels)} labels, one per image, not "
                            f"{list(wanted.shape)}; give the labels of the same split")
    table = quantize(tensor, np.arange(PIXEL_MAX + 1) / PIXEL_MAX)
    return table[pixels.reshape(-1, *tensor.shape[1:])], wanted


def accuracy(classify: Classifier, images: np.ndarray, labels: np.ndarray,
             progress: Callable[[Sequence], Iterable] = iter) -> float:
    """Return the share of images that classify gets right, 0..1.

    Parameters
    ----------
    classify : Classifier
    images : numpy.ndarray
        int8 [N, H, W, C], N at least 1.
    labels : numpy.ndarray
        [N].
    progress : callable
        Wraps the sequence of batches; draws a bar, for example.
    """
    starts = range(0, len(images), BATCH)
    right = sum(int(np.count_nonzero(classify(images[i:i + BATCH]) == labels[i:i + BATCH]))
                for i in progress(starts))
    return right / len(images)


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """Return the arguments; --help prints the example."""
    parser = argparse.ArgumentParser(
        prog="python -m sim.accuracy", description=__doc__, epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="int8 .tflite of a classifier")
    parser.add_argument("images", type=Path, help="IDX file of images, uint8 [N, H, W]")
    parser.add_argument("labels", type=Path, help="IDX file of labels, uint8 [N]")
    parser.add_argument("-e", "--engine", choices=("golden", "tflm"), default="golden",
                        help="our golden model, or TensorFlow Lite Micro")
    parser.add_argument("-n", "--limit", type=positive, metavar="N",
                        help="only the first N images")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Print the accuracy; return 0, or 2 after a one-line error."""
    args = parse_args(argv)
    try:
        content = args.model.read_bytes()
        graph = parse(content, args.model.stem, source=args.model.name)
        samples, labels = read_samples(graph, args.images, args.labels)
        samples, labels = samples[:args.limit], labels[:args.limit]
        classify = golden_classifier(graph) if args.engine == "golden" else tflm_classifier(content)
        bar = partial(track, description=args.engine, console=Console(stderr=True))
        share = accuracy(classify, samples, labels, bar)
    except (AccuracyError, IdxError, ModelError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: {args.model} must be readable, not {error.strerror!r}; check the path",
              file=sys.stderr)
        return 2
    print(f"{args.model.name}: {share:.2%} of {len(labels)} images ({args.engine})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
