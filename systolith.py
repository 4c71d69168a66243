"""The command line: check, compile, generate, simulate, sparsity, build, boards,
flash and run.
"""

import argparse
import sys
from pathlib import Path

from gen.exits import BAD_INPUT, FAILED, FINE, exit_code
from models.arguments import Parser

DEFAULT_TARGET = "ecp5-85k"
FIT_HELP = "split the device's RAM blocks between weights and activations for "
OUTPUT_HELP = "folder to write; made if need be"
EPILOG = """exit codes: 0 fine; 1 a check failed (mismatch, does not fit after placement, timing
missed); 2 bad input or usage, including a model too large for the target's memories

example:
  systolith simulate models/fashion/fashion.tflite --target up5k \\
      --input models/fashion/images.npy
"""


def _target(arguments, fit_model=None):
    """The target that the arguments mean, fitted to a model as it will be compiled where asked."""
    from gen.targets import resolve
    target = resolve(arguments.target, arguments.set)
    if fit_model is not None:
        from gen.fit import fit_memories
        target = fit_memories(target, _folded(arguments, fit_model).graph,
                              double=arguments.double)
    return target


def _load(path):
    from models.tflite_reader import load
    return load(path)


def _folded(arguments, path):
    """A model as `compile_model` folds it, or as it is with --no-fold."""
    from gen.fold import Folded, fold_channels
    graph = _load(path)
    return fold_channels(graph) if arguments.fold else Folded(graph=graph)


def check(arguments) -> int:
    """Print where every operator of a model runs; compile it if a target is named."""
    from gen.console import console
    from gen.lower import require_work
    from gen.report import fold_text
    from gen.support import check as verdicts_of
    from gen.tables import verdict_table
    folded = _folded(arguments, arguments.model)
    graph = folded.graph
    named, arguments.target = arguments.target, arguments.target or DEFAULT_TARGET
    target = _target(arguments)
    verdicts = verdicts_of(graph, target.config)
    console().print(verdict_table(f"{graph.name} on {target.name}", verdicts))
    if folded.tensors:
        print(fold_text(folded.tensors, folded.macs))
    wrong = [verdict for verdict in verdicts if verdict.where == "unsupported"]
    if wrong:
        print(f"error: {wrong[0].reason}", file=sys.stderr)
        return BAD_INPUT
    require_work(graph)
    if named:
        from gen.compile import compile_model
        program = compile_model(graph, target, fold=False)  # it is folded already
        for name, use in program.memory.items():
            print(f"{name}: {use['used']:,} of {use['there']:,} bytes")
    return FINE


def compile_(arguments) -> int:
    """Write a model's program image and reports."""
    import json

    from gen.compile import compile_model
    from gen.console import console
    from gen.image import to_bytes
    from gen.paths import require_folder, write_files
    from gen.report import markdown, skip_text, summarize
    from gen.tables import cycle_table
    require_folder(arguments.output)
    store = _store(arguments)
    program = compile_model(_load(arguments.model), _target(arguments), fit=arguments.fit,
                            fold=arguments.fold, store=store, skip=arguments.skip,
                            double=arguments.double)
    values = summarize(program, store)
    write_files(arguments.output, {
        "program.bin": to_bytes(program), "report.md": markdown(program, store),
        "report.json": json.dumps(values, indent=2)})
    console().print(cycle_table(program, store))
    if values["skipping"]["layers"] or values["skipping"]["packed"]:
        print(skip_text(values))
    print(f"{arguments.output}: program.bin, report.md, report.json")
    return FINE


def generate(arguments) -> int:
    """Write a core's Verilog, configuration and register map, or list the parameters."""
    if arguments.list:
        from gen.console import console
        from gen.tables import parameter_table
        console().print(parameter_table())
        return FINE
    output: Path | None = arguments.output
    if output is None:
        return arguments.parser.error("the following arguments are required: -o/--output")
    from gen.console import progress
    from gen.paths import require_folder, write_files
    from gen.registers import registers
    from gen.targets import to_toml
    require_folder(output)
    target = _target(arguments, arguments.fit)
    from gen.verilog import emit
    with progress() as shown:
        shown.add_task(f"generating Verilog for {target.name}", total=None, count="")
        text = emit(target.config, arguments.bus)
    write_files(output, {"systolith.v": text, "config.toml": to_toml(target),
                         "registers.md": registers(target.config, arguments.bus)})
    print(f"{output}: systolith.v, config.toml, registers.md")
    return FINE


def simulate(arguments) -> int:
    """Run inputs through the Verilated core and compare every tensor with the golden model."""
    from gen.compile import compile_model
    from gen.console import console, progress
    from gen.paths import require_file, whole_file
    from gen.report import fold_text
    for path in filter(None, (arguments.json, arguments.trace)):
        require_file(path)
    store = _store(arguments)
    graph = _load(arguments.model)
    target = _target(arguments)
    program = compile_model(graph, target, fit=arguments.fit, fold=arguments.fold, store=store,
                            skip=arguments.skip)
    from sim.simulate import load_expected, load_inputs
    from sim.simulate import simulate as run
    inputs = load_inputs(arguments.input, graph)
    expected = load_expected(arguments.expect, graph, len(inputs)) if arguments.expect else None
    with progress() as shown:
        task = shown.add_task("", total=len(inputs), count="")
        result = run(
            graph, program, inputs, store=store, expected=expected, trace=arguments.trace,
            stage=lambda text: shown.update(task, description=text),
            done=lambda count: shown.update(
                task, completed=count, count=f"{count}/{len(inputs)} inputs"))
    from sim.tables import layer_table, score_table, summary
    console().print(layer_table(result))
    scores = score_table(result)
    if scores is not None:
        console().print(scores)
    if arguments.json:
        with whole_file(arguments.json) as partial:
            partial.write_text(result.to_json())
    if program.folded:
        print(fold_text(program.folded, program.folded_macs))
    print(summary(result))
    if result.first is None:
        return FINE
    print(f"error: first wrong value: {result.first}", file=sys.stderr)
    return FAILED


def sparsity(arguments) -> int:
    """Print what zeros a network has, layer by layer, and what passing over them is worth."""
    from gen.console import console, progress
    from sim.simulate import load_inputs
    from sim.sparsity import break_even_text, sparsity_table
    from sim.sparsity import sparsity as measure
    graph, target = _load(arguments.model), _target(arguments)
    inputs = load_inputs(arguments.input, graph)[:arguments.inputs]
    with progress() as shown:
        shown.add_task(f"{len(inputs)} inputs", total=None, count="")
        layers = measure(graph, target, inputs)
    console().print(sparsity_table(graph, target, layers))
    print(break_even_text())
    return FINE


def build(arguments) -> int:
    """Synthesise, place and route a core, or make a board's bitstream."""
    from gen.console import stages
    from gen.paths import require_folder, write_files
    from gen.pnr import build as run
    if bool(arguments.target) == bool(arguments.board):
        return arguments.parser.error("one of the arguments --target and --board is required")
    require_folder(arguments.output)
    if arguments.board:
        from boards.commands import build as build_board
        return _built(*build_board(arguments))
    target = _target(arguments, arguments.fit)
    with stages(target.name) as stage:
        result, files = run(target, arguments.seed, stage)
    write_files(arguments.output, files)
    return _built(target, result)


def _built(target, result):
    """Say what came out, and whether it is fast enough."""
    print(f"{target.name} on {result.device}: {result.lut} lut, {result.ff} ff, {result.dsp} dsp, "
          f"{result.ebr} ebr, {result.spram} spram, {result.fmax_mhz} MHz (seed {result.seed})")
    if result.timing_met:
        return FINE
    print(f"error: {target.name} must reach {target.min_mhz:g} MHz, not {result.fmax_mhz}; "
          f"try another --seed or a smaller configuration", file=sys.stderr)
    return FAILED


def boards(arguments) -> int:
    """List the boards that have a top."""
    from boards.tables import board_table
    from gen.console import console
    console().print(board_table())
    return FINE


def flash(arguments) -> int:
    """Write a built bitstream and program image into a board's flash."""
    from boards.catalog import find_board
    from boards.flashing import flash as write
    write(find_board(arguments.board), arguments.folder, cable=arguments.cable,
          dry_run=arguments.dry_run)
    return FINE


def run(arguments) -> int:
    """Run inputs on a board, or on the simulation of one (--port sim:BOARD)."""
    from boards.commands import run as run_inputs
    result, text = run_inputs(arguments)
    from gen.console import console
    from sim.tables import layer_table, score_table
    console().print(layer_table(result))
    scores = score_table(result)
    if scores is not None:
        console().print(scores)
    print(text)
    if result.first is None:
        return FINE
    print(f"error: first wrong value: {result.first}", file=sys.stderr)
    return FAILED


def _folder(text):
    from gen.paths import folder_argument
    return folder_argument(text)


def _add_model(parser):
    parser.add_argument("model", type=Path, metavar="MODEL", help=".tflite file")


def _add_input(parser):
    parser.add_argument("--input", type=Path, required=True, metavar="X.npy",
                        help="int8 [N, ...]: N inputs of the model")


def _add_target(parser, required=True):
    parser.add_argument("--target", metavar="T", required=required,
                        help="up5k, ecp5-25k, ecp5-85k or a TOML file")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE",
                        help="change a parameter of the core; may be repeated (generate --list)")


def _add_board(parser, required=True):
    parser.add_argument("--board", metavar="B", required=required, help="see systolith boards")


def _add_baud(parser, text):
    parser.add_argument("--baud", type=int, metavar="N", default=0, help=text)


def _add_quad(parser, text):
    parser.add_argument("--quad", action="store_true", help=text)


def _add_fold(parser):
    parser.add_argument("--no-fold", dest="fold", action="store_false",
                        help="compute channels too that are constant or that nothing reads")


def _add_skip(parser):
    parser.add_argument("--skip", default="auto",
                        choices=("auto", "on", "off", "act", "weights"),
                        help="pass over zeros: auto: where the core can and it pays (the default); "
                             "act: activations, weights: rows of weights, on: all that the core "
                             "can, which must be something; off: in no layer")


def _add_double(parser, text=""):
    parser.add_argument("--double-buffer", dest="double", action="store_true",
                        help="memory for two inputs and outputs, so that the next input can be "
                             "sent while one is computed" + text)


def _add_store(parser):
    parser.add_argument("--store-rate", metavar="BYTES", default="1/2",
                        help="bytes per cycle of the backing store, from which weights come that "
                             "do not fit (default: 1/2, quad SPI flash)")
    parser.add_argument("--store-latency", metavar="CYCLES", default="32",
                        help="cycles to its first word (default: 32)")


def _store(arguments):
    from gen.store import Store
    return Store.parse(arguments.store_rate, arguments.store_latency)


def _subparser(commands, name, run, example):
    parser = commands.add_parser(
        name, help=run.__doc__.rstrip("."), description=run.__doc__,
        epilog=f"example:\n  systolith {example}\n",
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.set_defaults(run=run, parser=parser)
    return parser


def _parser() -> Parser:
    parser = Parser(prog="systolith", description="int8 neural networks on small FPGAs, bit-exact "
                    "with TensorFlow Lite Micro", epilog=EPILOG,
                    formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_model_commands(commands)
    _add_board_commands(commands)
    return parser


def _add_model_commands(commands):
    """Those that take a model or a core: check, compile, generate, simulate, sparsity."""
    sub = _subparser(commands, "check", check, "check model.tflite --target up5k")
    _add_model(sub)
    _add_target(sub, required=False)
    _add_fold(sub)

    sub = _subparser(commands, "compile", compile_,
                     "compile model.tflite --target ecp5-85k --fit -o out")
    _add_model(sub)
    _add_target(sub)
    sub.add_argument("--fit", action="store_true", help=FIT_HELP + "the model")
    _add_fold(sub)
    _add_skip(sub)
    _add_store(sub)
    _add_double(sub)
    sub.add_argument("-o", "--output", type=_folder, required=True, metavar="DIR", help=OUTPUT_HELP)

    sub = _subparser(commands, "generate", generate,
                     "generate --target ecp5-25k --set weight_rows=1024 -o out")
    _add_target(sub, required=False)
    sub.set_defaults(target=DEFAULT_TARGET)
    sub.add_argument("--fit", type=Path, metavar="MODEL", help=FIT_HELP + "this .tflite file")
    _add_fold(sub)
    _add_double(sub)
    sub.add_argument("--bus", choices=("wishbone", "axi"), default="wishbone",
                     help="ports: Wishbone B4 (the default), or AXI4-Lite with AXI4-Streams for "
                          "input, output and pages")
    sub.add_argument("--list", action="store_true", help="print every parameter and its range")
    sub.add_argument("-o", "--output", type=_folder, metavar="DIR", help=OUTPUT_HELP)

    sub = _subparser(commands, "simulate", simulate, "simulate model.tflite --target ecp5-85k "
                     "--input images.npy --json result.json")
    _add_model(sub)
    _add_target(sub)
    sub.add_argument("--fit", action="store_true", help=FIT_HELP + "the model")
    _add_fold(sub)
    _add_skip(sub)
    _add_store(sub)
    _add_input(sub)
    sub.add_argument("--expect", type=Path, metavar="Y.npy",
                     help="int8 [N, ...]: the last tensor of every input; differences count")
    sub.add_argument("--json", type=Path, metavar="FILE", help="write all measurements")
    sub.add_argument("--trace", type=Path, metavar="FILE.vcd",
                     help="write waveforms of the first input")

    sub = _subparser(commands, "sparsity", sparsity,
                     "sparsity model.tflite --input images.npy --target ecp5-85k")
    _add_model(sub)
    _add_target(sub, required=False)
    sub.set_defaults(target=DEFAULT_TARGET)
    _add_input(sub)
    sub.add_argument("-n", "--inputs", type=int, default=16, metavar="N",
                     help="of these, the first N (default: 16)")


def _add_board_commands(commands):
    """Those that end on an FPGA: build, boards, flash, run."""
    sub = _subparser(commands, "build", build,
                     "build --board icebreaker --model model.tflite --seed 1 -o out")
    _add_target(sub, required=False)
    _add_board(sub, required=False)
    sub.add_argument("--model", type=Path, metavar="MODEL",
                     help="with --board: .tflite file with whose program the board starts")
    _add_baud(sub, "of the board's UART (default: 1000000)")
    _add_quad(sub, "with --board: read the flash over four wires, pages twice as fast; flash sets "
                   "its quad-enable bit")
    sub.add_argument("--fit", type=Path, metavar="MODEL", help=FIT_HELP + "this .tflite file")
    _add_fold(sub)
    _add_double(sub)
    sub.add_argument("--seed", type=int, default=1, metavar="N",
                     help="of the placer (default: 1); the next ones if the router goes in circles")
    sub.add_argument("-o", "--output", type=_folder, required=True, metavar="DIR", help=OUTPUT_HELP)

    _subparser(commands, "boards", boards, "boards  # then: systolith build --board NAME")

    sub = _subparser(commands, "flash", flash, "flash --board icebreaker build/boards/icebreaker")
    _add_board(sub)
    sub.add_argument("folder", type=_folder, metavar="DIR", help="what build --board wrote")
    sub.add_argument("--cable", metavar="NAME", default="",
                     help="openFPGALoader's name of another cable than the board's own")
    sub.add_argument("--dry-run", action="store_true", help="only print the commands")

    sub = _subparser(commands, "run", run,
                     "run --port /dev/ttyUSB1 model.tflite --input images.npy --check")
    sub.add_argument("--port", required=True, metavar="PORT",
                     help="serial port, or sim:BOARD for a simulation of that board's top")
    _add_model(sub)
    _add_input(sub)
    sub.add_argument("--check", action="store_true", help="compare with the golden model")
    _add_baud(sub, "as the board was built (default: 1000000; sim: the most that the board can)")
    _add_board(sub, required=False)
    _add_quad(sub, "the board was built with --quad")
    _add_target(sub, required=False)
    sub.add_argument("--fit", action="store_true", help="the core was built with --fit MODEL")
    _add_fold(sub)
    _add_skip(sub)
    _add_double(sub, "; layers are measured on the first input only")


def main(argv: list[str] | None = None) -> int:
    """Run one command; return its exit code. Errors are one line on stderr."""
    arguments = _parser().parse_args(argv)
    from boards.host.errors import ConfigurationError, PortError
    from hw.config import ConfigError
    from models.graph import ModelError
    return exit_code(lambda: arguments.run(arguments), ConfigError, ModelError, ConfigurationError,
                     PortError)


if __name__ == "__main__":
    sys.exit(main())
