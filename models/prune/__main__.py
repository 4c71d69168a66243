"""Prune the weights of an int8 .tflite network, and fine-tune the others on Fashion-MNIST.

The file stays as it is but for weights, biases and their scales; pruned weights are exactly 0.
The first and the last layer stay dense. Without --data nothing is trained, and torch not needed.
"""

import argparse
import sys
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.progress import track

from models.arguments import Parser, os_error_text, positive
from models.checks import require
from models.fashion.data import read_split
from models.fashion.idx import IdxError
from models.fetch import write
from models.graph import ModelError
from models.prune.masks import magnitude_mask, n_of_m_mask, vector_mask
from models.prune.prune import Tune, prune, zeros
from models.tflite_reader import parse

INSTALL = ".venv/bin/pip install -e '.[prune]'"
EXAMPLE = f"""examples:
  python -m models.prune vector models/fashion/fashion.tflite --sparsity 0.5 -L 4 -C 16 \\
      --data fmnist/usr/share/datasets/fashion-mnist -o build/prune/fashion_vector50.tflite
  python -m models.prune nm models/fashion/fashion.tflite -N 2 -M 4 -o build/prune/2of4.tflite

for --data: {INSTALL}
"""


def tuner(args: argparse.Namespace) -> Tune | None:
    """How `prune` is to train; None without data.

    Raises
    ------
    IdxError
        A file of the data set is missing or damaged.
    ModelError
        torch is not installed.
    """
    if args.data is None:
        return None
    images, labels = read_split(args.data, "train")
    try:
        from models.prune.tune import fine_tune
    except ModuleNotFoundError as error:
        raise ModelError(f"{error.name} must be installed for --data, not missing; "
                         f"{INSTALL}") from None
    bar = partial(track, description="fine-tuning", console=Console(stderr=True))
    return lambda graph, masks: fine_tune(
        graph, masks, images, labels, epochs=args.epochs, batch=args.batch, rate=args.rate,
        seed=args.seed, progress=bar)


def share(text: str) -> float:
    """Return the sparsity of a command line argument; argparse reports what is none."""
    value = float(text)
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 0 and below 1, not {text}")
    return value


def rate(text: str) -> float:
    """Return the learning rate of a command line argument; argparse reports what is none."""
    value = float(text)
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"must be above 0 and below 1, not {text}")
    return value


def common_options() -> Parser:
    """What all patterns take."""
    parser = Parser(add_help=False)
    parser.add_argument("model", type=Path, metavar="MODEL", help="int8 .tflite file")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE",
                        help=".tflite file to write")
    parser.add_argument("--data", type=Path, metavar="DIR",
                        help="folder of Fashion-MNIST's *-ubyte.gz files: fine-tune with torch")
    for name, kind, default in (("epochs", positive, 12), ("batch", positive, 128),
                                ("rate", rate, 4e-3), ("seed", positive, 1)):
        parser.add_argument(f"--{name}", type=kind, default=default,
                            help="of fine-tuning (default: %(default)s)")
    return parser


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """The arguments, checked against each other; --help prints examples."""
    parser = Parser(prog="python -m models.prune", description=__doc__, epilog=EXAMPLE,
                    formatter_class=argparse.RawDescriptionHelpFormatter)
    patterns = parser.add_subparsers(required=True, metavar="PATTERN")
    common = [common_options()]

    vector = patterns.add_parser("vector", parents=common,
                                 help="C output channels at a time, equally many in each lane")
    vector.add_argument("-L", "--lanes", type=positive, required=True, help="of the core")
    vector.add_argument("-C", "--columns", type=positive, required=True, help="of the core")
    vector.set_defaults(mask=lambda args: partial(
        vector_mask, sparsity=args.sparsity, lanes=args.lanes, columns=args.columns))

    unstructured = patterns.add_parser("unstructured", parents=common,
                                       help="the smallest weights of each layer")
    unstructured.set_defaults(mask=lambda args: partial(magnitude_mask, sparsity=args.sparsity))
    for each in (vector, unstructured):
        each.add_argument("--sparsity", type=share, required=True, metavar="S",
                          help="part of a layer's weights that becomes zero, 0..1")

    nm = patterns.add_parser("nm", parents=common, help="of every M weights N stay")
    nm.add_argument("-N", type=positive, required=True, help="that stay")
    nm.add_argument("-M", type=positive, required=True, help="out of so many, at least N")
    nm.set_defaults(mask=lambda args: partial(n_of_m_mask, n=args.N, m=args.M))

    args = parser.parse_args(argv)
    if "N" in args and args.N > args.M:
        nm.error(f"-N must be at most -M = {args.M}, not {args.N}")
    return args


def main(argv: list[str] | None = None) -> int:
    """Prune; return 0, or 2 after a one-line error."""
    args = parse_args(argv)
    try:
        require(not args.output.is_dir(), "output", "a file", str(args.output), "give another path")
        args.output.parent.mkdir(parents=True, exist_ok=True)
        content = prune(args.model.read_bytes(), args.model.name, args.mask(args), tuner(args))
        write(args.output, content)
    except (IdxError, ModelError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: {os_error_text(error)}", file=sys.stderr)
        return 2
    print(f"{args.output}: {zeros(parse(content)):.1%} of the weights in the pruned layers are "
          f"zero")
    return 0


if __name__ == "__main__":
    sys.exit(main())
