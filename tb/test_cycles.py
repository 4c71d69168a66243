"""The cycle model against the counters of the generated core: small cores, presets, networks."""

import json
import random
import time
from dataclasses import replace
from fractions import Fraction
from functools import cache
from pathlib import Path

import numpy as np
import pytest

import sim.golden
import systolith
from gen.compile import compile_model
from gen.cycles import predict
from gen.image import Program
from gen.targets import PRESETS, FitError, Target, resolve
from hw.config import CoreConfig
from models.graph import ModelError
from models.tflite_reader import load, parse
from sim.activity import visit_costs
from sim.run import Inference, Session
from tb import small_core
from tb.preset_core import simulator
from tb.random_networks import RandomNet
from tb.tflite_builder import Net

FASHION = Path(__file__).resolve().parents[1] / "models" / "fashion" / "fashion.tflite"
KINDS = 4           # of networks in turn, see `random_net`
NETWORKS = 16       # a core
WITHIN = 0.05       # all layers of a core that is not in EXACT
CORES = {
    # two clusters, eight short buffers, windows in chunks
    "pair": CoreConfig(P=2, L=2, C=4, V=8, Q=Fraction(4), F=2, act_lines=4096, weight_rows=1024,
                       patch_lines=16, patch_buffers=8, param_groups=64),
    # one port for everything, a byte at a time; weights, parameters and tables are loaded
    "bytes": CoreConfig(P=1, L=2, C=8, V=8, Q=Fraction(1, 4), F=1, act_lines=16384,
                        weight_rows=256, patch_lines=16, patch_buffers=2, param_groups=8,
                        multiplier="lut", memory="ice40"),
    # strips, several groups a line, a port for the feeder alone, weights in pages
    "wide": CoreConfig(P=1, L=4, C=4, V=16, Q=Fraction(1, 2), F=2, act_lines=2048, weight_rows=64,
                       patch_lines=16, patch_buffers=4, param_groups=16),
    # two clusters whose lanes pass over zeros
    "skip": CoreConfig(P=2, L=4, C=4, V=8, Q=Fraction(4), F=2, act_lines=4096, weight_rows=1024,
                       patch_lines=64, patch_buffers=8, param_groups=64, skip="both"),
    # the same without queues, everything through one port
    "seek": CoreConfig(P=1, L=2, C=8, V=8, Q=Fraction(1, 2), F=1, act_lines=16384,
                       weight_rows=256, patch_lines=64, patch_buffers=2, param_groups=8,
                       skip="act", multiplier="sb_mac16", memory="ice40"),
    # clusters that compute two pixels of few channels in a pass
    "twins": CoreConfig(P=2, L=2, C=8, V=8, Q=Fraction(4), F=2, act_lines=4096, weight_rows=1024,
                        patch_lines=64, patch_buffers=4, param_groups=64),
    # two clusters on one port
    "crowd": CoreConfig(P=2, L=2, C=4, V=8, Q=Fraction(2), F=1, act_lines=4096, weight_rows=1024,
                        patch_lines=32, patch_buffers=2, param_groups=64),
}
EXACT = ("pair", "bytes", "wide", "skip", "seek", "twins")
SKIPPING = ("skip", "seek")
PAGED_WITHIN = 0.02  # a layer of SKIP_LEAST cycles of a network whose weights come as pages
SKIP_WITHIN = 0.03  # a layer of SKIP_LEAST cycles that passes over zeros
SKIP_LEAST = 1000


def random_net(rng: random.Random, number: int, patch_bytes: int) -> Net:
    """A network of one of the kinds: pools and additions, depthwise, an image, long rows."""
    kind, size = number % KINDS, (rng.randint(3, 14), rng.randint(3, 14))
    if kind == 0:
        return RandomNet(rng, number, patch_bytes).net
    stride, padding = rng.choice([(1, 1), (2, 2), (1, 2)]), rng.choice(["SAME", "VALID"])
    if kind == 1:
        return Net((1, *size, rng.randint(2, 30)), seed=number).depthwise(
            (rng.randint(1, 3), rng.randint(1, 3)), stride=stride, padding=padding).depthwise(
            (rng.randint(1, 5), rng.randint(1, 5)), padding="SAME")
    if kind == 2:
        return Net((1, *size, 3), seed=number).conv(
            rng.randint(1, 16), (3, 3), stride=stride, padding=padding).conv(
            rng.randint(1, 32), (1, 1), stride=rng.choice([(1, 1), (2, 2)]))
    start = Net((1, 1, rng.randint(8, 40), rng.randint(1, 24)), seed=number)
    start.conv(rng.randint(4, 24), (1, rng.randint(1, 7)), stride=(1, rng.randint(1, 3)))
    here = start.here
    start.conv(start.shape[3], (1, 3)).add(here)
    return start.reshape().fully_connected(rng.randint(2, 20))


def programs(name: str, most_rows: int = 20_000, skip: str = "off") -> list[Program]:
    """Random networks, compiled for a core."""
    config, rng, found = CORES[name], random.Random(name), []
    for number in range(NETWORKS):
        net = random_net(rng, number, config.patch_lines * config.V)
        try:
            program = compile_model(parse(net.bytes()), replace(PRESETS["ecp5-85k"], config=config),
                                    skip=skip)
        except ModelError:
            continue        # too large for these memories
        if sum(layer.rows for layer in program.layers) <= most_rows:
            found.append(program)
    assert len(found) >= NETWORKS // 2
    return found


def measured(program: Program, binary: Path) -> Inference:
    with Session(program, binary) as session:
        return session.infer(np.zeros(program.input.shape, np.int8))


def differences(program: Program, inference: Inference) -> list[str]:
    """Layers whose cycles or stalls are not those that the core counted."""
    return [f"{layer.name}: {run.cycles} {run.stalls}, not {cycles.total} {cycles.stalls}"
            for layer, run, cycles in zip(program.layers, inference.layers, predict(program),
                                          strict=True)
            if (run.cycles, run.stalls) != (cycles.total, cycles.stalls)]


@pytest.mark.parametrize("name", [
    *EXACT, *(pytest.param(name, marks=pytest.mark.long) for name in CORES if name not in EXACT)])
def test_random_layers_take_the_predicted_cycles(name, tmp_path):
    """Exactly so but for clusters that share a port, whose feeders delay each other."""
    binary, counted, off = small_core.build(CORES[name], tmp_path), 0, 0
    for program in programs(name):
        inference = measured(program, binary)
        counted += inference.cycles
        if name in EXACT:
            assert differences(program, inference) == []
        off += sum(abs(cycles.total - run.cycles) for cycles, run in zip(
            predict(program), inference.layers, strict=True))
    assert off <= WITHIN * counted and counted > 1000


def check_network(path: Path, target: Target, fit: bool = False) -> None:
    """A network on a preset takes the predicted cycles, predicted within two seconds."""
    program = compile_model(load(path), target, fit=fit, skip="off")
    begin = time.process_time()
    predict(program)
    assert time.process_time() - begin < 2
    inference, found = measured(program, simulator(program.core_config)), predict(program)
    if program.stream:        # when a page comes is known to some cycles
        assert all(abs(cycles.total - run.cycles) <= PAGED_WITHIN * run.cycles
                   for run, cycles in zip(inference.layers, found, strict=True)
                   if run.cycles >= SKIP_LEAST)
        return
    assert differences(program, inference) == []
    assert sum(cycles.total for cycles in found) == inference.cycles


@pytest.fixture(scope="module")
def skipping_core(tmp_path_factory):
    """Return simulators of the cores that pass over zeros, each built once."""
    return cache(lambda name: small_core.build(CORES[name], tmp_path_factory.mktemp(name)))


@pytest.mark.parametrize("name", SKIPPING)
def test_random_layers_that_skip_take_the_predicted_cycles(name, skipping_core):
    """Given what they see: random inputs, of which a random part is zero."""
    binary, rng = skipping_core(name), np.random.default_rng(5)
    seen = 0
    for graph, program in skipping_programs(name):
        x = rng.integers(-128, 128, program.input.shape, np.int8)
        x[rng.random(x.shape) < rng.random()] = graph.tensors[graph.input].zero_point
        with Session(program, binary) as session:
            inference = session.infer(x)
        golden = sim.golden.run(graph, x)
        found = predict(program, costs=visit_costs(program, golden, 0, x))
        for layer, cycles in zip(inference.layers, found, strict=True):
            if layer.cycles >= SKIP_LEAST:
                assert abs(cycles.total - layer.cycles) <= SKIP_WITHIN * layer.cycles
                seen += 1
    assert seen >= 10


def skipping_programs(name: str) -> list:
    """Convolutions of several sizes, strides and depths, with ReLUs between them."""
    found, rng, config = [], random.Random(9), CORES[name]
    for number in range(12):
        net = Net((1, rng.randint(10, 18), rng.randint(10, 18), rng.randint(8, 24)), seed=number)
        net.conv(rng.randint(4, 24), (3, 3), activation="RELU")
        net.conv(rng.randint(4, 24), (rng.randint(1, 3), 1), stride=(1, 1), activation="RELU")
        net.conv(rng.randint(4, 24), (2, 2), stride=(2, 1), padding="SAME")
        net.prune_rows(rng.random(), config.C)
        graph = parse(net.bytes())
        target = replace(PRESETS["ecp5-85k"], config=config)
        skip = ("on", "act", "weights" if config.row_masks else "auto")[number % 3]
        found.append((graph, compile_model(graph, target, skip=skip)))
    return found


def test_zeros_of_both_kinds_make_a_layer_faster(skipping_core):
    """K = 144, half of the activations and half of the weight rows zero; same bytes either way."""
    net = Net((1, 10, 10, 16), seed=1).conv(16, (3, 3), padding="VALID")
    graph = parse(net.prune_rows(0.5, CORES["skip"].C).bytes())
    rng = np.random.default_rng(2)
    x = rng.integers(-128, 128, graph.tensors[graph.input].shape, np.int8)
    x[rng.random(x.shape) < 0.5] = graph.tensors[graph.input].zero_point
    cycles = {}
    for skip in ("off", "act", "weights", "on"):
        program = compile_model(graph, replace(PRESETS["ecp5-85k"], config=CORES["skip"]),
                                skip=skip)
        with Session(program, skipping_core("skip")) as session:
            inference = session.infer(x)
        assert np.array_equal(inference.output, sim.golden.run(graph, x)[program.output.tensor])
        cycles[skip] = inference.cycles
    assert cycles["off"] >= 2.6 * cycles["on"], cycles
    assert min(cycles["act"], cycles["weights"]) >= 1.4 * cycles["on"], cycles


@pytest.mark.parametrize("name", PRESETS)
def test_our_network_takes_the_predicted_cycles(name):
    check_network(FASHION, resolve(name))


@pytest.mark.parametrize("network", ["ic_resnet8", "kws_dscnn"])
def test_mlperf_networks_take_the_predicted_cycles(network, mlperf):
    check_network(mlperf / f"{network}.tflite", resolve("up5k"))


@pytest.mark.long
@pytest.mark.parametrize("fit", [False, True], ids=["preset", "fit"])
@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("network", ["fashion", "ic_resnet8", "kws_dscnn", "vww_mobilenet",
                                     "ad_autoencoder"])
def test_every_network_on_every_preset_takes_the_predicted_cycles(network, name, fit, mlperf):
    path = FASHION if network == "fashion" else mlperf / f"{network}.tflite"
    try:
        check_network(path, resolve(name), fit)
    except FitError as error:
        pytest.skip(str(error))


def test_compile_prints_and_writes_the_prediction(capsys, tmp_path):
    program = compile_model(load(FASHION), resolve("up5k"), skip="off")
    assert systolith.main(["compile", str(FASHION), "--target", "up5k", "--skip", "off",
                           "-o", str(tmp_path)]) == 0
    printed, report = capsys.readouterr().out, json.loads((tmp_path / "report.json").read_text())
    found = predict(program)
    total = sum(cycles.total for cycles in found)
    assert report["cycles"] == total and f"{total:,}" in printed
    assert f"{total:,} cycles" in (tmp_path / "report.md").read_text()
    for layer, row, cycles in zip(program.layers, report["layers"], found, strict=True):
        assert (row["cycles"], row["stalls"]) == (cycles.total, cycles.stalls)
        assert row["cycles_bound"] <= row["cycles"]
        assert row["utilization"] == round(layer.macs / cycles.total / 16, 4)
