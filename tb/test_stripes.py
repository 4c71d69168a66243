"""Chains of layers in stripes of rows: the bytes of whole maps, in less memory."""

from dataclasses import replace
from fractions import Fraction
from random import Random

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from gen.assemble import assemble
from gen.compile import compile_model
from gen.cycles import predict
from gen.draft import draft, lay_out
from gen.image import Program, load, to_bytes
from gen.lower import lower, stripes
from gen.lower.stripes import Chain, cut, scratch_lines, stripe, walks_rows
from gen.pages import Paging
from gen.report import markdown, summarize
from gen.stripes import chains, striped_draft
from gen.support import check as verdicts
from gen.targets import PRESETS, FitError
from hw.config import CoreConfig
from models.graph import Graph
from models.tflite_reader import parse
from sim import golden
from sim.compare import Comparison, compare_layers
from sim.run import Session
from tb.program_model import run_program
from tb.small_core import build
from tb.tflite_builder import Net

ECP5 = {"P": 1, "L": 2, "C": 8, "V": 16, "Q": Fraction(1), "F": 1, "align": 1, "act_lines": 8192,
        "weight_rows": 2048, "patch_lines": 64, "param_groups": 64, "multiplier": "lut",
        "memory": "plain"}
CORES = {
    "one cluster": CoreConfig(**ECP5),
    "two clusters": CoreConfig(**ECP5 | {"P": 2, "Q": Fraction(2)}),
    "two clusters, strips": CoreConfig(**ECP5 | {"P": 2, "L": 4, "F": 2, "Q": Fraction(2)}),
    "constants are loaded": CoreConfig(**ECP5 | {
        "V": 8, "align": 2, "act_lines": 16384, "weight_rows": 256, "multiplier": "sb_mac16",
        "memory": "ice40", "Q": Fraction(1, 4)}),
    "constants are paged": CoreConfig(**ECP5 | {"weight_rows": 128, "param_groups": 6}),
}
BUDGET = settings(max_examples=120, deadline=None, derandomize=True,
                  suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])


def chain_net(random: Random, seed: int) -> Net:
    """Layers in a row, each of which walks the rows of the one before."""
    net = Net((1, random.randint(5, 17), random.randint(2, 7), random.randint(1, 9)), seed=seed)
    for _ in range(random.randint(2, 5)):
        kind = random.choice(["conv", "conv", "depthwise", "max_pool", "average_pool", "pad",
                              "table"])
        stride = random.choice([(1, 1), (1, 1), (2, 1), (2, 2), (1, 2)])
        padding = random.choice(["SAME", "VALID"])
        kernel = tuple(random.randint(1, min(5, side)) for side in net.shape[1:3])
        if kind == "conv":
            net.conv(random.randint(1, 20), kernel, stride=stride, padding=padding)
        elif kind == "pad":
            net.pad((random.randint(0, 4), random.randint(0, 4)), (0, 1))
        elif kind == "table":
            net.table("LOGISTIC")
        else:
            getattr(net, kind)(kernel, stride=stride, padding=padding)
    return net


def some_chain(random: Random, graph: Graph, config: CoreConfig) -> Chain:
    """One of a network's chains in any number of stripes, also too many to be useful."""
    lowered = lower(graph, config)
    able = sorted({(chain.layers.start, chain.layers.stop) for chain in chains(lowered, config)},
                  key=lambda ends: ends[0] - ends[1])
    assume(able)
    able = able[:2]        # the longest
    layers = range(*random.choice(able))
    height = lowered.storages[lowered.layers[layers[-1]].output].height
    return cut(lowered, layers, random.randint(2, height), config)


def forced(graph: Graph, chain: Chain, config: CoreConfig, paging: Paging | None = None) -> Program:
    """The program with a chain in stripes, whether or not that is needed."""
    found = lay_out(stripe(lower(graph, config), chain, config), graph.input, config, paging)
    return assemble(graph, found, replace(PRESETS["ecp5-25k"], config=config))


def require_golden(graph: Graph, program: Program, seed: int):
    """Every tensor that the program writes has the golden model's bytes."""
    shape = graph.tensors[graph.input].shape
    x = np.random.default_rng(seed).integers(-128, 128, shape, np.int8)
    expected = golden.run(graph, x)
    found = run_program(program, x, seed)
    assert program.output.tensor in found
    for tensor, values in found.items():
        assert np.array_equal(values, expected[tensor]), tensor


@pytest.mark.parametrize("name", CORES)
def test_stripes_equal_golden_for_any_chain(name):
    config, again = CORES[name], []

    @BUDGET
    @given(st.integers(0, 1 << 30))
    def case(seed):
        random = Random(seed)
        graph = parse(chain_net(random, seed).bytes())
        assume(all(verdict.where == "core" for verdict in verdicts(graph, config)))
        chain = some_chain(random, graph, config)
        share = random.randint(0, 3) if name.startswith("constants") else 0
        paging = Paging(share=share) if share else None
        try:
            program = forced(graph, chain, config, paging)
        except FitError:
            assume(False)
        require_golden(graph, program, seed)
        layer = program.layers[chain.layers.start]
        assert layer.stripes == len(chain.rows)
        assert len(layer.name.split("+")) == len(chain.layers) == len(layer.fused) + 1
        again.append(layer.macs_again)

    case()
    assert sum(map(bool, again)) > len(again) / 3


def two_convs(height: int = 12) -> Graph:
    net = Net((1, height, 6, 8), seed=3).conv(16).conv(8, stride=(2, 2)).max_pool()
    return parse(net.bytes())


def test_rows_of_a_stripe_have_their_halo():
    lowered = lower(two_convs(), CORES["one cluster"])
    chain = cut(lowered, range(2), 3, CORES["one cluster"])
    # stride 2 and SAME: windows of 3 rows from row 2y on, but for the padding below the last
    assert chain.rows == ((range(6), range(5), range(2)), (range(3, 10), range(4, 9), range(2, 4)),
                          (range(7, 12), range(8, 12), range(4, 6)))
    assert (chain.most(1), chain.computed(0), chain.computed(1)) == (5, 14, 6)
    layer = stripe(lowered, chain, CORES["one cluster"]).layers[0]
    macs = [layer.macs for layer in lowered.layers]
    assert layer.macs == macs[0] + macs[1] and layer.macs_again == macs[0] * 2 // 12
    assert (layer.kind, layer.stripes) == ("CONV_2D+CONV_2D", 3)
    assert layer.fused == lowered.layers[0].tensors


def test_halo_one_row_short_is_seen(monkeypatch):
    def short(*arguments):
        rows = needed(*arguments)
        return rows[:-1] if len(rows) > 1 and rows.stop < 12 else rows

    needed, graph, config = stripes.needed, two_convs(), CORES["one cluster"]
    lowered = lower(graph, config)
    require_golden(graph, forced(graph, cut(lowered, range(2), 3, config), config), 1)
    monkeypatch.setattr(stripes, "needed", short)
    with pytest.raises(AssertionError):
        require_golden(graph, forced(graph, cut(lowered, range(2), 3, config), config), 1)


def test_padding_far_below_the_map():
    graph = parse(Net((1, 3, 2, 8), seed=1).table("LOGISTIC").pad((1, 200), (0, 0)).bytes())
    for name in ("one cluster", "two clusters"):
        lowered = lower(graph, CORES[name])
        chain = cut(lowered, range(2), 204, CORES[name])
        assert all(len(rows[0]) == len(rows[1]) == 1 for rows in chain.rows)
        require_golden(graph, forced(graph, chain, CORES[name]), 1)


def test_clusters_share_each_stripe_anew():
    config = CORES["two clusters, strips"]
    lowered = lower(parse(Net((1, 8, 5, 16), seed=1).conv(16, (1, 1)).depthwise().bytes()), config)
    assert [layer.steps[0].fields["split"] for layer in lowered.layers] == [0, 0]
    steps = stripe(lowered, cut(lowered, range(2), 8, config), config).layers[0].steps
    assert [step.fields["out_h"] for step in steps] == [2, 1, *[3, 1] * 6, 2, 1]
    assert [step.fields["split"] for step in steps] == [0, 1, *[1, 1] * 6, 0, 1]   # 15 pixels


def test_scratch_holds_neighbours_at_its_ends():
    config = CORES["one cluster"]
    net = Net((1, 9, 4, 8), seed=1).conv(64).conv(8).conv(32).conv(8)
    lowered = lower(parse(net.bytes()), config)
    chain = cut(lowered, range(4), 9, config)
    lines = [chain.most(n) * 4 * pixel for n, pixel in ((1, 4), (2, 1), (3, 2))]
    assert chain.most(3) == 3 and chain.most(2) == 5 and chain.most(1) == 7
    assert scratch_lines(lowered, chain, config) == lines[0] + lines[1] > lines[1] + lines[2]
    assert scratch_lines(lowered, cut(lowered, range(2), 3, config), config) == 5 * 4 * 4


def test_chain_ends_where_rows_do_not_walk_alone():
    config = CORES["one cluster"]
    net = Net((1, 8, 8, 16), seed=1).conv(16).conv(16)
    start = net.here
    net.conv(16).depthwise().conv(16).add(start).conv(16).max_pool()
    net.mean(keep=True).conv(8, (1, 1)).mul(net.tensor((8,), 0.01, 0, data=np.ones(8, np.int8)))
    graph = parse(net.bytes())
    lowered = lower(graph, config)
    able = {(c.layers.start, c.layers.stop) for c in chains(lowered, config)}
    assert [layer.kind for layer in lowered.layers][4:7] == ["CONV_2D+ADD", "CONV_2D",
                                                              "MAX_POOL_2D"]
    # conv, conv | conv, depthwise | conv + add | conv, pool, and nothing that ends in one row
    assert able == {(0, 2), (2, 4), (5, 7)}
    column = lower(parse(Net((1, 9, 1, 16), seed=1).conv(8, (3, 1)).conv(8, (3, 1)).bytes()),
                   config)
    assert not any(walks_rows(layer, column.storages, config) for layer in column.layers)


STEM = Net((1, 25, 24, 3), seed=2).conv(32, activation="RELU6").depthwise(stride=(2, 2)) \
    .conv(16, (1, 1)).depthwise().average_pool((13, 12)).reshape().fully_connected(4) \
    .softmax().bytes()
SMALL = {"one cluster": 704, "two clusters": 704, "constants are paged": 832}    # lines


@pytest.mark.parametrize("name", SMALL)
def test_network_fits_in_stripes_only(name, tmp_path):
    graph = parse(STEM)
    base = replace(PRESETS["ecp5-25k"], config=CORES[name])
    lines = SMALL[name]
    target = replace(base, config=replace(base.config, act_lines=lines))
    assert draft(graph, target.config, Paging(share=1)).placed.lines > lines
    program = compile_model(graph, target)
    require_golden(graph, program, 5)
    layer = next(layer for layer in program.layers if layer.stripes > 1)
    assert program.memory["activation"]["used"] <= lines * 16 and layer.macs_again > 0
    assert bool(program.stream) == (name == "constants are paged")
    row = summarize(program)["layers"][program.layers.index(layer)]
    assert row["stripes"]["macs_again"] == layer.macs_again and row["stripes"]["more_cycles"] > 0
    assert (f"In {layer.stripes} stripes of rows, as whole maps do not fit: {layer.name}; "
            f"{layer.macs_again:,} MACs are computed twice") in markdown(program)
    (tmp_path / "p").write_bytes(to_bytes(program))
    assert load(tmp_path / "p") == program


@pytest.mark.parametrize("name", ["two clusters, strips", "constants are loaded"])
def test_core_equals_golden_and_the_prediction_in_stripes(name, tmp_path):
    config, binary = CORES[name], build(CORES[name], tmp_path)
    ran = 0
    for seed in range(40):
        graph = parse(chain_net(Random(seed), seed).bytes())
        if ran == 8 or any(verdict.where != "core" for verdict in verdicts(graph, config)):
            continue
        able = [chain for chain in chains(lower(graph, config), config) if chain.again(0)]
        if not able:
            continue
        program = forced(graph, able[-1], config)
        if sum(layer.rows for layer in program.layers) > 4000:
            continue
        ran += 1
        x = np.random.default_rng(seed).integers(-128, 128, graph.tensors[graph.input].shape,
                                                 np.int8)
        comparison, expected = Comparison(), {
            tensor: values[None] for tensor, values in golden.run(graph, x).items()}
        with Session(program, binary) as session:
            inference = session.infer(x)
        compare_layers(comparison, program, expected, 0, seed, inference)
        assert comparison.mismatches == 0, comparison.first
        assert [run.cycles for run in inference.layers] == [x.total for x in predict(program)]
    assert ran == 8


def mobilenet(size: int) -> Net:
    """MobileNet v1, a quarter as wide."""
    net = Net((1, size, size, 3), seed=1).conv(8, stride=(2, 2), activation="RELU6")
    for channels, side in [(16, 1), (32, 2), (32, 1), (64, 2), (64, 1), (128, 2),
                           *[(128, 1)] * 5, (256, 2), (256, 1)]:
        net.depthwise(stride=(side, side), activation="RELU6")
        net.conv(channels, (1, 1), activation="RELU6")
    return net.average_pool(net.shape[1:3]).reshape().fully_connected(2).softmax()


def test_mobilenet_for_large_images_fits_in_stripes():
    graph, target = parse(mobilenet(160).bytes()), PRESETS["ecp5-85k"]
    assert draft(graph, target.config, Paging(share=1)).placed.lines * 16 == 204_800
    program = compile_model(graph, target)
    assert program.memory["activation"]["activations"] <= 117_760
    layer = program.layers[0]
    assert layer.stripes > 1 and layer.macs_again < 0.1 * sum(x.macs for x in program.layers)
    require_golden(graph, program, 1)


def test_error_is_that_of_whole_maps_where_stripes_do_not_help():
    config = replace(CORES["one cluster"], act_lines=256)
    target = replace(PRESETS["ecp5-25k"], config=config)
    with pytest.raises(FitError, match="in stripes of rows"):
        striped_draft(parse(STEM), target, lower(parse(STEM), config))
    with pytest.raises(FitError, match="the activation memory must hold .* or a larger target"):
        compile_model(parse(STEM), target)
