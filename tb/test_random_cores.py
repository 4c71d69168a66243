"""Random networks on random cores: the generated Verilog gives the golden model's bytes."""

import random
from dataclasses import replace

import numpy as np
import pytest

from gen.compile import compile_model
from gen.image import Program
from gen.targets import PRESETS
from hw.config import CoreConfig
from hw.layout import Opcode
from models.graph import Graph, ModelError
from models.tflite_reader import parse
from sim import golden
from sim.compare import Comparison, compare_layers
from sim.run import Session, opcodes
from tb.random_networks import RandomNet, random_config
from tb.small_core import build

CORES, LONG_CORES = 22, 300
NETWORKS = 4       # a core
INPUTS = 2         # a network
MOST_ROWS = 3000   # issued by the lanes: a bound of the simulation's time


@pytest.mark.parametrize("seed", range(CORES))
def test_random_core_equals_golden(seed, tmp_path):
    check_core(seed, 64 if seed % 8 == 0 else 32, tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(CORES, LONG_CORES))
def test_any_random_core_equals_golden(seed, tmp_path):
    check_core(seed, 128, tmp_path)


def check_core(seed: int, macs: int, folder) -> set[Opcode]:
    """Build the core of a seed and run its networks; what the programs consist of."""
    rng = random.Random(seed)
    config = random_config(rng, macs)
    binary = build(config, folder)
    used = set()
    for number in range(NETWORKS):
        text, graph, program = compiled(rng, 1000 * seed + number, config)
        used |= set(opcodes(program))
        check_network(f"seed {seed}, network {number}: {text}\n{config}", graph, program, binary)
    return used


def compiled(rng: random.Random, seed: int, config: CoreConfig) -> tuple[str, Graph, Program]:
    """A random network that suits a core, compiled."""
    target = replace(PRESETS["ecp5-85k"], config=config)
    for attempt in range(200):
        net = RandomNet(rng, seed + 1_000_000 * attempt, config.patch_lines * config.V)
        graph = parse(net.net.bytes())
        try:
            program = compile_model(graph, target)
        except ModelError:
            continue  # too large for these memories, or drawn weights near zero
        if sum(layer.rows for layer in program.layers) <= MOST_ROWS:
            return str(net), graph, program
    raise AssertionError(f"no network of 200 suits {config}")


def check_network(text: str, graph: Graph, program: Program, binary) -> None:
    """Run a network on some inputs and compare every tensor that the core writes."""
    shape = graph.tensors[graph.input].shape
    x = np.random.default_rng(1).integers(-128, 128, (INPUTS, *shape), np.int8)
    comparison = Comparison()
    with Session(program, binary) as session:
        for number in range(INPUTS):
            expected = {tensor: values[None] for tensor, values in golden.run(
                graph, x[number]).items()}
            try:
                inference = session.infer(x[number])
            except RuntimeError as error:
                raise AssertionError(f"{text}\n{error}") from error
            compare_layers(comparison, program, expected, 0, number, inference)
    assert comparison.first is None, f"{text}\n{comparison.first}"
