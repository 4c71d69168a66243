"""Operators without weights or windows: lowered for random cores they give the golden bytes."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import assume, given, reject, settings
from hypothesis import strategies as st

from gen.compile import compile_model
from gen.fold import fold_channels
from gen.lower.arith import requantize
from gen.lower.functions import FUNCTIONS, byte_table, difference_table
from gen.lower.mean import mean_ratio
from gen.support import check as verdicts
from gen.targets import PRESETS
from models.graph import ModelError
from models.tflite_reader import parse
from sim.golden import mbqm, quantize_multiplier, run, table
from sim.golden.tables import TABLES
from tb.program_model import run_program
from tb.pruned_networks import ZERO_POINT, constant_net, weights
from tb.test_lower import ACTIVATIONS, BUDGET, SEEDS, check, configs
from tb.tflite_builder import Net

SIZES = st.tuples(*[st.integers(1, 6)] * 2)
POINTS = st.sampled_from([-128, -5, 0, 127])
SCALES_PER_TABLE = 100
EVERY = np.arange(-128, 128).astype(np.int8)


# --- operators of one byte -----------------------------------------------------------------------


def test_every_table_of_the_golden_model_is_lowered():
    assert set(FUNCTIONS) == set(TABLES)


@pytest.mark.parametrize("kind", FUNCTIONS)
def test_table_equals_golden_for_every_byte_and_any_scale(kind):
    rng, seen, last = np.random.default_rng([*kind.encode()]), 0, 1.0
    while seen < SCALES_PER_TABLE:
        wide = seen % 2
        scale = float(10 ** rng.uniform(*((-3, 0), (-7, 6))[wide]))
        last = scale * float(10 ** rng.uniform(*((-1, 1), (-4, 4))[wide]))
        points = (int(rng.choice([-128, 127, 0, rng.integers(-128, 128)])) for _ in range(2))
        alpha = float(rng.choice([0.0, 0.01, 0.3, 1.0, -0.5, rng.normal() * 10]))
        net = Net((1, 256), scale, next(points)).table(kind, last, next(points), alpha=alpha)
        try:
            graph = parse(net.bytes())
        except ModelError:
            continue           # scales that the reader refuses
        expected = np.roll(table(graph, graph.ops[0]), 128)
        assert np.array_equal(byte_table(graph, graph.ops[0]), expected), (seen, graph)
        seen += 1


def test_difference_table_makes_any_function_of_the_maximum():
    outputs = np.random.default_rng(1).integers(-128, 128, 256)
    bytes_ = np.arange(256).astype(np.int8).astype(np.int64)
    assert np.array_equal(difference_table(outputs).astype(np.int64) + (bytes_ << 19),
                          outputs << 19)


def test_lowering_equals_golden_for_tables():
    @settings(BUDGET, max_examples=80)
    @given(configs(), SIZES, st.integers(1, 40), st.lists(st.sampled_from([*FUNCTIONS]),
           min_size=1, max_size=3), st.integers(0, 3), SEEDS)
    def case(config, size, depth, kinds, form, seed):
        net = Net((1, *size, depth), seed=seed)
        if form & 1:
            net.conv(depth, (1, 1))
        if form & 2:
            net.reshape((1, size[0] * size[1], 1, depth))
        for kind in kinds:
            net.table(kind)
        check(net, config, inputs=2)
    case()


def test_tables_and_additions_share_the_table():
    net = Net((1, 4, 4, 8), seed=1)
    start = net.conv(8).here
    net.conv(8).add(start).table("HARD_SWISH").conv(8).table("TANH").add(start)
    for target in PRESETS.values():
        check(net, target.config, inputs=2)


def test_folding_takes_constant_channels_through_tables():
    net = Net((1, 6, 5, 3), seed=1)
    weights = np.random.default_rng(1).integers(-90, 90, (9, 3, 3, 3))
    weights[[1, 4, 8]] = 0
    net.conv(9, weights=weights).table("HARD_SWISH").conv(7, (1, 1)).table("LOGISTIC")
    program = check(net, PRESETS["ecp5-25k"].config)
    assert {tensor.removed for tensor in program.folded} == {(1, 4, 8)}


# --- MEAN ----------------------------------------------------------------------------------------


@settings(BUDGET, max_examples=300)
@given(st.tuples(*[st.integers(1, 255)] * 2), st.floats(-12, 2), SEEDS, POINTS)
def test_mean_ratio_equals_golden_for_any_sum(size, ratio, seed, zero_point):
    net = Net((1, *size, 1), 0.05, zero_point).mean(scale=0.05 * 2.0 ** -ratio, zero_point=0)
    graph = parse(net.bytes())
    op, x, y = graph.ops[0], graph.tensors[graph.input], graph.tensors[graph.output]
    try:
        multiplier, shift = mean_ratio(x, y, op.name)
    except ModelError as error:
        assert x.scale[0] > y.scale[0] and "for each of" in str(error)
        reject()
    count = size[0] * size[1]
    means = np.random.default_rng(seed).normal(0, 128 * 2.0 ** -ratio, 9)
    sums = (np.clip(means, -128 - zero_point, 127 - zero_point) * count).astype(np.int64)
    q, e = quantize_multiplier(x.scale[0] / y.scale[0])
    k = min(int(np.log2(count)), 32, 31 + e)
    assert np.array_equal(requantize(sums, multiplier, shift), mbqm(sums, (q << k) // count, e - k))


def test_lowering_equals_golden_for_means():
    @settings(BUDGET, max_examples=80)
    @given(configs(), st.tuples(*[st.integers(1, 20)] * 2), st.integers(1, 40), st.booleans(),
           st.booleans(), POINTS, st.sampled_from([None, 0.01, 0.05]), SEEDS)
    def case(config, size, depth, keep, first, zero_point, scale, seed):
        net = Net((1, *size, depth), seed=seed)
        if not first:
            net.conv(depth, (1, 1), zero_point=zero_point)
        net.mean((2, 1), keep=keep, scale=scale, zero_point=-zero_point - 1)
        net = net.conv(3, (1, 1)) if keep else net.fully_connected(3)
        assume(net.tensors[net.input].scale[0] < 1)
        check(net, config, inputs=2)
    case()


def test_folding_takes_constant_channels_through_means():
    net = constant_net(30).mean(scale=0.0005).fully_connected(4)
    program = check(net, PRESETS["up5k"].config)
    assert {tensor.removed for tensor in program.folded} == {(1, 3)}


# --- PAD -----------------------------------------------------------------------------------------


def test_lowering_equals_golden_for_pads():
    pads = st.tuples(*[st.integers(0, 4)] * 2)

    @settings(BUDGET, max_examples=80)
    @given(configs(), SIZES, st.integers(1, 40), pads, pads, st.sampled_from([None, -128, 3, 127]),
           st.booleans(), SEEDS)
    def case(config, size, depth, rows, cols, value, first, seed):
        net = Net((1, *size, depth), seed=seed)
        if not first:
            net.conv(depth, (1, 1))
        check(net.pad(rows, cols, value=value).max_pool((1, 1)), config, inputs=2)
    case()


def test_folding_takes_constant_channels_through_pads_of_the_same_value_only():
    for value, gone in ((ZERO_POINT + 30, (1, 3)), (None, ()), (5, ())):
        net = constant_net(30).pad(value=value).max_pool((1, 1)).conv(4, (1, 1))
        program = check(net, PRESETS["up5k"].config)
        assert {tensor.removed for tensor in program.folded} == ({gone} if gone else set())


# --- CONCATENATION -------------------------------------------------------------------------------


def test_lowering_equals_golden_for_concatenations():
    @settings(BUDGET, max_examples=80)
    @given(configs(), SIZES, st.lists(st.integers(1, 3), min_size=1, max_size=3),
           st.integers(1, 40), st.booleans(), SEEDS)
    def case(config, size, lines, last, twice, seed):
        net = Net((1, *size, lines[0] * config.V), 0.05, -7, seed=seed)
        start, parts = net.here, [net.here]
        for channels in (*(count * config.V for count in lines[1:]), last):
            net.here = start
            parts.append(net.conv(channels, (1, 1), scale=0.05, zero_point=-7).here)
        net.here, *others = [start] * twice + parts
        net.concatenation(*others).conv(3, (1, 1))
        check(net, config, inputs=2)
    case()


def test_concatenation_of_vectors_and_of_reshapes():
    net = Net((1, 4, 4, 16), 0.05, 3, seed=1).conv(16, scale=0.05, zero_point=3)
    start = net.here
    net.reshape((1, 2, 8, 16))
    first = net.here
    net.here = start
    net.conv(5, scale=0.05, zero_point=3).reshape((1, 2, 8, 5))
    net.here, other = first, net.here
    net.concatenation(other).mean(scale=0.05, zero_point=3)
    check(net.fully_connected(32, scale=0.05, zero_point=3).concatenation(net.here),
          PRESETS["ecp5-85k"].config)


def test_folding_keeps_the_channels_of_concatenations():
    net = Net((1, 6, 6, 3), 0.05, 3, seed=1).conv(16, weights=weights((16, 3, 3, 3), 1, 3))
    graph = parse(net.concatenation(net.here).conv(4, (1, 1)).bytes())
    assert fold_channels(graph).graph is graph


# --- MUL -----------------------------------------------------------------------------------------


def test_lowering_equals_golden_for_products_with_computed_factors():
    @settings(BUDGET, max_examples=120)
    @given(configs(), SIZES, st.integers(1, 70), POINTS, POINTS, POINTS, ACTIVATIONS,
           st.tuples(*[st.booleans()] * 4), SEEDS)
    def case(config, size, depth, x_point, s_point, y_point, activation, forms, seed):
        assume(config.align <= config.C)
        first, swap, keep, again = forms
        net = Net((1, *size, depth), 0.05, x_point, seed=seed)
        if not first:
            net.conv(depth, (1, 1), scale=0.05, zero_point=x_point)
        start = net.here
        factors = net.mean(keep=keep, scale=0.02, zero_point=s_point).here
        net.here, other = (start, factors) if swap else (factors, start)
        net.mul(other, activation=activation, scale=0.02, zero_point=y_point)
        if again:          # the same rows of the weight banks, between ordinary ones
            net.conv(depth, (1, 1)).mul(factors).conv(3, (2, 2), padding="SAME")
        check(net, config, inputs=2)
    case()


def test_lowering_equals_golden_for_products_with_constants():
    @settings(BUDGET, max_examples=80)
    @given(configs(), SIZES, st.integers(1, 40), POINTS, POINTS, ACTIVATIONS,
           st.sampled_from([(), (1,), "C", "1C", "111C"]), st.booleans(), SEEDS)
    def case(config, size, depth, x_point, s_point, activation, shape, swap, seed):
        net = Net((1, *size, depth), 0.05, x_point, seed=seed)
        if isinstance(shape, str):
            shape = tuple(depth if side == "C" else 1 for side in shape)
        data = np.asarray(net.rng.choice([-128, 0, 127, 5, -60], shape), np.int8)
        other = net.tensor(shape, 0.02, s_point, data=data)
        if swap:
            net.here, other = other, net.here
        net.mul(other, activation=activation, scale=0.05).max_pool((1, 1))
        check(net, config, inputs=2)
    case()


def test_product_is_exact_for_every_pair_of_bytes():
    for target, point in product(PRESETS.values(), (-128, 0, 127)):
        net = Net((1, 4, 64, 256), 0.05, point, seed=1)   # every byte of x in every channel
        other = net.tensor((1, 1, 1, 256), 0.02, -1 - point, data=EVERY.reshape(1, 1, 1, 256))
        graph = parse(net.mul(other, scale=0.3, zero_point=3).bytes())
        x = np.broadcast_to(EVERY.reshape(1, 4, 64, 1), (1, 4, 64, 256))
        config = replace(target.config, act_lines=65536, column_bits=16, memory="plain")
        program = compile_model(graph, replace(target, config=config))
        assert np.array_equal(run_program(program, x)[graph.output], run(graph, x)[graph.output])


def test_written_weights_share_no_rows_with_weights_of_zeros():
    net = Net((1, 4, 4, 16), 0.05, 0, seed=1)
    start = net.conv(16, (1, 1), weights=np.zeros((16, 1, 1, 16)), scale=0.05, zero_point=0).here
    net.conv(16, (1, 1), scale=0.05, zero_point=0).mean(keep=True, scale=0.02, zero_point=0)
    check(net.mul(start, scale=0.02), PRESETS["ecp5-85k"].config, inputs=2)


@pytest.mark.parametrize("name", PRESETS)
def test_squeeze_and_excite_runs_on_every_preset(name):
    net = Net((1, 9, 7, 3), seed=4)
    start = net.conv(40, (3, 3), stride=(2, 2)).table("HARD_SWISH").here
    net.mean(keep=True).conv(8, (1, 1), activation="RELU").conv(40, (1, 1)).table("LOGISTIC")
    net.mul(start, scale=0.02).conv(16, (1, 1))
    assert {v.where for v in verdicts(parse(net.bytes()), PRESETS[name].config)} == {"core"}
    check(net, PRESETS[name].config)


@pytest.mark.parametrize("name", PRESETS)
def test_tables_run_on_every_preset(name):
    net = Net((1, 9, 7, 3), seed=4)
    for kind in FUNCTIONS:
        net.conv(20, (1, 1)).table(kind)
    graph = parse(net.bytes())
    assert {verdict.where for verdict in verdicts(graph, PRESETS[name].config)} == {"core"}
    check(net, PRESETS[name].config)
