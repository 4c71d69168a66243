"""Verdicts: what runs where, and one line with a remedy for what does not."""

from dataclasses import replace

import numpy as np
import pytest

from gen.compile import compile_model
from gen.support import check, require_supported
from gen.targets import PRESETS
from models.graph import Graph, ModelError
from models.tflite_reader import load, parse
from tb.tflite_builder import Net

CONFIG = PRESETS["up5k"].config


def graph_of(net: Net) -> Graph:
    return parse(net.bytes())


def test_supported_network_names_core_free_and_host():
    net = Net((1, 8, 8, 3), seed=1).conv(8).max_pool().reshape().fully_connected(4).softmax()
    found = check(graph_of(net), CONFIG)
    assert [v.where for v in found] == ["core", "core", "core", "core", "host"]
    assert found[0].macs == 8 * 8 * 8 * 27 and found[0].shape == (1, 8, 8, 8)
    assert found[2].reason == "free: the same bytes"


def cut(op, **changes):
    """A function that changes the graph's operator of that index."""
    def change(graph):
        ops = tuple(replace(x, **changes) if x.index == op else x for x in graph.ops)
        return replace(graph, ops=ops)
    return change


def constant_product(shape, scale=None) -> Net:
    net = Net((1, 8, 8, 4))
    return net.mul(net.tensor(shape, 0.1, 3, data=np.ones(shape, np.int8)), scale=scale)


CASES = [
    (Net((1, 8, 300, 4)).depthwise((3, 3), dilation=(1, 128)), None,
     r"op00_DEPTHWISE_CONV_2D kernel must be at most 255 x 255, not \(3, 257\); use a smaller"),
    (Net((1, 8, 8, 4)).mul(0), None, "op00_MUL operands must be a computed tensor and one factor "
     "for each of its channels, not .*; broadcast over height and width"),
    (constant_product((8, 8, 1)), None, "op00_MUL operands must be a computed tensor and one fact"),
    (constant_product((4,), scale=1e-6), None, "op00_MUL scale ratio must be below 2, not"),
    (Net((1, 8, 8, 4)).pad(channels=(0, 2)), None,
     r"op00_PAD paddings of channels must be \(0, 0\), not \(0, 2\); make the layer"),
    (Net((1, 8, 8, 4)).pad((129, 0)).conv(4, padding="VALID"), None,
     r"op01_CONV_2D padding must be at most 128, not \(129, 1\); pad less"),
    (Net((1, 300, 8, 4)).conv(4, (30, 1), dilation=(10, 1)), None,
     r"op00_CONV_2D kernel must be at most 255 x 255, not \(291, 1\); use a smaller"),
    (Net((1, 8, 8, 4)).conv(4, scale=1e-9), None, "op00_CONV_2D scale ratio must be below 2, not"),
    (Net((1, 300, 1, 1)).conv(4, (300, 1)), None, "op00_CONV_2D kernel must be at most 255 x 255"),
    (Net((1, 300, 300, 1)).conv(4, (1, 1), stride=(299, 1)), None, "op00_CONV_2D stride must be"),
    (Net((1, 1, 4095, 20)).conv(4, (1, 1)), None, "op00_CONV_2D row of pixels must be at most"),
    (Net((1, 4, 64, 256)).max_pool((1, 1)), None, "op00_MAX_POOL_2D row of pixels must be at most "
     "16383 bytes, not 16384; raise column_bits"),
    (Net((1, 4, 4, 4)).softmax().conv(4), None, "op00_SOFTMAX must be the last operator"),
    (Net((1, 8, 8, 4)).conv(4).quantize().conv(4), None, "op01_QUANTIZE must stand at an end"),
    (Net((1, 70000)).fully_connected(2), None, "op00_FULLY_CONNECTED inputs must be at most 65535"),
    (Net((1, 300, 3, 4)).mean(), None,
     r"op00_MEAN kernel must be at most 255 x 255, not \(300, 3\); use"),
    (Net((1, 200, 200, 4)).mean(), None,
     r"op00_MEAN psums must stay below 2\^23, not reach 10200000; set acc_width=32"),
    (Net((1, 3, 3, 4), 1.0).mean(scale=0.01), None,
     "op00_MEAN scale ratio must be below 2 for each of 9 pixels, not 100 in all; quantize with"),
    (Net((1, 900), 0.1, 127).fully_connected(1, weights=np.full((1, 900), 127)), None,
     r"op00_FULLY_CONNECTED psums must stay below 2\^23, not reach 29146500; set acc_width=32"),
    (Net((1, 24, 24, 4)).average_pool((24, 24)), None,
     r"op00_AVERAGE_POOL_2D psums must stay below 2\^23, not reach 9400320; set acc_width=32"),
    (Net((1, 300, 300, 1)).average_pool((260, 1)), None,
     "op00_AVERAGE_POOL_2D kernel must be at most 255 x 255"),
]


@pytest.mark.parametrize("net, change, match", CASES, ids=[case[2][:30] for case in CASES])
def test_unsupported_operator_is_one_line_with_remedy(net, change, match):
    graph = graph_of(net)
    graph = change(graph) if change else graph
    bad = [v for v in check(graph, CONFIG) if v.where == "unsupported"]
    assert len(bad) == 1 and "\n" not in bad[0].reason and "; " in bad[0].reason
    with pytest.raises(ModelError, match=match):
        compile_model(graph, PRESETS["up5k"])


def test_broadcasting_addition_is_unsupported():
    net = Net((1, 4, 4, 4), seed=1)
    start = net.conv(4).here
    net.average_pool((4, 4)).add(start)
    with pytest.raises(ModelError, match="op02_ADD operands must be alike.*avoid broadcasting"):
        require_supported(graph_of(net), CONFIG)


def test_addition_of_a_constant_is_unsupported():
    net = Net((1, 4, 4, 4), seed=1).conv(4)
    other = net.constant(np.ones((1, 4, 4, 4), np.int8), [0.5])
    with pytest.raises(ModelError, match="op01_ADD inputs must be 2 computed tensors, not 1"):
        require_supported(graph_of(net.add(other)), CONFIG)


def test_sums_too_large_for_a_left_shift_are_an_error():
    net = Net((1, 1, 1, 40000), scale=1.0, zero_point=-128, seed=1)
    net.conv(2, (1, 1), weights=np.full((2, 1, 1, 40000), 127), weight_scale=1.5, scale=1.0)
    with pytest.raises(ModelError, match=r"op00_CONV_2D sums must stay below 2\^30"):
        compile_model(graph_of(net), PRESETS["ecp5-85k"])


def test_reshape_that_would_move_padding_is_an_error():
    net = Net((1, 4, 4, 4), seed=1).conv(6).reshape((1, 4, 8, 3)).conv(4)
    with pytest.raises(ModelError, match="RESHAPE before it must keep 6 channels"):
        compile_model(graph_of(net), PRESETS["up5k"])


def test_image_too_large_for_the_counters_is_unsupported():
    graph = graph_of(Net((1, 300, 4, 4), seed=1).conv(4))
    with pytest.raises(ModelError, match="op00_CONV_2D height and width must be at most 255, not "
                                         r"\(300, 4\); raise dim_bits"):
        require_supported(graph, replace(CONFIG, dim_bits=8))


@pytest.mark.parametrize("name", ["ic_resnet8", "ad_autoencoder", "kws_dscnn", "vww_mobilenet"])
def test_real_networks_are_supported(name, mlperf):
    require_supported(load(mlperf / f"{name}.tflite"), CONFIG)
