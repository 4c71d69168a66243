"""Random single operators: the golden model against TFLM, byte for byte."""

from math import prod

import numpy as np
import pytest

from models.tflite_reader import parse
from sim.golden import run
from tb.draw import assert_equals_tflm
from tb.tflite_builder import Net
from tb.tflm import run_tflm

NETS_PER_OPERATOR = 80
IMAGES = 5
SOFTMAX_IMAGES = 150  # a table of floats differs from TFLM in one value of 50,000
FLOAT32_DIFFERS = 220, 352  # of 400 seeds: ADD's ratios in float32 would show in int8


def conv(d):
    return d.net.conv(d.between(1, 9), dilation=d.dilation, **d.window, **d.scales)


def depthwise(d):
    return d.net.depthwise(multiplier=d.between(1, 4), dilation=d.dilation, **d.window, **d.scales)


def depthwise_of_one_channel(d):
    net = Net((1, *d.size, 1), zero_point=d.zero_point(), seed=d.seed)
    return net.depthwise(multiplier=d.between(1, 9), dilation=d.dilation, **d.window, **d.scales)


def fully_connected(d):
    return d.net.fully_connected(d.between(1, 30), activation=d.activation, **d.scales)


def fully_connected_per_channel(d):
    count = d.between(1, 30)
    return d.net.fully_connected(count, activation=d.activation, zero_point=d.zero_point(),
                                 weight_scale=d.rng.uniform(0.001, 0.02, count))


def add(d):
    first = d.net.here
    d.net.conv(d.net.shape[3], (1, 1), zero_point=d.zero_point(),
               scale=float(10 ** d.rng.uniform(-4, 2)))
    return d.net.add(first, activation=d.activation, zero_point=d.zero_point(),
                     scale=d.sometimes(-2, 3))


def add_constant(d):
    data = d.rng.integers(-128, 128, (1, 1, 1, d.net.shape[3])).astype(np.int8)
    constant = d.net.constant(data, 0.02)
    return d.net.add(constant, activation=d.activation, zero_point=d.zero_point())


def average_pool(d):
    return d.net.average_pool(**d.window)


def max_pool(d):
    return d.net.max_pool(**d.window)


def reshape(d):
    return d.net.reshape()


def softmax(d):
    net = Net((1, d.between(2, 60)), scale=float(10 ** d.rng.uniform(-3, 0.5)),
              zero_point=d.zero_point())
    return net.softmax(beta=float(d.rng.choice([0.1, 0.5, 1.0, 2.0])))


def extreme(d):
    """Biases that overflow the sum, right shifts beyond 31, left shifts that wrap."""
    ends = [-2**31, 2**31 - 1, 2**30, -2**30, d.between(-2**31, 2**31), 1, -1]
    scale, weight_scale = 0.05, 2.0 ** d.rng.uniform(-30, -2)
    kind = ("conv", "depthwise", "fully_connected")[d.between(0, 3)]
    net = Net((1, 3, 3, d.between(1, 9)), scale=scale, zero_point=d.zero_point())
    channels = net.shape[3] if kind == "depthwise" else d.between(1, 9)
    highest = 19 if kind == "fully_connected" else 29  # TFLM refuses more, for its bias's scale
    shift = d.rng.uniform(*((-40, highest), (-28, -20))[d.between(0, 2)])
    fields = {"bias": d.rng.choice(ends, channels), "weight_scale": weight_scale,
              "scale": scale * weight_scale / 2.0 ** shift}
    args = () if kind == "depthwise" else (channels,)
    return getattr(net, kind)(*args, zero_point=d.zero_point(), **fields)


def boundary(d):
    """Sums within 200 of where the output rounds to the next value: every bit of q counts."""
    kind = ("conv", "depthwise", "fully_connected")[d.between(0, 3)]
    scale, weight_scale = d.rng.uniform(0.01, 0.1, 2)
    out_scale = scale * weight_scale * 2.0**d.rng.uniform(22, 23.9)
    net = Net((1, 1, 1, 1 if kind == "fully_connected" else 200), scale=scale)
    steps = (d.rng.integers(-100, 100, 200) + 0.5) * out_scale / (scale * weight_scale)
    fields = {"bias": steps.round() + d.rng.integers(-200, 200, 200), "scale": out_scale,
              "weight_scale": weight_scale, "zero_point": 0}
    if kind == "depthwise":
        return net.depthwise((1, 1), weights=np.zeros(200), **fields)
    window = {} if kind == "fully_connected" else {"kernel": (1, 1)}
    return getattr(net, kind)(200, weights=np.zeros(prod(net.shape) * 200), **window, **fields)


@pytest.mark.parametrize("make", [conv, depthwise, depthwise_of_one_channel, fully_connected,
                                  fully_connected_per_channel, add, add_constant, average_pool,
                                  max_pool, reshape, softmax, extreme, boundary],
                         ids=lambda make: make.__name__)
def test_golden_equals_tflm_for_any(make, tflite_micro):
    images = SOFTMAX_IMAGES if make is softmax else IMAGES
    assert_equals_tflm(make, tflite_micro, NETS_PER_OPERATOR, images)


def test_add_equals_tflm_for_every_pair_of_values(tflite_micro):
    every = np.arange(-128, 128).astype(np.int8)
    for seed in (*range(8), *FLOAT32_DIFFERS):
        rng = np.random.default_rng(seed)
        net = Net((1, 1, 256, 1), float(10 ** rng.uniform(-3, 0)), seed=seed)
        other = net.tensor((1, 256, 1, 1), float(10 ** rng.uniform(-3, 0)), data=every[:, None])
        data = net.add(other).bytes()
        graph = parse(data)
        x = every.reshape(1, 1, 256, 1)
        got = run(graph, x)[graph.output]
        assert np.array_equal(got, run_tflm(tflite_micro, data, x).reshape(got.shape)), seed
