"""Measure our networks on all presets: cycles, utilisation, area and clock, beside Arm's Ethos-U55.

Writes bench.md, bench.json and bench.svg. Every byte that the simulated cores write is compared
with the golden model; a network that does not fit a preset is no failure.
"""

import argparse
import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path

from gen.console import progress
from gen.exits import exit_code
from gen.paths import build_folder, folder_argument, require_folder, write_files
from gen.targets import PRESETS
from models.arguments import Parser
from models.fetch import FetchError
from models.zoo import NETWORKS, model_path
from sim.bench import vela
from sim.bench.measure import CASES, load_case, measure
from sim.bench.picture import draw
from sim.bench.text import Results, cycle_cell, quoted, replace_quoted, report
from sim.routed import routed
from sim.verdict import verdict

ROOT = Path(__file__).resolve().parents[2]
README, PICTURE = ROOT / "README.md", ROOT / "docs" / "bench.svg"
EXAMPLE = f"""exit codes: 0 fine; 1 mismatches, or a simulation failed; 2 bad input or usage

examples:
  python -m sim.bench                    # everything in Verilator: may take an hour
  python -m sim.bench --predict          # everything by the cycle model: seconds
  python -m sim.bench --network kws_dscnn --target up5k
  python -m sim.bench -n 4 --readme      # and put the results into README.md

for Arm's column:
  {vela.INSTALL}
"""


def bench(arguments: argparse.Namespace, stage: Callable[[str], None],
          done: Callable[[str], None]) -> Results:
    """Measure what the arguments ask for.

    Parameters
    ----------
    arguments : argparse.Namespace
    stage, done : callable
        Told what begins, and each cell as text once it is there.
    """
    command = vela.find(arguments.vela)
    results = Results(
        rows=[], presets=arguments.target, predicted=arguments.predict,
        accelerators=arguments.ethos if command else (),
        vela_version=vela.version(command) if command else "",
        routed={name: routed(name) for name in arguments.target})
    for case in cases(arguments.network):
        stage(f"reading {case.network}")
        row, graph, inputs = load_case(case, arguments.inputs)
        for preset in arguments.target:
            what = f"{case.title.replace('`', '')} on {preset}"
            row.cells[preset] = measure(case, graph, preset, None if arguments.predict else inputs,
                                        lambda text, what=what: stage(f"{what}: {text}"))
            done(f"{what}: {cycle_cell(row.cells[preset])}")
        for name in results.accelerators:
            stage(f"{case.network}: Vela for {name}")
            assert command is not None
            row.arm[name] = vela.estimate(command, model_path(case.network), name,
                                          arguments.output / "vela")
        results.rows.append(row)
    return results


def cases(names: tuple[str, ...]) -> list:
    """The cases of networks."""
    return [case for case in CASES if case.network in names]


def write(results: Results, folder: Path, readme: bool) -> None:
    """Write the results, and the README's part of them where asked."""
    svg = draw(results)
    write_files(folder, {
        "bench.md": report(results, "bench.svg"), "bench.svg": svg,
        "bench.json": json.dumps(results.to_dict(), indent=1) + "\n"})
    if readme:
        quote = quoted(results, PICTURE.relative_to(ROOT).as_posix())
        text = replace_quoted(README.read_text(), quote)
        write_files(PICTURE.parent, {PICTURE.name: svg})
        write_files(README.parent, {README.name: text})


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """The arguments, checked against each other; --help prints examples."""
    parser = Parser(prog="python -m sim.bench", description=__doc__, epilog=EXAMPLE,
                    formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [network.name for network in NETWORKS]
    parser.add_argument("-n", "--inputs", type=int, default=1, metavar="N",
                        help="inputs to simulate, whose cycles are averaged (default: 1)")
    parser.add_argument("--predict", action="store_true",
                        help="take the cycle model's word for the cycles: nothing is simulated")
    parser.add_argument("--network", action="append", choices=names, metavar="NAME",
                        help=f"only this one of {', '.join(names)}; may be repeated")
    parser.add_argument("--target", action="append", choices=list(PRESETS), metavar="T",
                        help=f"only this one of {', '.join(PRESETS)}; may be repeated")
    parser.add_argument("--ethos", action="append", choices=vela.ACCELERATORS, metavar="NAME",
                        help=f"Arm's columns, of {', '.join(vela.ACCELERATORS)}; may be repeated "
                        f"(default: ethos-u55-128)")
    parser.add_argument("--vela", type=Path, metavar="FILE",
                        help="Vela's executable, if it is installed elsewhere")
    parser.add_argument("--readme", action="store_true",
                        help="rewrite the README's results and docs/bench.svg too")
    parser.add_argument("-o", "--output", type=folder_argument, default=build_folder() / "bench",
                        metavar="DIR", help="folder to write (default: build/bench)")
    arguments = parser.parse_args(argv)
    if arguments.inputs < 1:
        parser.error(f"--inputs must be at least 1, not {arguments.inputs}")
    if arguments.readme and (arguments.network or arguments.target or not
                             vela.find(arguments.vela)):
        parser.error(f"--readme must come with all networks, all presets and Arm's column; leave "
                     f"out --network and --target, and install {vela.PACKAGE}: {vela.INSTALL}")
    if importlib.util.find_spec("matplotlib") is None:
        parser.error("matplotlib must be installed, not missing: run make setup")
    arguments.network = tuple(arguments.network or names)
    arguments.target = tuple(name for name in PRESETS if name in (arguments.target or PRESETS))
    arguments.ethos = tuple(arguments.ethos or ("ethos-u55-128",))
    return arguments


def run(arguments: argparse.Namespace) -> int:
    """Measure, write, and say what came out."""
    require_folder(arguments.output)
    with progress() as shown:
        task = shown.add_task("", total=len(cases(arguments.network)) * len(arguments.target))

        def done(text: str) -> None:
            shown.advance(task)
            print(text, flush=True)

        results = bench(arguments, lambda text: shown.update(task, description=text), done)
    write(results, arguments.output, arguments.readme)
    print(f"{arguments.output}: bench.md, bench.json, bench.svg")
    return verdict(results.mismatches, arguments.output / "bench.md")


def main(argv: list[str] | None = None) -> int:
    """Run the bench; errors are one line on stderr."""
    arguments = parse_args(argv)
    return exit_code(lambda: run(arguments), ValueError, FetchError, vela.VelaError)


if __name__ == "__main__":
    sys.exit(main())
