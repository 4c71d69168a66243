"""Folding of constant channels: exact in every tensor, and refused where it would not be."""

import numpy as np
import pytest
from hypothesis import given

from gen.fold import Folded, fold_channels
from models.graph import Graph
from models.tflite_reader import load, parse
from models.validate import validate
from sim.compare import unfold
from sim.golden import run
from tb.pruned_networks import ZERO_POINT, budget, constant_net, inputs_of, pruned_nets, weights
from tb.tflite_builder import Net


def fold(net: Net | Graph, x: np.ndarray | None = None) -> Folded:
    """Fold, and compare every tensor of both graphs as the golden model computes them."""
    graph = parse(net.bytes()) if isinstance(net, Net) else net
    folded = fold_channels(graph)
    validate(folded.graph)
    x = inputs_of(graph) if x is None else x
    expected, got = run(graph, x), run(folded.graph, x)
    lost = {tensor.tensor: tensor for tensor in folded.tensors}
    assert set(expected) == set(got) and not {graph.input, graph.output} & set(lost)
    for i, values in expected.items():
        whole = unfold(lost[i], got[i], values) if i in lost else got[i]
        assert np.array_equal(whole, values), graph.producer(i)
    macs = [sum(map(g.macs, g.ops)) for g in (graph, folded.graph)]
    assert macs[0] - macs[1] == folded.macs
    assert not fold_channels(folded.graph).tensors  # nothing is left to fold
    return folded


def lost(folded: Folded) -> dict[str, tuple[int, ...]]:
    """Channels that are gone, by the operator that wrote them."""
    return {tensor.name.split("_")[0]: tensor.removed for tensor in folded.tensors}


@pytest.mark.parametrize("bias, padding, kernel, gone", [
    (30, "VALID", (3, 3), True), (30, "SAME", (1, 1), True), (30, "SAME", (3, 3), False),
    (30, "SAME", (1, 3), False), (0, "SAME", (3, 3), True)])
def test_constant_moves_into_the_bias_unless_padding_shows(bias, padding, kernel, gone):
    folded = fold(constant_net(bias).conv(4, kernel, padding=padding))
    assert lost(folded) == ({"op00": (1, 3)} if gone else {})
    if gone:
        assert folded.tensors[0].constants == (ZERO_POINT + bias,) * 2
        assert folded.graph.tensors[folded.graph.ops[0].inputs[1]].shape == (3, 3, 3, 3)


def test_padding_that_no_window_reaches_does_not_matter():
    assert lost(fold(constant_net(30).conv(4, (2, 2), stride=(2, 2)))) == {"op00": (1, 3)}


def test_relu_makes_constants_the_zero_point():
    folded = fold(constant_net(-30, activation="RELU").conv(4))
    assert folded.tensors[0].constants == (ZERO_POINT, ZERO_POINT)


def test_constants_pass_depthwise_convolutions_and_pools():
    net = constant_net(30).depthwise(padding="VALID").average_pool(padding="SAME")
    folded = fold(net.max_pool((3, 3), stride=(1, 1), padding="SAME").conv(4, (1, 1)))
    assert lost(folded) == dict.fromkeys(("op00", "op01", "op02", "op03"), (1, 3))


def test_padded_depthwise_convolution_of_another_constant_stays():
    assert lost(fold(constant_net(30).depthwise().conv(4, (1, 1)))) == {}
    assert set(lost(fold(constant_net(0).depthwise().conv(4, (1, 1))))) == {"op00", "op01"}


def test_depthwise_channel_without_weights_takes_its_input_along():
    net = Net((1, 6, 6, 3), seed=2).conv(4).depthwise(weights=weights((1, 3, 3, 4), 2, axis=3))
    folded = fold(net.conv(5, (1, 1)))
    assert lost(folded) == {"op00": (2,), "op01": (2,)}
    assert folded.tensors[0].constants == (None,) and folded.tensors[1].constants[0] is not None


def test_depthwise_multiplier_folds_whole_groups_only():
    net = constant_net(0).depthwise(multiplier=2).conv(4, (1, 1))
    assert lost(fold(net)) == {"op00": (1, 3), "op01": (2, 3, 6, 7)}
    some = weights((1, 3, 3, 8), 0, 1, 4, axis=3)  # half of input channel 2 has weights
    net = Net((1, 6, 6, 3), seed=2).conv(4).depthwise(multiplier=2, weights=some)
    assert lost(fold(net.conv(4, (1, 1)))) == {"op00": (0,), "op01": (0, 1)}


@pytest.mark.parametrize("second, gone", [((1, 3), (1, 3)), ((3, 4), (3,)), ((), ())])
def test_addition_folds_channels_that_both_sides_lack(second, gone):
    net = constant_net(30)
    first, net.here = net.here, net.input
    net.conv(5, weights=weights((5, 3, 3, 3), *second), zero_point=5).add(first, activation="RELU6")
    found = lost(fold(net.conv(4, (1, 1))))
    assert found == (dict.fromkeys(("op00", "op01", "op02"), gone) if gone else {})


def test_broadcasting_addition_keeps_all():
    net = constant_net(30)
    first = net.here
    assert lost(fold(net.average_pool((6, 6)).add(first).conv(4, (1, 1)))) == {}


@pytest.mark.parametrize("other, gone", [("VALID", True), ("SAME", False)])
def test_every_reader_must_be_able_to_fold(other, gone):
    net = constant_net(30)
    start = net.here
    net.conv(4, (1, 1)).conv(4, padding="VALID")
    side, net.here = net.here, start
    net.conv(4, padding=other)
    if not gone:
        net.conv(4, padding="VALID")
    assert lost(fold(net.conv(4, (1, 1)) if not gone else net.add(side))) == (
        {"op00": (1, 3)} if gone else {})


@pytest.mark.parametrize("flatten", [False, True])
def test_flattened_channels_fold_into_a_dense_layer(flatten):
    net = constant_net(30).max_pool()
    if flatten:
        net.reshape()
    folded = fold(net.fully_connected(6))
    assert lost(folded)["op00"] == (1, 3)
    if flatten:
        assert lost(folded)["op02"] == tuple(i for i in range(45) if i % 5 in (1, 3))
    assert folded.graph.tensors[folded.graph.ops[-1].inputs[1]].shape == (6, 27)


@pytest.mark.parametrize("net", [
    constant_net(0).reshape((1, 12, 3, 5)).conv(4, (1, 1)),
    constant_net(0).max_pool((6, 6)).reshape((1, 1, 1, 5)).conv(4, (1, 1))])
def test_reshape_that_keeps_channels_folds(net):
    assert (1, 3) in lost(fold(net)).values()


@pytest.mark.parametrize("net", [
    constant_net(0).reshape((1, 6, 3, 10)).conv(4, (1, 1)),
    constant_net(0).reshape((1, 1, 1, 180)).conv(4, (1, 1)),
    constant_net(0).reshape().reshape((1, 6, 6, 5)).conv(4, (1, 1)),
    constant_net(0, height=60).reshape().fully_connected(4),
    constant_net(0, height=60).fully_connected(4)])
def test_reshape_whose_gaps_the_core_cannot_skip_keeps_all(net):
    assert lost(fold(net)) == {}


@pytest.mark.parametrize("net", [
    constant_net(0), constant_net(0).reshape(), constant_net(0).softmax(),
    constant_net(0).max_pool((6, 6)).reshape().softmax(), constant_net(0).max_pool()])
def test_last_tensor_and_what_softmax_reads_keep_their_shape(net):
    assert lost(fold(net)) == {}


def test_unknown_operator_keeps_what_it_reads_and_writes():
    net = constant_net(0)
    net.mul(net.here).conv(4, (1, 1))
    graph = parse(net.bytes())
    assert fold_channels(graph).graph is graph


@pytest.mark.parametrize("most, gone", [(1 << 31, False), (1 << 30, True)])
def test_bias_that_would_overflow_stays(most, gone):
    sign = weights((4, 1, 1, 5))[:, 0, 0, [1, 3]].sum(axis=1) > 0
    bias = np.where(sign, most - 1, -most)
    net = constant_net(30).conv(4, (1, 1), weights=weights((4, 1, 1, 5)), bias=bias,
                                weight_scale=1e-7, scale=1.0)
    assert lost(fold(net)) == ({"op00": (1, 3)} if gone else {})


@pytest.mark.parametrize("bias, added", [(30, True), (0, False)])
def test_layer_without_bias_gets_one_if_need_be(bias, added):
    folded = fold(constant_net(bias).conv(4, (1, 1), bias=False))
    assert lost(folded) and (folded.graph.ops[1].inputs[-1] >= 0 and
                             len(folded.graph.ops[1].inputs) == 3) == added


def test_sum_whose_shift_wraps_is_no_constant():
    net = Net((1, 4, 4, 2), 0.1, 0, seed=1).conv(
        3, weights=weights((3, 1, 1, 2), 1), kernel=(1, 1), weight_scale=0.1, scale=0.006,
        bias=[0, (1 << 30) + 5, 0], zero_point=0)
    assert lost(fold(net.conv(4, (1, 1)))) == {}


def test_network_of_constants_keeps_one_channel_everywhere():
    net = Net((1, 4, 4, 2), seed=1).conv(6, weights=np.zeros((6, 3, 3, 2))).conv(5, (1, 1))
    folded = fold(net.conv(3, (1, 1)))
    assert lost(folded) == {"op00": (1, 2, 3, 4, 5), "op01": (1, 2, 3, 4)}


def test_channels_that_nothing_reads_go():
    net = Net((1, 5, 5, 3), seed=3).conv(6).max_pool()
    folded = fold(net.conv(4, (3, 3), weights=weights((4, 3, 3, 6), inputs=(0, 4))))
    assert lost(folded) == {"op00": (0, 4), "op01": (0, 4)}
    assert folded.tensors[0].constants == (None, None)


def test_channels_that_only_channels_without_readers_read_go():
    first = weights((4, 1, 1, 6))
    first[[0, 1, 3], ..., 5] = 0
    net = Net((1, 5, 5, 3), seed=3).conv(6).conv(4, (1, 1), weights=first)
    folded = fold(net.conv(4, weights=weights((4, 3, 3, 4), inputs=(2,))))
    assert lost(folded) == {"op00": (5,), "op01": (2,)}


def test_shared_weights_are_folded_apart():
    net = constant_net(0).conv(5, weights=weights((5, 3, 3, 5)), weight_scale=0.01)
    shared = net.operators[-1].inputs[1:]
    out = net.tensor(net.shape, 0.3, 4)
    net.operator("CONV_2D", [net.here, *shared], out, "Conv2DOptions", StrideH=1, StrideW=1)
    assert lost(fold(net)) == {"op00": (1, 3)}


def test_one_scale_for_all_channels_stays_one():
    folded = fold(constant_net(0).conv(4, (1, 1)))
    weights_of = folded.graph.tensors[folded.graph.ops[0].inputs[1]]
    assert len(weights_of.scale) == 1
    per_channel = fold(constant_net(0).conv(4, weights=weights((4, 3, 3, 5), 2)).conv(2, (1, 1)))
    assert len(per_channel.graph.tensors[per_channel.graph.ops[1].inputs[1]].scale) == 3


def test_network_without_constants_stays_the_same_object(fashion):
    graph = load(fashion / "fashion.tflite")
    assert fold_channels(graph) == Folded(graph=graph) and fold_channels(graph).graph is graph


@pytest.mark.parametrize("name, macs", [
    ("vww_mobilenet", 3733073), ("kws_dscnn", 2656768), ("ic_resnet8", 12501632)])
def test_real_networks_fold_exactly(mlperf_reference, name, macs):
    graph = load(mlperf_reference / f"{name}.tflite")
    x = np.load(mlperf_reference / f"{name}.input.npy")
    folded = fold(graph, x.reshape(-1, *graph.tensors[graph.input].shape[1:]))
    assert sum(map(folded.graph.macs, folded.graph.ops)) == macs


@budget(200)
@given(pruned_nets())
def test_folded_network_equals_golden(net):
    fold(net)
