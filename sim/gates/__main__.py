"""Synthesise a core and run one image through its netlist and its RTL: same bytes, same cycles.

The netlist is the one that place and route takes; it is loaded, started and read through the five
pins of its shell. Takes minutes.
"""

import argparse
import sys
from pathlib import Path

from gen.compile import compile_model
from gen.console import console
from gen.exits import FINE, exit_code
from gen.paths import ROOT, work_folder
from gen.pnr.design import core_design
from gen.pnr.flow import flip_flops, synthesise
from gen.targets import resolve
from models.arguments import Parser
from models.tflite_reader import load
from sim.gates.build import build_netlist
from sim.gates.prove import prove, require_resident
from sim.simulate import load_inputs
from sim.verilated import build

FASHION = ROOT / "models" / "fashion"
EXAMPLE = """exit codes: 0 fine; 1 the netlist differs, or a tool failed; 2 bad input or usage

example:
  python -m sim.gates --target up5k
"""


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """The arguments; --help prints an example."""
    parser = Parser(prog="python -m sim.gates", description=__doc__, epilog=EXAMPLE,
                    formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, nargs="?", default=FASHION / "fashion.tflite",
                        metavar="MODEL", help="int8 .tflite file (default: our Fashion-MNIST)")
    parser.add_argument("--input", type=Path, default=FASHION / "images.npy", metavar="X.npy",
                        help="its inputs, int8 [N, ...]; the first one runs")
    parser.add_argument("--target", required=True, metavar="T",
                        help="up5k, ecp5-25k, ecp5-85k or a TOML file")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE",
                        help="change a parameter of the core; may be repeated")
    return parser.parse_args(argv)


def run(arguments: argparse.Namespace) -> int:
    """Synthesise, build both simulators, compare."""
    target = resolve(arguments.target, arguments.set)
    graph = load(arguments.model)
    x = load_inputs(arguments.input, graph)[0]
    program = compile_model(graph, target)
    require_resident(program)
    with work_folder("gates") as folder, console(stderr=True).status("synthesis") as status:
        design = core_design(target)
        synthesise(design, folder)
        status.update("building the simulator of the RTL")
        rtl = build(target.config)
        status.update("building the simulator of the netlist")
        gates = build_netlist(target, folder)
        status.update("simulating")
        proof = prove(graph, program, x, rtl, gates)
        registers = flip_flops(folder / "design.json", design.top, target.family)
    print(f"{target.name}: the netlist of {registers:,} flip-flops runs {graph.name} like the RTL: "
          f"{proof.cycles:,} cycles, {proof.size:,} bytes equal")
    return FINE


def main(argv: list[str] | None = None) -> int:
    """Run the command; errors are one line on stderr."""
    arguments = parse_args(argv)
    return exit_code(lambda: run(arguments), ValueError)


if __name__ == "__main__":
    sys.exit(main())
