"""Measure accuracy, zero weights and cycles of pruned classifiers on a simulated core.

Writes curve.csv and curve.svg. Accuracy is the golden model's; cycles are counted by the core
itself in Verilator, and every byte that it writes is compared with the golden model.
"""

import argparse
import importlib.util
import sys
from dataclasses import asdict
from pathlib import Path

from gen.console import progress
from gen.exits import exit_code
from gen.paths import build_folder, folder_argument, require_folder, write_files
from gen.targets import resolve
from models.arguments import Parser, positive
from models.tflite_reader import load
from sim.accuracy import read_samples
from sim.curve.measure import Point, measure
from sim.curve.picture import draw
from sim.records import to_csv
from sim.verdict import verdict

EXAMPLE = """exit codes: 0 fine; 1 mismatches, or a simulation failed; 2 bad input or usage

example:
  python -m sim.curve models/fashion/fashion.tflite models/fashion/fashion_vector*.tflite \\
      --target ecp5-85k --images fmnist/t10k-images-idx3-ubyte.gz \\
      --labels fmnist/t10k-labels-idx1-ubyte.gz
"""


def line(point: Point) -> str:
    """A point for the terminal."""
    return (f"{point.model}: {point.zero_weights:.1%} of the MACs have zero weights, "
            f"{point.zero_rows:.1%} zero rows; {point.accuracy:.2%} of {point.images:,} images "
            f"right; {point.cycles:,.0f} cycles, dense {point.dense_cycles:,.0f}")


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """The arguments; --help prints an example."""
    parser = Parser(prog="python -m sim.curve", description=__doc__, epilog=EXAMPLE,
                    formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path, nargs="+", metavar="MODEL",
                        help="int8 .tflite files of one classifier, dense and pruned")
    parser.add_argument("--target", required=True, metavar="T",
                        help="up5k, ecp5-25k, ecp5-85k or a TOML file")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE",
                        help="change a parameter of the core; may be repeated")
    parser.add_argument("--images", type=Path, required=True, metavar="FILE",
                        help="IDX file of images, uint8 [N, H, W]")
    parser.add_argument("--labels", type=Path, required=True, metavar="FILE",
                        help="IDX file of labels, uint8 [N]")
    parser.add_argument("-l", "--limit", type=positive, metavar="N",
                        help="only the first N images")
    parser.add_argument("-n", "--inputs", type=positive, default=4, metavar="N",
                        help="of these, simulate N (default: %(default)s)")
    parser.add_argument("-o", "--output", type=folder_argument, default=build_folder() / "curve",
                        metavar="DIR", help="folder to write (default: build/curve)")
    arguments = parser.parse_args(argv)
    if importlib.util.find_spec("matplotlib") is None:
        parser.error("matplotlib must be installed, not missing: run make setup")
    return arguments


def run(arguments: argparse.Namespace) -> int:
    """Measure, write, and say what came out."""
    require_folder(arguments.output)
    target = resolve(arguments.target, arguments.set)
    samples = []
    for path in arguments.models:
        graph = load(path)
        images, labels = read_samples(graph, arguments.images, arguments.labels)
        samples.append((graph, images[:arguments.limit], labels[:arguments.limit]))
    points = []
    with progress() as shown:
        for graph, images, labels in samples:
            task = shown.add_task(graph.name, total=None)

            def stage(text, task=task, name=graph.name):
                shown.update(task, description=f"{name}: {text}")

            points.append(measure(graph, target, images, labels, arguments.inputs, stage,
                                  lambda batches, task=task: shown.track(
                                      batches, task_id=task, total=len(batches))))
            print(line(points[-1]), flush=True)
    write_files(arguments.output, {"curve.csv": to_csv([asdict(point) for point in points]),
                                   "curve.svg": draw(points)})
    print(f"{arguments.output}: curve.csv, curve.svg")
    return verdict(sum(point.mismatches for point in points), arguments.output / "curve.csv",
                   "the core")


def main(argv: list[str] | None = None) -> int:
    """Run the command; errors are one line on stderr."""
    arguments = parse_args(argv)
    return exit_code(lambda: run(arguments), ValueError)


if __name__ == "__main__":
    sys.exit(main())
