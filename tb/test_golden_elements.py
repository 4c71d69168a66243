"""Operators without weights: the golden model against TFLM, byte for byte."""

import numpy as np
import pytest

from models.tflite_reader import parse
from sim.golden import run, table
from tb.draw import assert_equals_tflm
from tb.tflite_builder import Net
from tb.tflm import run_tflm

NETS_PER_OPERATOR = 60
IMAGES = 4
SCALES_PER_TABLE = 150  # networks of 256 inputs each
FLOAT_DIFFERS = {"RELU": (6501, 15580, 18313), "LEAKY_RELU": (6501, 18313, 10624, 26858),
                 "HARD_SWISH": (6037, 6083, 9860)}  # seeds where float32 and double give two tables
MUL_FLOAT_DIFFERS = 101, 116, 156, 384
EVERY = np.arange(-128, 128).astype(np.int8)


def pairs(d, count, most=4):
    return [(d.between(0, most), d.between(0, most)) for _ in range(count)]


def pad(d):
    return d.net.pad(*pairs(d, 3))


def pad_value(d):
    return d.net.pad(*pairs(d, 3), value=int(d.rng.choice([-128, 127, d.between(-128, 128)])))


def mean(d):
    axes = [(1, 2), (2, 1), (-3, -2), (1, -2)][d.between(0, 4)]
    return d.net.mean(axes, keep=d.between(0, 2) > 0, scale=d.sometimes(-3, 2),
                      zero_point=d.zero_point())


def mean_of_large_images(d):
    """The mean of many random values is close to 0: scales that spread it over int8."""
    net = Net((1, d.between(1, 150), d.between(1, 150), 20), 0.1, d.between(-2, 3), seed=d.seed)
    return net.mean(scale=0.1 * 10 ** d.rng.uniform(-2.5, -1), zero_point=d.between(-90, 90))


def mean_of_large_ratios(d):
    """Left shifts that wrap."""
    net = Net((1, *d.size, 3), 2.0 ** d.rng.uniform(10, 29), d.zero_point(), seed=d.seed)
    return net.mean(scale=1.0, zero_point=d.between(-30, 30))


def concatenation(d):
    net, start = d.net, d.net.here
    like = net.tensors[start]
    others = []
    for _ in range(d.between(0, 4)):
        net.here = start
        net.conv(d.between(1, 9), (1, 1), scale=like.scale, zero_point=like.zero_point)
        others.append(net.here)
    others.insert(d.between(0, len(others) + 1), start)
    if d.between(0, 2):
        shape = (*net.shape[:3], 2)
        data = d.rng.integers(-128, 128, shape).astype(np.int8)
        others.append(net.tensor(shape, like.scale, like.zero_point, data=data))
    net.here = others[0]
    return net.concatenation(*others[1:], axis=(-1, 3)[d.between(0, 2)])


def mul(d):
    first = d.net.here
    d.net.conv(d.net.shape[3], (1, 1), zero_point=d.zero_point())
    return d.net.mul(first, activation=d.activation, zero_point=d.zero_point(),
                     scale=d.sometimes(-4, 1))


def mul_gate(d):
    """One factor for each channel, of shape [1, 1, 1, C] or [1, C], on either side."""
    net, start = d.net, d.net.here
    net.mean(keep=d.between(0, 2) > 0, zero_point=d.zero_point())
    if d.between(0, 2):
        net.here, start = start, net.here
    return net.mul(start, activation=d.activation, zero_point=d.zero_point(),
                   scale=d.sometimes(-4, 1))


def mul_constant(d):
    channels = d.net.shape[3]
    shapes = [(), (1,), (channels,), (1, channels), (1, 1, 1, channels), (*d.size, 1)]
    shape = shapes[d.between(0, 6)]
    data = d.rng.integers(-128, 128, shape, np.int8)
    other = d.net.tensor(shape, 0.02, d.zero_point(), data=np.asarray(data))
    return d.net.mul(other, activation=d.activation, zero_point=d.zero_point())


def add_broadcast(d):
    """ADD of tensors of ranks 4 and 2, which keeps a batch of inputs apart."""
    start = d.net.here
    d.net.mean(zero_point=d.zero_point())
    return d.net.add(start, activation=d.activation, zero_point=d.zero_point())


@pytest.mark.parametrize("make", [pad, pad_value, mean, mean_of_large_images,
                                  mean_of_large_ratios, concatenation, mul, mul_gate,
                                  mul_constant, add_broadcast],
                         ids=lambda make: make.__name__)
def test_golden_equals_tflm_for_any(make, tflite_micro):
    least = 1 if make is mean_of_large_ratios else 4
    assert_equals_tflm(make, tflite_micro, NETS_PER_OPERATOR, IMAGES, least)


def test_mul_equals_tflm_for_every_pair_of_values(tflite_micro):
    for seed in (*range(8), *MUL_FLOAT_DIFFERS):
        rng = np.random.default_rng(seed)
        points = [int(rng.choice([-128, 127, rng.integers(-128, 128)])) for _ in range(3)]
        scales = [float(np.float32(10 ** rng.uniform(-3, 0))) for _ in range(2)]
        net = Net((1, 1, 256, 1), scales[0], points[0], seed=seed)
        other = net.tensor((1, 256, 1, 1), scales[1], points[1], data=EVERY[:, None])
        data = net.mul(other, scale=scales[0] * scales[1] * rng.uniform(10, 100),
                       zero_point=points[2]).bytes()
        graph, x = parse(data), EVERY.reshape(1, 1, 256, 1)
        got = run(graph, x)[graph.output]
        assert np.array_equal(got, run_tflm(tflite_micro, data, x).reshape(got.shape)), seed


def test_mean_equals_tflm_where_the_last_bit_of_the_multiplier_counts(tflite_micro):
    """Sums beside the output's rounding boundary: a rounded multiplier, not truncated, differs."""
    scale, ratio = 0.1, float(np.random.default_rng(50).uniform(0.5, 1))
    count = 300 * 299
    steps = np.arange(-108, 108)
    steps = np.concatenate([steps[:67:11], steps[149::11]])
    offsets = np.where(steps < 0, 2, -1)
    net = Net((1, 300, 299, len(steps)), scale, 0).mean(scale=scale * ratio, zero_point=0)
    ratio = float(net.tensors[net.here].scale[0]) / float(net.tensors[net.input].scale[0])
    sums = np.floor((steps + 0.5) * count * ratio).astype(np.int64) + offsets
    x = np.where(np.arange(count)[:, None] < sums % count, sums // count + 1, sums // count)
    x = x.reshape(1, 300, 299, -1).astype(np.int8)
    data = net.bytes()
    graph = parse(data)
    assert np.array_equal(run(graph, x)[graph.output], run_tflm(tflite_micro, data, x))


def mapped(kind, seed):
    """An operator of one byte on all 256 of them, with scales that fit and scales that do not."""
    rng = np.random.default_rng([seed, *kind.encode()])
    points = [int(rng.choice([-128, 127, 0, rng.integers(-128, 128)])) for _ in range(2)]
    scale = float(10 ** rng.uniform(*((-3, 0), (-6, 3))[seed % 2]))
    ratio = float(10 ** rng.uniform(*((-1, 1), (-2, 2))[seed % 2]))
    alphas = [0.0, 0.01, 0.2, 0.3, 1.0, 2.5, -0.5, float(rng.normal())]
    return Net((1, 256), scale, points[0]).table(kind, scale * ratio, points[1],
                                                 alpha=alphas[seed % len(alphas)])


@pytest.mark.parametrize("kind", ["LOGISTIC", "TANH", "HARD_SWISH", "LEAKY_RELU", "RELU", "RELU6"])
def test_table_equals_tflm_for_every_input(kind, tflite_micro):
    different_values = 0
    for seed in range(SCALES_PER_TABLE):
        data = mapped(kind, seed).bytes()
        graph = parse(data)
        got = table(graph, graph.ops[0])
        assert got.dtype == np.int8 and got.shape == (256,)
        assert np.array_equal(got, run_tflm(tflite_micro, data, EVERY[None])[0]), (seed, graph)
        assert np.array_equal(run(graph, EVERY[None])[graph.output][0], got)
        different_values += len(np.unique(got))
    assert different_values > 20 * SCALES_PER_TABLE


@pytest.mark.parametrize(("kind", "seed"), [(k, seed) for k in FLOAT_DIFFERS
                                            for seed in FLOAT_DIFFERS[k]])
def test_table_equals_tflm_in_the_precision_of_its_ratio(kind, seed, tflite_micro):
    rng = np.random.default_rng(seed)
    scale = float(np.float32(10 ** rng.uniform(-3, 0)))
    net = Net((1, 256), scale, 0).table(kind, scale * 10 ** rng.uniform(-0.5, 0.5), 0, alpha=0.3)
    graph = parse(net.bytes())
    assert np.array_equal(table(graph, graph.ops[0]),
                          run_tflm(tflite_micro, net.bytes(), EVERY[None])[0])


@pytest.mark.parametrize("net", [
    Net((1, 256), 0.5, 0).table("LOGISTIC"), Net((1, 256), 2.0, 3).table("LOGISTIC"),
    Net((1, 256), 16.0, -128).table("TANH"), Net((1, 256), 2.0**-26, 0).table("TANH"),
    Net((1, 256), 2.0**-26, 0).table("LOGISTIC"), Net((1, 256), 2.0**29, 5).table("TANH"),
    Net((1, 256), 2.0**-22, -128).table("HARD_SWISH", 2.0**-13.0, 127),
    Net((1, 256), 2.0**23, 127).table("HARD_SWISH", 2.0**16.01, -128),
    Net((1, 256), 2.0**10, 0).table("RELU", 2.0**-19.9, -128),
    Net((1, 256), 2.0**-33, 0).table("RELU", 1.0, 0),
    Net((1, 256), 6 / 127, 0).table("RELU6"), Net((1, 256), 0.01, 0).table("RELU6"),
    Net((1, 256), 12.0, 0).table("RELU6"),
    *(Net((1, 256), 6 / (k + 0.5), -128).table("RELU6") for k in range(7, 127, 8)),
])
def test_table_equals_tflm_at_the_ends_of_its_scales(net, tflite_micro):
    data = net.bytes()
    graph = parse(data)
    assert np.array_equal(table(graph, graph.ops[0]),
                          run_tflm(tflite_micro, data, EVERY[None])[0])
