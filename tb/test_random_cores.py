"""Random networks on random cores: the generated Verilog gives the golden model's bytes."""

import random
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from gen.compile import compile_model, paged_program
from gen.cycles import STORE
from gen.image import Program
from gen.lower import lower
from gen.pages import Paging
from gen.skip import skipping
from gen.store import Store
from gen.targets import PRESETS
from hw.config import MEMORIES, MULTIPLIERS, SKIPS, CoreConfig
from models.graph import Graph, ModelError
from models.tflite_reader import parse
from sim import golden
from sim.compare import Comparison, compare_layers
from sim.run import Session
from tb.random_networks import RandomNet, random_config
from tb.small_core import build

CORES, LONG_CORES = 22, 300
FIRST = 267        # from this seed on CORES cores take every choice
NETWORKS = 4       # a core
INPUTS = 2         # a network
ZEROS = 0.4        # of an input
MOST_ROWS = 3000   # issued by the lanes: a bound of the simulation's time


def config_of(seed: int) -> CoreConfig:
    """The core of a seed: mostly small, as building it is most of the test's time."""
    rng = random.Random(FIRST + seed)
    return random_config(rng, 128 if seed >= CORES else 64 if seed % 8 == 0 else 32)


def test_random_cores_take_every_choice():
    configs = [config_of(seed) for seed in range(CORES)]
    for name, choices in {"P": (1, 2), "L": (1, 2, 4, 8), "C": (4, 8, 16, 32), "F": (1, 2),
                          "V": (4, 8, 16, 32, 64), "memory": MEMORIES, "multiplier": MULTIPLIERS,
                          "patch_buffers": (2, 4, 8), "byte_writes": (False, True),
                          "pages": (0, 1), "column_bits": (12, 16),
                          "skip": SKIPS}.items():
        assert {getattr(config, name) for config in configs} == set(choices), name
    assert {config.cluster_q for config in configs} >= {Fraction(n, 4) for n in (1, 2, 4, 8, 16)}
    assert {config.align < config.V for config in configs} == {False, True}


@pytest.mark.parametrize("seed", range(CORES))
def test_random_core_equals_golden(seed, tmp_path):
    check_core(seed, tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(CORES, LONG_CORES))
def test_any_random_core_equals_golden(seed, tmp_path):
    check_core(seed, tmp_path)


def check_core(seed: int, folder) -> None:
    """Build the core of a seed and run its networks."""
    config, rng = config_of(seed), random.Random(seed)
    binary = build(config, folder)
    for number in range(NETWORKS):
        paged = config.pages == 1 and number % 2 == 1
        text, graph, program = compiled(rng, 1000 * seed + number, config, paged)
        store = Store(rate=Fraction(rng.randint(1, 16), 4), latency=rng.randint(0, 500))
        check_network(f"seed {seed}, network {number}: {text}\n{config}", graph, program, binary,
                      store)


def compiled(rng: random.Random, seed: int, config: CoreConfig, paged: bool,
             double: bool = False) -> tuple[str, Graph, Program]:
    """A random network that suits a core, compiled; with ``paged`` to use the backing store."""
    target = replace(PRESETS["ecp5-85k"], config=config)
    for attempt in range(200):
        net = RandomNet(rng, seed + 1_000_000 * attempt, config.patch_lines * config.V)
        graph = parse(net.net.bytes())
        try:
            paging = Paging(share=rng.randint(1, 4), kept=Fraction(rng.randint(0, 3), 4),
                            tables=rng.random() < 0.5)
            skip = rng.choice(["auto", "on", "weights"]) if config.row_masks else "auto"
            lowered = skipping(lower(graph, config, double), config, skip)
            program = (paged_program(graph, target, paging, lowered) if paged else
                       compile_model(graph, target, skip=skip, double=double))
        except ModelError:
            continue  # too large for these memories, or drawn weights near zero
        if sum(layer.rows for layer in program.layers) <= MOST_ROWS:
            return str(net), graph, program
    raise AssertionError(f"no network of 200 suits {config}")


def check_network(text: str, graph: Graph, program: Program, binary,
                  store: Store = STORE) -> None:
    """Run a network on some inputs and compare every tensor that the core writes."""
    shape = graph.tensors[graph.input].shape
    rng = np.random.default_rng(1)
    x = rng.integers(-128, 128, (INPUTS, *shape), np.int8)
    x[rng.random(x.shape) < ZEROS] = graph.tensors[graph.input].zero_point
    comparison = Comparison()
    with Session(program, binary, store=store) as session:
        for number in range(INPUTS):
            expected = {tensor: values[None] for tensor, values in golden.run(
                graph, x[number]).items()}
            try:
                inference = session.infer(x[number])
            except RuntimeError as error:
                raise AssertionError(f"{text}\n{error}") from error
            compare_layers(comparison, program, expected, 0, number, inference)
    assert comparison.first is None, f"{text}\n{comparison.first}"
