"""What the command line does for boards: build and run, from its arguments."""

from argparse import Namespace
from dataclasses import replace

from boards.build import build as build_board
from boards.build import store
from boards.catalog import BAUD, find_board
from boards.running import Compiler, fitted, loaded, summary, targets_of
from boards.running import run as run_inputs
from gen.compile import compile_model
from gen.console import progress, stages
from gen.paths import write_files
from gen.pnr import BuildResult
from gen.targets import Target
from models.tflite_reader import load
from sim.simulate import Simulation, load_inputs


def build(arguments: Namespace) -> tuple[Target, BuildResult]:
    """Write the bitstream of a board, and the image of a model if one is named.

    Returns
    -------
    Target and BuildResult
        What was built, by the board's name, and what came out.
    """
    board, baud = find_board(arguments.board, arguments.quad), arguments.baud or BAUD
    board.divisor(baud)     # refused before any work
    target, program = board.target(arguments.set), None
    if arguments.fit:
        target = fitted(target, load(arguments.fit), arguments.fold, arguments.double)
    if arguments.model:
        program = compile_model(load(arguments.model), target, fold=arguments.fold,
                                store=store(board), double=arguments.double)
    with stages(board.name) as stage:
        result, files = build_board(board, target, seed=arguments.seed, baud=baud, program=program,
                                    stage=stage)
    write_files(arguments.output, files)
    return replace(target, name=board.name), result


def run(arguments: Namespace) -> tuple[Simulation, str]:
    """Run inputs on a board or on the simulation of one.

    Returns
    -------
    Simulation and str
        What was measured, and the closing line.
    """
    graph = load(arguments.model)
    inputs = load_inputs(arguments.input, graph)
    board = find_board(arguments.board, arguments.quad) if arguments.board else None
    targets = targets_of(arguments.port, board, arguments.target, arguments.set)
    compiler = Compiler(graph, fit=arguments.fit, fold=arguments.fold, skip=arguments.skip,
                        double=arguments.double)
    with progress() as shown:
        task = shown.add_task("", total=len(inputs), count="")
        with loaded(compiler, arguments.port, board=board, targets=targets, baud=arguments.baud,
                    quad=arguments.quad,
                    stage=lambda text: shown.update(task, description=text)) as (device, program):
            shown.update(task, description="running")
            result, seconds = run_inputs(
                device, graph, program, inputs, check=arguments.check,
                done=lambda count: shown.update(
                    task, completed=count, count=f"{count}/{len(inputs)} inputs"))
            return result, summary(result, seconds, device, arguments.check)
