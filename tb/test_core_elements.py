"""Operators and windows that the presets' networks lack, in the generated Verilog: golden bytes."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from gen.compile import compile_model, paged_program
from gen.pages import Paging
from gen.targets import PRESETS
from hw.config import CoreConfig
from models.tflite_reader import parse
from sim.golden.tables import TABLES
from tb.small_core import build
from tb.test_random_cores import check_network
from tb.tflite_builder import Net

SIZES = {"act_lines": 4096, "weight_rows": 512, "patch_lines": 16, "param_groups": 40}
CORES = {
    "wide": CoreConfig(P=2, L=4, C=4, V=8, F=1, Q=2, align=1, patch_buffers=4, memory="plain",
                       multiplier="lut", **SIZES),
    "narrow": CoreConfig(P=1, L=2, C=8, V=8, F=1, Q="1/4", align=2, patch_buffers=2,
                         memory="ice40", multiplier="sb_mac16",
                         **SIZES | {"act_lines": 16384}),
}


def tables() -> Net:
    net = Net((1, 5, 4, 3), seed=1)
    start = net.conv(12, (1, 1)).here
    for kind in TABLES:
        net.table(kind)
    return net.conv(12, (3, 3)).add(start).table("HARD_SWISH")


def means() -> Net:
    net = Net((1, 7, 5, 3), seed=2).conv(20, (3, 3), zero_point=-100)
    net.mean(keep=True, zero_point=9).conv(12, (1, 1), scale=0.1)
    return net.mean(scale=0.08).fully_connected(5)


def pads() -> Net:
    net = Net((1, 4, 5, 3), seed=3).pad((2, 1), (0, 3), value=7).conv(12, (3, 3))
    return net.pad((1, 0), (4, 1)).max_pool((2, 2)).pad((0, 2), (1, 0), value=-128)


def concatenations() -> Net:
    net = Net((1, 5, 3, 8), 0.05, 3, seed=4)
    start = net.here
    other = net.conv(20, (3, 3), scale=0.05, zero_point=3).here
    net.here = start
    return net.concatenation(start, other).conv(7, (3, 3))


def shared_lines() -> Net:
    """CONCATENATION of channels that fill no lines, from every kind of producer."""
    net = Net((1, 5, 3, 5), 0.05, 3, seed=6)
    start = net.here
    wide = net.conv(21, (3, 3), scale=0.05, zero_point=3).here
    net.max_pool((2, 2), stride=(1, 1), padding="SAME")
    return net.concatenation(start, wide, start).conv(7, (3, 3))


def gates() -> Net:
    """Squeeze and excite, with every kind of zero points, and a constant factor."""
    net = Net((1, 5, 4, 3), seed=5)
    for zero_point, gate in ((-128, "LOGISTIC"), (9, "TANH"), (127, None), (0, "HARD_SWISH")):
        start = net.conv(20, (2, 2), zero_point=zero_point).here
        scale = 0.3 * float(net.tensors[start].scale[0])
        net.mean(keep=True, scale=scale).conv(20, (1, 1), scale=0.01, zero_point=40)
        if gate:
            net.table(gate, scale=0.01, zero_point=5)
        net.mul(start, scale=scale)
    data = net.rng.integers(-128, 128, 20, np.int8)
    return net.mul(net.tensor((20,), 0.02, -128, data=data), activation="RELU6")


def dilations() -> Net:
    """In both directions, dense and depthwise."""
    net = Net((1, 9, 8, 3), seed=7).conv(12, (3, 2), dilation=(2, 3))
    return net.depthwise((3, 3), dilation=(1, 2)).depthwise((2, 3), dilation=(3, 1)).conv(5, (1, 1))


def temporal() -> Net:
    """Along one dimension, which is a column here: a margin, dilation, rows for two clusters."""
    net = Net((1, 30, 1, 1), seed=8).conv(9, (4, 1), stride=(2, 1))
    for step in (1, 2, 4):
        net.depthwise((3, 1), dilation=(step, 1)).conv(9, (2, 1), dilation=(step, 1))
    return net.fully_connected(4)


NETS = (tables, means, pads, concatenations, shared_lines, gates, dilations, temporal)


@pytest.fixture(scope="module", params=CORES)
def core(request, tmp_path_factory):
    config = CORES[request.param]
    return config, build(config, tmp_path_factory.mktemp(request.param))


@pytest.mark.parametrize("make", NETS, ids=lambda make: make.__name__)
def test_core_equals_golden(make, core):
    config, binary = core
    graph = parse(make().bytes())
    program = compile_model(graph, replace(PRESETS["ecp5-85k"], config=config))
    check_network(make.__name__, graph, program, binary)


def test_core_equals_golden_with_tables_as_pages(core):
    config, binary = core
    graph = parse(tables().bytes())
    paging = Paging(share=2, kept=Fraction(1, 2), tables=True)
    program = paged_program(graph, replace(PRESETS["ecp5-85k"], config=config), paging)
    assert program.stream
    check_network("tables as pages", graph, program, binary)
