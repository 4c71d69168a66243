"""Measure what zeros are worth: one random convolution, with 0 to 95 % zeros, on simulated cores.

Zeros are activations equal to the zero point, rows of C weights, or both, each at random places.
Writes sweep.csv and sweep.svg: the speed-up over --skip off as the core counts it in Verilator, as
the cycle model predicts it, and at best. Every byte is compared with the golden model.
"""

import argparse
import importlib.util
import sys

import numpy as np

from gen.console import progress
from gen.exits import exit_code
from gen.paths import build_folder, folder_argument, require_folder, write_files
from gen.targets import PRESETS, Target, resolve
from models.arguments import Parser, positive
from sim.records import to_csv
from sim.sweep.layer import Shape
from sim.sweep.measure import ABLE, Point, kinds, sweep
from sim.sweep.picture import draw
from sim.verdict import verdict

MOST = 95           # per cent: with more there are layers without any work
EXAMPLE = """exit codes: 0 fine; 1 mismatches, or a simulation failed; 2 bad input or usage

examples:
  python -m sim.sweep                          # both ECP5 presets: minutes
  python -m sim.sweep --target ecp5-25k --set skip=both --step 25 --channels 32
"""


def line(point: Point) -> str:
    """A point for the terminal."""
    return (f"{point.target}, {point.share:.0%} zeros in {point.zeros}: {point.cycles:,} instead "
            f"of {point.dense_cycles:,} cycles, {point.measured:.2f}x; predicted "
            f"{point.predicted:.2f}x, ideal {point.ideal:.2f}x")


def left_out(target: Target) -> str:
    """What of the sweep a core has nothing to show for, and why; empty if nothing."""
    missing = [zeros for zeros in ABLE["both"] if zeros not in kinds(target)]
    return (f"{target.name}: left out {' and '.join(missing)}, as skip={target.config.skip} passes "
            f"over activations only; --set skip=both for all") if missing else ""


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """The arguments; --help prints examples."""
    parser = Parser(prog="python -m sim.sweep", description=__doc__, epilog=EXAMPLE,
                    formatter_class=argparse.RawDescriptionHelpFormatter)
    shape, able = Shape(), [name for name, target in PRESETS.items() if target.config.skips]
    parser.add_argument("--target", action="append", metavar="T",
                        help=f"a preset or a TOML file; may be repeated (default: "
                        f"{' and '.join(able)})")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE",
                        help="change a parameter of the cores; may be repeated")
    parser.add_argument("--step", type=positive, default=5, metavar="PERCENT",
                        help=f"from 0 %% to {MOST} %% (default: %(default)s)")
    for name, text in (("side", "rows and columns of the input"), ("channels", "of the input"),
                       ("outputs", "channels of the output"),
                       ("kernel", "rows and columns of the window")):
        parser.add_argument(f"--{name}", type=positive, default=getattr(shape, name), metavar="N",
                            help=f"{text} (default: %(default)s)")
    parser.add_argument("--seed", type=positive, default=1, metavar="N",
                        help="of weights, inputs and places of zeros (default: %(default)s)")
    parser.add_argument("-o", "--output", type=folder_argument, default=build_folder() / "sweep",
                        metavar="DIR", help="folder to write (default: build/sweep)")
    arguments = parser.parse_args(argv)
    if importlib.util.find_spec("matplotlib") is None:
        parser.error("matplotlib must be installed, not missing: run make setup")
    if arguments.kernel > arguments.side:
        parser.error(f"--kernel must be at most --side = {arguments.side}, not {arguments.kernel}")
    arguments.target = arguments.target or able
    return arguments


def run(arguments: argparse.Namespace) -> int:
    """Measure, write, and say what came out."""
    require_folder(arguments.output)
    shape = Shape(side=arguments.side, channels=arguments.channels, outputs=arguments.outputs,
                  kernel=arguments.kernel)
    shares = np.arange(0, MOST + 1, arguments.step) / 100
    targets = [resolve(name, arguments.set) for name in arguments.target]
    total = len(shares) * sum(len(kinds(target)) for target in targets)
    points = []
    with progress() as shown:
        task = shown.add_task("", total=total)
        for target in targets:
            def stage(text, name=target.name):
                shown.update(task, description=f"{name}: {text}")

            for point in sweep(target, shape, shares.tolist(), arguments.seed, stage):
                points.append(point)
                shown.advance(task)
                print(line(point), flush=True)
            if note := left_out(target):
                print(note)
    write_files(arguments.output, {"sweep.csv": to_csv([point.record() for point in points]),
                                   "sweep.svg": draw(points, shape.text)})
    print(f"{arguments.output}: sweep.csv, sweep.svg")
    return verdict(sum(point.mismatches for point in points), arguments.output / "sweep.csv")


def main(argv: list[str] | None = None) -> int:
    """Run the command; errors are one line on stderr."""
    arguments = parse_args(argv)
    return exit_code(lambda: run(arguments), ValueError)


if __name__ == "__main__":
    sys.exit(main())
