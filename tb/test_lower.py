"""Random networks, lowered for random cores and interpreted, give the golden model's bytes."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, reject, settings
from hypothesis import strategies as st

from gen.compile import compile_model
from gen.lower import lower
from gen.lower.arith import (
    MAX_STAGE,
    POOL_WEIGHT,
    add_table,
    encode_ratio,
    pool_ratio,
    quantize_ratio,
    requantize,
)
from gen.lower.pool import spans
from gen.pages import make_plan
from gen.support import check as verdicts
from gen.targets import PRESETS, FitError, resolve
from hw.config import CoreConfig
from hw.layout import Opcode, Space
from models.graph import Graph, ModelError
from models.tflite_reader import load, parse
from sim.compare import unfold
from sim.golden import mbqm, quantize_multiplier, run
from tb.program_model import run_program
from tb.tflite_builder import Net

ACTIVATIONS = st.sampled_from(["NONE", "RELU", "RELU6", "RELU_N1_TO_1"])
PADDINGS = st.sampled_from(["SAME", "VALID"])
FORMS = ["input", "later", "both", "twice", "pooled", "chain", "keep"]
SEEDS = st.integers(0, 1 << 30)
BUDGET = settings(max_examples=60, deadline=None, derandomize=True,
                  suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])


@st.composite
def configs(draw, **fixed) -> CoreConfig:
    """Any shape of core, wide or narrow, whose memories hold small networks or page them."""
    lanes, columns = draw(st.sampled_from([1, 2, 4, 8])), draw(st.sampled_from([4, 8, 16, 32]))
    lines = [v for v in (4, 8, 16, 32, 64) if max(columns, lanes) <= v <= lanes * columns]
    assume(lines)
    v, p = draw(st.sampled_from(lines)), draw(st.sampled_from([1, 2]))
    values = {
        "P": p, "L": lanes, "C": columns, "V": v, "Q": Fraction(p), "F": 1,
        "align": draw(st.sampled_from([a for a in (1, 2, 4, 8, 16, 32, 64) if a <= v])),
        "act_lines": 16384, "weight_rows": draw(st.sampled_from([256, 2048, 16384])),
        "patch_lines": draw(st.sampled_from([16, 64, 256])),
        "param_groups": draw(st.sampled_from([4, 16, 256])), "dim_bits": draw(st.integers(8, 16)),
        "multiplier": draw(st.sampled_from(["lut", "sb_mac16"]))}
    return CoreConfig(**values | fixed)


def check(net: Net | Graph, config: CoreConfig, inputs: int = 1):
    """Compile, interpret, and compare every tensor with the golden model.

    Where a group of columns exceeds the drawn memories, larger ones take it.
    """
    graph = parse(net.bytes()) if isinstance(net, Net) else net
    target = replace(PRESETS["ecp5-85k"], config=config)
    if any("scale ratio" in verdict.reason for verdict in verdicts(graph, config)):
        reject()  # drawn weights near zero
    try:
        program = compile_model(graph, target)
    except FitError:
        assert config.memory == "plain"
        larger = replace(config, weight_rows=65536, param_groups=256)
        program = compile_model(graph, replace(target, config=larger))
    shape = graph.tensors[graph.input].shape
    random = np.random.default_rng(inputs)
    covered = {i for layer in program.layers for i in (*layer.tensors, *layer.fused)}
    assert covered >= {op.outputs[0] for op in graph.ops if op.name not in program.host
                       and op.kind != "RESHAPE"}
    for seed in range(inputs):
        x = random.integers(-128, 128, shape, np.int8)
        golden = run(graph, x)
        found = run_program(program, x, seed)
        lost = {tensor.tensor: tensor for tensor in program.folded}
        for tensor, values in found.items():
            if tensor in lost:
                values = unfold(lost[tensor], values, golden[tensor])
            assert np.array_equal(values, golden[tensor]), tensor
        assert set(found) == {layer.output.tensor for layer in program.layers} | {
            program.output.tensor}
    return program


def test_lowering_equals_golden_for_any_convolution():
    @BUDGET
    @given(configs(), st.tuples(*[st.integers(1, 9)] * 2), st.integers(1, 20), st.integers(1, 40),
           st.tuples(*[st.integers(1, 5)] * 2), st.tuples(*[st.integers(1, 3)] * 2), PADDINGS,
           ACTIVATIONS, SEEDS)
    def case(config, size, depth, channels, kernel, stride, padding, activation, seed):
        if padding == "VALID":
            kernel = tuple(map(min, kernel, size))
        net = Net((1, *size, depth), seed=seed)
        net.conv(channels, kernel, stride=stride, padding=padding, activation=activation)
        check(net, config)
    case()


def test_lowering_equals_golden_for_convolutions_in_a_row():
    @BUDGET
    @given(configs(), st.integers(2, 9), st.integers(1, 9), st.integers(1, 12), st.integers(1, 24),
           st.integers(1, 24), st.booleans(), SEEDS)
    def case(config, height, width, depth, first, second, dense, seed):
        net = Net((1, height, width, depth), seed=seed).conv(first, (3, 3), activation="RELU")
        net.conv(second, (2, 3), stride=(2, 1))
        if dense:
            net.reshape().fully_connected(7)
        check(net.softmax(), config, inputs=2)
    case()


def test_lowering_equals_golden_along_one_dimension():
    @BUDGET
    @given(configs(P=2), st.integers(1, 40), st.integers(1, 9), st.integers(1, 9),
           st.integers(1, 4), PADDINGS, st.booleans(), SEEDS)
    def case(config, length, depth, kernel, stride, padding, column, seed):
        shape = (length, 1) if column else (1, length)
        kernel = min(kernel, length)
        net = Net((1, *shape, depth), seed=seed)
        for channels in (6, 9):
            kernel = min(kernel, max(net.shape[1:3]))
            net.conv(channels, (kernel, 1) if column else (1, kernel), padding=padding,
                     stride=(stride, 1) if column else (1, stride))
        check(net, config)
    case()


def test_lowering_equals_golden_for_fully_connected():
    @BUDGET
    @given(configs(), st.integers(1, 700), st.integers(1, 60), ACTIVATIONS, SEEDS)
    def case(config, depth, channels, activation, seed):
        net = Net((1, depth), seed=seed).fully_connected(channels, activation=activation)
        check(net.fully_connected(3), config)
    case()


def test_lowering_chunks_patches_of_thousands_of_bytes():
    @settings(BUDGET, max_examples=12)
    @given(configs(patch_lines=16, weight_rows=16384), st.integers(600, 4000), st.integers(1, 20),
           SEEDS)
    def case(config, depth, channels, seed):
        net = Net((1, 2, 2, depth // 4), seed=seed).conv(channels, (2, 2), padding="SAME")
        program = check(net, config)
        assert program.descriptors >= 1
    case()


def test_lowering_equals_golden_for_pools():
    @settings(BUDGET, max_examples=80)
    @given(configs(), st.tuples(*[st.integers(1, 9)] * 2), st.integers(1, 40),
           st.tuples(*[st.integers(1, 6)] * 2), st.tuples(*[st.integers(1, 3)] * 2), PADDINGS,
           ACTIVATIONS, st.booleans(), st.booleans(), SEEDS)
    def case(config, size, depth, kernel, stride, padding, activation, maximum, first, seed):
        kernel = tuple(map(min, kernel, size))
        net = Net((1, *size, depth), seed=seed)
        if not first:
            net.conv(depth, (1, 1))
        pool = net.max_pool if maximum else net.average_pool
        pool(kernel, stride=stride, padding=padding, activation=activation)
        check(net, config, inputs=2)
    case()


def test_lowering_equals_golden_for_additions():
    @settings(BUDGET, max_examples=100)
    @given(configs(), st.tuples(*[st.integers(1, 6)] * 2), st.integers(1, 40), ACTIVATIONS,
           ACTIVATIONS, st.sampled_from(FORMS),
           st.booleans(), SEEDS)
    def case(config, size, depth, first, second, form, swap, seed):
        check(residual_net(form, size, depth, first, second, swap, seed), config, inputs=2)
    case()


def residual_net(form, size, depth, first, second, swap, seed) -> Net:
    """Additions in every position relative to convolutions."""
    net = Net((1, *size, depth), seed=seed)

    def add(a, b):
        net.here, other = (b, a) if swap else (a, b)
        net.add(other, activation=second)

    if form == "input":                       # the residual is the input, read by the convolution
        start = net.here
        add(net.conv(depth, (3, 3), activation=first).here, start)
    elif form == "later":                     # two convolutions on one side, as in ResNet
        start = net.conv(depth, (1, 1)).here
        net.conv(depth, activation="RELU").conv(depth, activation=first)
        add(net.here, start)
    elif form == "both":                      # a convolution on either side
        start = net.here
        left = net.conv(depth, activation=first).here
        net.here = start
        add(net.conv(depth, (1, 1)).here, left)
    elif form == "twice":                     # the convolution's output has another reader
        start = net.conv(depth, (1, 1)).here
        left = net.conv(depth, (3, 3)).here
        add(left, start)
        add(net.here, left)
    elif form == "pooled":                    # no convolution produces either operand
        start = net.conv(depth, (1, 1)).here
        left = net.max_pool((2, 2), stride=(1, 1), padding="SAME").here
        net.here = start
        add(net.average_pool((3, 3), stride=(1, 1), padding="SAME").here, left)
    elif form == "chain":                     # several tables
        for _ in range(3):
            start = net.here
            add(net.conv(depth, (3, 3), activation=first).here, start)
    else:                                     # a tensor added to itself, and kept
        start = net.conv(depth, (1, 1)).here
        add(start, start)
        add(net.here, start)
    return net


def test_lowering_equals_golden_for_networks():
    @BUDGET
    @given(configs(), st.integers(4, 9), st.integers(1, 12), st.booleans(), SEEDS)
    def case(config, side, depth, swap, seed):
        net = Net((1, side, side, depth), seed=seed).conv(12, activation="RELU")
        start = net.here
        net.conv(12, activation="RELU").conv(12)
        net.here, other = (start, net.here) if swap else (net.here, start)
        net.add(other, activation="RELU").max_pool().conv(20, stride=(2, 2))
        net.average_pool((net.shape[1], net.shape[2])).reshape().fully_connected(10).softmax()
        check(net, config, inputs=2)
    case()


@pytest.mark.parametrize("name", PRESETS)
def test_lowering_equals_golden_on_presets(name):
    net = Net((1, 16, 16, 3), seed=5).conv(16, stride=(2, 2), activation="RELU")
    start = net.here
    net.conv(24, activation="RELU").conv(16).add(start, activation="RELU")
    net.conv(32, (5, 3), padding="VALID").max_pool().average_pool((2, 2), padding="SAME")
    check(net.reshape().fully_connected(10).softmax(), PRESETS[name].config, inputs=2)


def test_reshape_costs_nothing_and_flattens_padded_pixels():
    net = Net((1, 6, 4, 5), seed=2).reshape((1, 4, 6, 5)).conv(9, (2, 2)).reshape()
    program = check(net.fully_connected(4), PRESETS["ecp5-85k"].config)
    assert [layer.kind for layer in program.layers] == ["CONV_2D", "FULLY_CONNECTED"]
    assert program.input.pixel_bytes == 5


def test_input_is_as_dense_as_the_alignment_allows():
    graph = parse(Net((1, 8, 8, 3), seed=1).conv(8).bytes())
    found = [compile_model(graph, resolve("up5k", [f"align={n}"])).input.pixel_bytes
             for n in (1, 2, 4, 8)]
    assert found == [3, 4, 4, 8]


@pytest.mark.parametrize("depth, count, size", [(3, 1, 9), (16, 1, 48), (10, 1, 30)])
def test_kernel_row_without_padding_is_one_segment(depth, count, size):
    graph = parse(Net((1, 8, 8, depth), seed=1).conv(10).conv(10).bytes())
    first, second = lower(graph, PRESETS["ecp5-85k"].config).layers
    fields = first.steps[0].fields
    assert (fields["segments"], fields["segment_bytes"]) == (count, size)
    fields = second.steps[0].fields  # 10 channels in pixels of 16 bytes
    assert (fields["segments"], fields["segment_bytes"], fields["segment_pitch"]) == (3, 10, 16)


def test_scales_of_fully_connected_multiply_in_double_precision():
    net = Net((1, 8), scale=0.0123, zero_point=0, seed=1)
    graph = parse(net.fully_connected(4, weight_scale=0.00371, scale=0.0077).bytes())
    x, weights = graph.tensors[graph.input], graph.tensors[graph.ops[0].inputs[1]]
    single = float(np.float32(x.scale[0]) * np.float32(weights.scale[0]))
    y = graph.tensors[graph.output].scale[0]
    wide = quantize_ratio(x.scale[0] * weights.scale[0] / y)[0]
    step = lower(graph, PRESETS["ecp5-85k"].config).layers[0].steps[0]
    assert step.params[0, 0, 2] == wide != quantize_ratio(single / y)[0]


def test_pools_larger_than_the_weight_banks_need_one_row():
    net = Net((1, 70, 70, 5), seed=1)
    start = net.here
    check(net.average_pool((64, 64), stride=(3, 3)), resolve("up5k", ["acc_width=32"]).config)
    net.here = start
    check(net.max_pool((64, 64), stride=(3, 3), padding="SAME"), resolve("up5k").config)


def test_residual_addition_joins_the_convolution_in_place():
    graph = parse(residual_net("later", (4, 4), 16, "NONE", "RELU", False, 3).bytes())
    lowered = lower(graph, PRESETS["ecp5-85k"].config)
    assert [layer.kind for layer in lowered.layers] == ["CONV_2D", "CONV_2D", "CONV_2D+ADD"]
    last = lowered.layers[-1]
    assert last.in_place == lowered.layers[0].output and len(last.steps) == 1
    assert last.steps[0].fields["add"] == 1


def test_addition_keeps_a_residual_that_is_read_again():
    graph = parse(residual_net("twice", (4, 4), 8, "NONE", "NONE", False, 3).bytes())
    lowered = lower(graph, PRESETS["ecp5-85k"].config)
    assert [layer.kind for layer in lowered.layers] == ["CONV_2D", "CONV_2D", "ADD", "ADD"]


def test_weights_that_exceed_the_banks_are_paged_by_groups():
    graph = parse(Net((1, 5, 5, 16), seed=4).conv(40).bytes())
    config = resolve("ecp5-85k", ["weight_rows=1024"]).config
    config = replace(config, memory="plain", weight_rows=48, param_groups=2)
    plan = make_plan(lower(graph, config).layers, config)
    kinds = [command.fields["op"] for command in plan.commands]
    assert kinds.count(Opcode.CONV) == 3 and kinds.count(Opcode.LOAD) == 6
    assert Space.WEIGHT not in plan.sections
    check(graph, config)


def test_groups_of_a_line_larger_than_the_banks_are_a_fit_error():
    graph = parse(Net((1, 4096), seed=4).fully_connected(16).bytes())
    target = resolve("ecp5-25k", ["C=8", "mac_dsps=0", "skip=off"])
    with pytest.raises(FitError, match="weight_rows must be at least 2048 .*not 512; set V=C, use"):
        compile_model(graph, target)


def test_model_larger_than_the_memory_is_a_fit_error_with_numbers():
    graph = parse(Net((1, 64, 64, 16), seed=4).conv(16).conv(64).bytes())
    with pytest.raises(FitError, match=r"must hold \d+ bytes .*not 49152.*use --fit or a larger"):
        compile_model(graph, PRESETS["ecp5-25k"])


@pytest.mark.parametrize("name, target", [
    ("ic_resnet8", "up5k"), ("ic_resnet8", "ecp5-85k"), ("ad_autoencoder", "fit")])
def test_real_networks_equal_golden(name, target, mlperf):
    graph, fit = load(mlperf / f"{name}.tflite"), target == "fit"
    program = compile_model(graph, PRESETS["ecp5-85k" if fit else target], fit=fit)
    shape = graph.tensors[graph.input].shape
    x = np.random.default_rng(1).integers(-128, 128, shape, np.int8)
    golden = run(graph, x)
    for tensor, values in run_program(program, x).items():
        assert np.array_equal(values, golden[tensor])


@pytest.mark.parametrize("rule, match", [
    ({"act_lines": 32768}, None), ({"patch_lines": 16}, None), ({"weight_rows": 1024}, None)])
def test_every_depth_gives_the_same_bytes(rule, match):
    net = Net((1, 8, 8, 16), seed=8).conv(32, (3, 3)).conv(16, (1, 1))
    check(net, replace(PRESETS["ecp5-85k"].config, memory="plain", **rule))


# --- arithmetic ------------------------------------------------------------------------------


@settings(max_examples=300, deadline=None)
@given(st.integers(-2**31, 2**31 - 1), st.floats(2.0**-33, 1.999))
def test_requantize_equals_golden(acc, ratio):
    multiplier, shift = encode_ratio(ratio, "test")
    q, exponent = quantize_multiplier(ratio)
    if exponent > 0 and abs(acc) >= 1 << 30:
        return
    want = mbqm(np.array([acc]), np.array([q]), np.array([exponent]))
    assert requantize(np.array([acc]), multiplier, shift)[0] == want[0]


def test_ratio_of_two_is_rejected():
    with pytest.raises(ModelError, match="op ratio|below 2, not 2; quantize"):
        encode_ratio(2.0, "op")


@given(st.floats(2.0**-40, 0.5), st.integers(-128, 127))
def test_add_table_equals_golden(ratio, zero_point):
    values = np.arange(256).astype(np.uint8).view(np.int8).astype(np.int64)
    want = mbqm((values - zero_point) << 20, *(np.array([n]) for n in quantize_multiplier(ratio)))
    assert np.array_equal(add_table(ratio, zero_point), want)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 6, 7, 9, 25, 48, 49, 64, 121, 255, 1000, 4096])
def test_pool_ratio_is_exact_for_every_sum(count):
    multiplier, shift = pool_ratio(count)
    sums = np.arange(-128 * count, 127 * count + 1)
    mean = np.trunc((np.abs(sums) + count // 2) / count).astype(int)
    mean = np.array([n // count for n in (np.abs(sums) + count // 2)]) if count < 9 else mean
    assert np.array_equal(requantize(sums * POOL_WEIGHT, multiplier, shift),
                          np.sign(sums) * mean)


def test_pool_window_beyond_the_proof_is_rejected():
    with pytest.raises(ModelError, match="at most 65536 values, not 65537; pool in two"):
        pool_ratio(65537)


def test_max_stage_returns_every_byte():
    _, multiplier, shift = MAX_STAGE
    values = np.arange(-128, 128)
    assert np.array_equal(requantize(values << 19, multiplier, shift), values)


@given(st.integers(1, 7), st.integers(1, 4), st.integers(0, 3), st.integers(1, 20))
def test_spans_cover_every_window(kernel, stride, pad, size):
    assume(pad < kernel and size + 2 * pad >= kernel)
    count = (size + 2 * pad - kernel) // stride + 1
    found = [(start + i * stride, length) for first, number, start, length
             in spans(kernel, stride, pad, size, count) for i in range(number)]
    assert found == [(max(i * stride - pad, 0),
                      min(i * stride - pad + kernel, size) - max(i * stride - pad, 0))
                     for i in range(count)]


def test_ratio_rounding_that_reaches_one_moves_to_the_exponent():
    assert quantize_ratio(1 - 2.0**-40) == (1 << 30, 1)


def test_channelwise_layers_paged_by_groups_read_their_own_channels():
    config = replace(PRESETS["up5k"].config, param_groups=4)
    program = check(Net((1, 5, 5, 70), seed=1).depthwise((3, 3)).conv(3), config)
    assert program.layers[0].count > 3
