"""Small networks of which some channels lack weights."""

from math import prod

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from models.graph import Graph
from sim.golden.tables import TABLES
from tb.tflite_builder import Net

ZERO_POINT = -20     # of tensors whose constants matter
ACTIVATIONS = st.sampled_from(["NONE", "RELU", "RELU6", "RELU_N1_TO_1"])
PADDINGS = st.sampled_from(["SAME", "VALID"])
KINDS = ("conv", "point", "depthwise", "pool", "table", "pad", "add", "branch")


def inputs_of(graph: Graph, count: int = 3) -> np.ndarray:
    shape = graph.tensors[graph.input].shape[1:]
    return np.random.default_rng(count).integers(-128, 128, (count, *shape), np.int8)


def weights(shape: tuple[int, ...], *empty: int, axis: int = 0, inputs=()) -> np.ndarray:
    """Weights of which no tap is zero but those of the empty output and input channels."""
    values = np.random.default_rng(prod(shape)).integers(1, 100, shape)
    values = np.where(np.arange(values.size).reshape(shape) % 3, values, -values)
    np.moveaxis(values, axis, 0)[list(empty)] = 0
    values[..., list(inputs)] = 0
    return values


def constant_net(bias: int, *, height: int = 6, zero_point: int = ZERO_POINT, **options) -> Net:
    """A convolution whose channels 1 and 3 of 5 are the byte zero_point + bias."""
    return Net((1, height, 6, 3), 0.05, 3, seed=1).conv(
        5, weights=weights((5, 3, 3, 3), 1, 3), weight_scale=0.02, bias=[9, bias, 40, bias, -7],
        scale=0.05 * 0.02, zero_point=zero_point, **options)


@st.composite
def pruned_nets(draw, kinds=KINDS) -> Net:
    """Small networks, many of whose channels lack weights."""
    side = draw(st.integers(3, 7))
    net = Net((1, side, side, draw(st.integers(1, 4))), seed=draw(st.integers(0, 1 << 30)))
    for kind in draw(st.lists(st.sampled_from(kinds), min_size=2, max_size=6)):
        _append(draw, net, kind)
    if draw(st.booleans()):
        net.reshape()
    if draw(st.booleans()):
        net.fully_connected(draw(st.integers(1, 6)), bias=draw(st.booleans()))
        net.fully_connected(4)
    _prune(net, draw(st.sampled_from([0.1, 0.4, 0.8])))
    return net


def _append(draw, net: Net, kind: str):
    activation, padding = draw(ACTIVATIONS), draw(PADDINGS)
    size, count = min(net.shape[1:3]), net.shape[3]
    kernel = (draw(st.integers(1, min(3, size))),) * 2
    if kind == "conv":
        net.conv(draw(st.integers(1, 9)), kernel, padding=padding, activation=activation,
                 stride=(draw(st.integers(1, 2)),) * 2, bias=draw(st.booleans()))
    elif kind == "point":
        net.conv(draw(st.integers(1, 9)), (1, 1), activation=activation)
    elif kind == "depthwise":
        net.depthwise(kernel, padding=padding, activation=activation,
                      multiplier=draw(st.integers(1, 2)) if count < 9 else 1)
    elif kind == "pool":
        pool = draw(st.sampled_from([net.average_pool, net.max_pool]))
        pool(kernel, stride=(1, 1), padding=padding, activation=activation)
    elif kind == "table":
        net.table(draw(st.sampled_from([*TABLES])), alpha=draw(st.floats(-0.5, 1)))
    elif kind == "pad":
        net.pad((1, 0), (0, 2), value=draw(st.sampled_from([None, 9])))
    else:
        start = net.here
        net.conv(count, kernel, activation=activation)
        other = net.here
        if kind == "branch":
            net.here = start
            net.conv(count, (1, 1))
        net.add(start if kind == "add" else other, activation=draw(ACTIVATIONS))


def _prune(net: Net, share: float):
    for op in net.operators:
        if op.kind not in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"):
            continue
        data = net.tensors[op.inputs[1]].data
        assert data is not None
        outputs = data if op.kind != "DEPTHWISE_CONV_2D" else data.swapaxes(0, 3)
        outputs[net.rng.random(len(outputs)) < share] = 0
        if op.kind == "CONV_2D":
            data[..., net.rng.random(data.shape[3]) < share / 2] = 0


def budget(examples: int):
    return settings(max_examples=examples, deadline=None, derandomize=True,
                    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
