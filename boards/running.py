"""Run a network on a board, or on the simulation of one."""

import contextlib
from collections.abc import Callable, Iterator

import numpy as np

from boards.build import image, store
from boards.catalog import BOARDS, Board, find_board
from boards.host.device import BAUD, Device
from boards.host.errors import ConfigurationError
from boards.simulated.board import simulated
from gen.compile import compile_model
from gen.cycles import STORE
from gen.fit import fit_memories
from gen.fold import fold_channels
from gen.image import Program
from gen.targets import PRESETS, Target, resolve
from models.graph import Graph
from sim.compare import Comparison
from sim.golden import run as golden_run
from sim.run import Measured
from sim.simulate import BATCH, Simulation

SIMULATED = "sim:"     # and the name of a board: a port


def fitted(target: Target, graph: Graph, fold: bool, double: bool) -> Target:
    """A target whose memories fit a model, as ``build --fit`` makes it."""
    return fit_memories(target, fold_channels(graph).graph if fold else graph, double=double)


class Compiler:
    """Makes a model's program for the core that a board has.

    Parameters
    ----------
    graph : Graph
    fit : bool
        The core's memories are fitted to the model.
    fold, skip, double
        See `gen.compile.compile_model`.
    """

    def __init__(self, graph: Graph, *, fit: bool = False, fold: bool = True, skip: str = "auto",
                 double: bool = False):
        self.graph, self._fit, self._fold, self._skip = graph, fit, fold, skip
        self._double = double

    def target(self, target: Target) -> Target:
        """Fitted, if asked."""
        return fitted(target, self.graph, self._fold, self._double) if self._fit else target

    def program(self, target: Target, board: Board | None) -> Program:
        """The program for a target from `target`, with pages at the pace of a board's flash."""
        return compile_model(self.graph, target, fold=self._fold, skip=self._skip,
                             store=store(board) if board else STORE, double=self._double)

    def program_for(self, config_hash: int, targets: list[Target], board: Board | None) -> Program:
        """The program for the first target whose core a device has.

        Raises
        ------
        ConfigurationError
            There is none.
        """
        for target in map(self.target, targets):
            if target.config.hash == config_hash:
                return self.program(target, board)
        raise ConfigurationError(
            f"the board must have the core of {', '.join({t.name: t for t in targets})}, not of "
            f"configuration {config_hash:08x}; give what it was built with: --board or --target, "
            f"--set, --fit")


@contextlib.contextmanager
def loaded(compiler: Compiler, port: str, *, board: Board | None, targets: list[Target], baud: int,
           quad: bool = False, stage: Callable[[str], None]) -> Iterator[tuple[Device, Program]]:
    """Give a device that holds the model's program.

    Parameters
    ----------
    compiler : Compiler
    port : str
        A serial port, or SIMULATED and the name of a board.
    board : Board or None
        Where its flash's pace matters and the port does not say.
    targets : list of Target
        Whose cores a device may have; a simulated board gets the first.
    baud : int
        0: what is usual.
    quad : bool
        A simulated board reads its flash over four wires.
    stage : callable
        Told what begins.
    """
    if not port.startswith(SIMULATED):
        with Device(port, baud or BAUD) as device:
            program = compiler.program_for(device.config_hash, targets, board)
            stage("loading the program")
            yield device.load(program), program
        return
    board = find_board(port.removeprefix(SIMULATED), quad)
    target = compiler.target(targets[0])
    program = compiler.program(target, board)
    flash = image(board, program) if program.stream else b""
    with simulated(board, target, baud or board.max_baud, flash, stage) as line, \
            Device(line) as device:
        stage("loading the program")
        yield device.load(program), program


def targets_of(port: str, board: Board | None, target: str | None,
               overrides: list[str]) -> list[Target]:
    """Whose cores are expected behind a port.

    Raises
    ------
    ConfigError
        An unknown board, target or parameter.
    """
    if port.startswith(SIMULATED):
        board = find_board(port.removeprefix(SIMULATED))
    if target:
        found = resolve(target, overrides)
        return [board.with_config(found.config) if board else found]
    if board:
        return [board.target(overrides)]
    return [*(known.target(overrides) for known in BOARDS.values()),
            *(resolve(name, overrides) for name in PRESETS)]


def run(device: Device, graph: Graph, program: Program, inputs: np.ndarray, *, check: bool,
        done: Callable[[int], None] = lambda count: None) -> tuple[Simulation, float]:
    """Run inputs on a device that holds their program.

    If it is double-buffered only the layers of the first input are measured: while one is computed
    the next one is sent.

    Parameters
    ----------
    device : Device
    graph : Graph
    program : Program
        Compiled from it.
    inputs : numpy.ndarray
        int8 [N, ...].
    check : bool
        Compare what comes out with the golden model.
    done : callable
        Told how many inputs are done.

    Returns
    -------
    Simulation and float
        What was measured, and the seconds that sending, computing and reading took.

    Raises
    ------
    LinkError
        The core stopped with an error or did not finish, or the board is gone.
    """
    result, comparison = Simulation.of(graph, program), Comparison()
    seconds = 0.0
    for begin in range(0, len(inputs), BATCH):
        batch = inputs[begin:begin + BATCH]
        golden = golden_run(graph, batch) if check else {}
        for row, (got, span) in enumerate(_measured(device, program, batch, not begin)):
            result.add(got)
            seconds += span
            if check:
                place = program.output
                comparison.add(program.layers[-1].name, begin + row, golden[place.tensor][row],
                               got.output)
                expected = golden[graph.output][row]
                comparison.add("model output", begin + row, expected,
                               result.outputs[-1].reshape(expected.shape))
            done(begin + row + 1)
    result.mismatches, result.first = comparison.mismatches, comparison.first
    return result, seconds


def _measured(device, program, batch, layers):
    """What each input gives, and the seconds that it took.

    ``layers``: even if the program is double-buffered those of the first input are measured.
    """
    double = program.twin is not None
    alone = batch[:layers] if double else batch
    for x in alone:
        begin = device.seconds()
        got = device.run(x)
        span = device.seconds() - begin
        yield Measured(cycles=got.cycles, layers=tuple(device.layers()), output=got.output), span
    begin = device.seconds()
    for got in device.stream(batch[len(alone):]) if double else ():
        span = device.seconds() - begin
        yield Measured(cycles=got.cycles, layers=(), output=got.output), span
        begin = device.seconds()


def summary(result: Simulation, seconds: float, device: Device, check: bool) -> str:
    """Return the closing line."""
    cycles = sum(result.cycles) / len(result.cycles)
    inputs = "1 input" if len(result.cycles) == 1 else f"{len(result.cycles)} inputs"
    compared = f"{result.mismatches} mismatches" if check else "not compared (--check)"
    channel = device.channel
    return (f"{inputs}, {cycles:,.0f} cycles each, {1e3 * cycles / device.clock_hz:.2f} ms at "
            f"{device.clock_hz / 1e6:g} MHz, {1e3 * seconds / len(result.cycles):.2f} ms with the "
            f"link, {compared}; link: {channel.repeats} repeats, "
            f"{channel.damaged} damaged frames")
