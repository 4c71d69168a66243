"""Rules of the operators without weights: one line for each that a model breaks."""

import numpy as np
import pytest

from models.graph import ModelError
from models.tflite_reader import parse
from tb.test_tflite_reader import ONE_LINE, damaged, survives
from tb.tflite_builder import Net


def base(scale=0.1, zero_point=3):
    return Net((1, 6, 4, 3), scale, zero_point, seed=1)


def pad_of(pairs, dtype=np.int32):
    net = base()
    return net.operator("PAD", [net.here, net.constant(np.array(pairs, dtype))],
                        net.tensor((1, 8, 6, 3), 0.1, 3))


def mean_of(axes, shape=(1, 3)):
    net = base()
    return net.operator("MEAN", [net.here, net.constant(np.array(axes, np.int32))],
                        net.tensor(shape, 0.1, 0))


def mapped(kind, scale, zero_point, source=0.1, **fields):
    net = base(source)
    options = {"options": "LeakyReluOptions"} if fields else {}
    return net.operator(kind, [net.here], net.tensor(net.shape, scale, zero_point), **options,
                        **fields)


def changed(net, index=-1, **fields):
    """A network whose tensor of that index differs from what its operators ask for."""
    for name, value in fields.items():
        setattr(net.tensors[net.here if index < 0 else index], name, value)
    return net


def scale(value):
    return np.array([value], np.float32)


def computed_paddings():
    net = base()
    shape = net.tensor((4, 2), dtype="int32")
    net.operator("SHAPE", [net.input], shape, "ShapeOptions")
    return net.operator("PAD", [net.input, shape], net.tensor((1, 8, 6, 3), 0.1, 3))


def joined(other_scale=0.1, shape=(1, 6, 4, 2), axis=3):
    net = base()
    data = np.zeros(shape, np.int8)
    return net.concatenation(net.tensor(shape, other_scale, 3, data=data), axis=axis)


@pytest.mark.parametrize(("net", "match"), [
    (pad_of([[0, 0], [1, 1], [1, 1], [0, 1]]), r"op00_PAD output shape must be (1, 8, 6, 4)"),
    (pad_of([[0, 1], [1, 1], [1, 1], [0, 0]]), "op00_PAD paddings must be [[0, 0], [top"),
    (pad_of([[0, 0], [1, 1], [-1, 1], [0, 0]]), "op00_PAD paddings must be [[0, 0], [top"),
    (pad_of([[1, 1], [1, 1]]), "op00_PAD paddings must be [[0, 0], [top, bottom]"),
    (pad_of([[0, 0], [1, 1], [1, 1], [0, 0]], np.int64), "op00_PAD paddings must be constant"),
    (computed_paddings(), "op01_PAD paddings must be constant int32, not 'computed'"),
    (changed(base().pad(), scale=scale(0.2)), "op00_PAD input quantization must be the output's"),
    (changed(base().pad(value=0), 3, zero_point=4), "op00_PADV2 value quantization must be"),
    (changed(base().pad(value=0), 3, data=np.zeros(2, np.int8), shape=(2,)),
     "op00_PADV2 value must be one number, not 2"),
    (mean_of([1]), "op00_MEAN axes must be height and width of [1, H, W, C], not [1]"),
    (mean_of([1, 3]), "op00_MEAN axes must be height and width"),
    (mean_of([1, 2, 5]), "op00_MEAN axes must be height and width"),
    (mean_of([1, 2], (1, 1, 3)), "op00_MEAN output shape must be (1, 3) or (1, 1, 1, 3), not"),
    (changed(base().mean(), scale=scale(1e-20)), "op00_MEAN scale ratio must be below 1073741824"),
    (joined(0.2), "op00_CONCATENATION input 1 quantization must be the output's (0.1"),
    (joined(axis=2), "op00_CONCATENATION axis must be that of the channels, 3, not 2"),
    (joined(shape=(1, 6, 1, 2)), "op00_CONCATENATION input 1 shape must be [1, 6, 4, '...']"),
    (changed(joined(), shape=(1, 6, 4, 9)), "op00_CONCATENATION output channels must be 5, not 9"),
    (mapped("LOGISTIC", 1 / 128, -128), "op00_LOGISTIC output quantization must be scale 1/256, "),
    (mapped("LOGISTIC", 1 / 256, 0), "op00_LOGISTIC output quantization must be scale 1/256, "),
    (mapped("TANH", 1 / 256, 0), "op00_TANH output quantization must be scale 1/128, zero point 0"),
    (mapped("TANH", 1 / 128, 0, 1e-9), "op00_TANH input scale must be in 2**-26..2**30"),
    (mapped("HARD_SWISH", 0.1 / 129, 0), "op00_HARD_SWISH scale ratio must be in 2**-9..2**7"),
    (mapped("HARD_SWISH", 1e-8, 0, 1e-8), "op00_HARD_SWISH input scale must be in 2**-22..2**24"),
    (mapped("LEAKY_RELU", 0.1, 0, Alpha=1e6), "op00_LEAKY_RELU alpha must be in -65536..65536"),
    (mapped("LEAKY_RELU", 0.1, 0, Alpha=float("nan")), "op00_LEAKY_RELU alpha must be in"),
    (mapped("RELU", 1e-20, 0), "op00_RELU scale ratio must be below 1073741824"),
    (mapped("RELU6", 0.1, 4), "op00_RELU6 input quantization must be the output's"),
    (changed(mapped("RELU", 0.1, 0), shape=(1, 6, 4, 2)), "op00_RELU output shape must be (1, 6,"),
    (changed(base().mul(0), shape=(1, 6, 4, 2)), "op00_MUL output shape must be (1, 6, 4, 3)"),
    (changed(base().mul(0), scale=scale(1e-20)), "op00_MUL scale ratio must be below 1073741824"),
])
def test_parse_refuses_in_one_line(net, match):
    with pytest.raises(ModelError, match=ONE_LINE) as caught:
        parse(net.bytes(), "net")
    assert f"net: {match}" in str(caught.value)


def test_parse_survives_damage_to_these_operators():
    net = base().pad(value=3).conv(3, padding="VALID").table("LEAKY_RELU")
    start = net.here
    net.mean().mul(start).pad(channels=(1, 0)).concatenation(net.here).table("LOGISTIC")
    loaded = [survives(data) for data in damaged(net.bytes(), 800, seed=3)]
    assert 10 < sum(loaded) < 790  # both outcomes were exercised


def test_parse_keeps_attributes_and_drops_their_tensors():
    net = base().pad((1, 2), (3, 4), (5, 6), value=-7).table("LEAKY_RELU", alpha=0.25).mean()
    pad, leaky, mean = parse(net.bytes()).ops
    assert (pad.padding, pad.channel_padding, pad.fill) == (((1, 2), (3, 4)), (5, 6), -7)
    assert (leaky.alpha, len(pad.inputs), len(mean.inputs)) == (0.25, 1, 1)
