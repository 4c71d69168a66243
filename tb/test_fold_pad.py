"""PAD before a convolution becomes its padding, and no byte changes."""

import numpy as np
import pytest

from gen.targets import PRESETS
from models.tflite_reader import parse
from sim.golden import run
from tb.draw import assert_equals_tflm
from tb.test_lower import check
from tb.tflite_builder import Net


def padded(d, most=7):
    return d.net.pad(*((d.between(0, most), d.between(0, most)) for _ in range(2)))


def behind(d, kind, net):
    kernel = tuple(min(k, size) for k, size in zip(d.kernel, net.shape[1:3], strict=True))
    fields = {"stride": d.stride, "padding": "VALID", "activation": d.activation, **d.scales}
    if kind == "depthwise":
        return net.depthwise(kernel, multiplier=d.between(1, 4), **fields)
    return net.conv(d.between(1, 9), kernel, **fields)


def conv(d):
    net = behind(d, "conv", padded(d))
    assert [op.kind for op in parse(net.bytes()).ops] == ["CONV_2D"]
    return net


def depthwise(d):
    net = behind(d, "depthwise", padded(d))
    assert [op.kind for op in parse(net.bytes()).ops] == ["DEPTHWISE_CONV_2D"]
    return net


def kept(d):
    """PADs that must stay: another value, channels, own padding, a second reader."""
    net, start = d.net, d.net.here
    zero_point = int(net.tensors[start].zero_point)
    form = d.between(0, 4)
    if form == 0:
        net.pad(value=zero_point - 1 if zero_point > 0 else zero_point + 1)
        behind(d, "conv", net)
    elif form == 1:
        behind(d, "conv", net.pad(channels=(d.between(0, 3), d.between(1, 3))))
    elif form == 2:
        net.pad((2, 0), (0, 1)).conv(4, padding="SAME")
    else:
        both = net.pad().here
        net.conv(net.shape[3], (1, 1), padding="VALID").add(both)
    assert parse(net.bytes()).ops[0].kind in ("PAD", "PADV2")
    return net


@pytest.mark.parametrize("make", [conv, depthwise, kept], ids=lambda make: make.__name__)
def test_fold_of_pads_keeps_every_byte(make, tflite_micro):
    assert_equals_tflm(make, tflite_micro, 60, 4)


def test_fold_moves_paddings_and_drops_the_pad():
    net = Net((1, 6, 5, 2), 0.1, 7).pad((1, 2), (3, 0), value=7)
    net.conv(3, (3, 3), stride=(2, 1), padding="VALID")
    conv, = parse(net.bytes()).ops
    assert conv.name == "op01_CONV_2D" and conv.inputs[0] == net.input
    assert conv.padding == ((1, 2), (3, 0))


def test_fold_keeps_a_pad_that_is_the_output():
    net = Net((1, 6, 5, 2)).conv(2).pad()
    net.output = net.here
    net.conv(3, padding="VALID")
    assert [op.kind for op in parse(net.bytes()).ops] == ["CONV_2D", "PAD"]


def test_fold_takes_one_pad_of_two():
    graph = parse(Net((1, 6, 5, 2)).pad().pad((2, 2)).conv(3, padding="VALID").bytes())
    assert [op.name for op in graph.ops] == ["op00_PAD", "op02_CONV_2D"]
    assert run(graph, np.zeros((2, 6, 5, 2), np.int8))[graph.output].shape == (2, 10, 7, 3)


@pytest.mark.parametrize("seed", range(20))
def test_core_computes_folded_pads(seed):
    rng = np.random.default_rng(seed)
    net = Net((1, *rng.integers(1, 9, 2).tolist(), int(rng.integers(1, 12))), seed=seed)
    net.pad(*(tuple(pair) for pair in rng.integers(0, 9, (2, 2)).tolist()))
    kernel = tuple(min(int(rng.integers(1, 6)), size) for size in net.shape[1:3])
    net.conv(int(rng.integers(1, 16)), kernel, stride=tuple(rng.integers(1, 4, 2).tolist()),
             padding="VALID")
    check(net, PRESETS[("up5k", "ecp5-25k")[seed % 2]].config)
