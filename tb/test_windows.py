"""Dilated windows, and margins beside the input in which windows begin."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gen.compile import compile_model
from gen.cycles import predict
from gen.lower import lower
from gen.report import markdown
from gen.targets import resolve
from hw.config import CoreConfig
from models.tflite_reader import parse
from tb.test_lower import BUDGET, PADDINGS, SEEDS, check, configs
from tb.tflite_builder import Net


def test_lowering_equals_golden_for_any_dilation():
    @settings(BUDGET, max_examples=150)
    @given(configs(), st.sampled_from([(9, 9), (1, 23), (23, 1), (5, 1), (2, 14)]),
           st.integers(1, 20), st.sampled_from([0, 1, 9]), st.tuples(*[st.integers(1, 4)] * 2),
           st.tuples(*[st.integers(1, 3)] * 2), st.tuples(*[st.integers(1, 5)] * 2), PADDINGS,
           st.booleans(), SEEDS)
    def case(config, size, depth, channels, kernel, stride, dilation, padding, later, seed):
        if padding == "VALID":
            kernel = tuple((side + step - 1) // step if (k - 1) * step >= side else k
                           for k, side, step in zip(kernel, size, dilation, strict=True))
        net = Net((1, *size, depth), seed=seed)
        if later:
            net.conv(depth, (1, 1))
        form = {"stride": stride, "dilation": dilation, "padding": padding}
        if channels:
            net.conv(channels, kernel, **form)
        else:
            net.depthwise(kernel, multiplier=2 if depth == 1 else 1, **form)
        check(net, config)
    case()


@pytest.mark.parametrize("form", ["conv", "depthwise"])
def test_dilation_along_one_dimension_costs_nothing(form):
    cycles = []
    for shape, kernel, step in ((1, 64), (1, 3), (1, 1)), ((1, 64), (1, 3), (1, 8)), \
            ((64, 1), (3, 1), (8, 1)):
        net = Net((1, *shape, 16), seed=1)
        _ = (net.conv(16, kernel, dilation=step) if form == "conv" else
             net.depthwise(kernel, dilation=step))
        program = compile_model(parse(net.bytes()), resolve("ecp5-85k", ["skip=off"]))
        cycles.append(sum(x.total for x in predict(program)))
    assert max(cycles) <= 1.1 * min(cycles), cycles


@BUDGET
@given(config=configs(), depth=st.integers(1, 3), kernel=st.integers(1, 6),
       stride=st.sampled_from([2, 4]), size=st.integers(4, 21), twice=st.booleans(), seed=SEEDS)
def test_margins_beside_the_input_change_nothing(config, depth, kernel, stride, size, twice, seed):
    net = Net((1, 7, size, depth), seed=seed)
    net.conv(5, (3, kernel), stride=(2, stride))
    if twice:
        again, net.here = net.here, net.input
        net.conv(5, (3, min(kernel + 1, 6)), stride=(2, stride)).add(again)
    check(net, config)


def test_margins_let_windows_begin_where_the_feeder_can():
    def storage(align, *convs, reshape=False):
        net = Net((1, 8, 10, 1))
        if reshape:
            net.reshape((1, 8, 10, 1))
        net.conv(8, (3, convs[0]), stride=(2, 2))
        for kernel in convs[1:]:
            before, net.here = net.here, net.input
            net.conv(8, (3, kernel), stride=(2, 2)).add(before)
        graph = parse(net.bytes())
        return lower(graph, CoreConfig(align=align)).storages[graph.input]

    for align, kernel, found in ((1, 4, (1, 10, (0, 0))), (2, 4, (1, 12, (1, 1))),
                                 (2, 3, (1, 10, (0, 0))), (4, 4, (2, 12, (1, 1))),
                                 (2, 6, (1, 10, (0, 0)))):
        seen = storage(align, kernel)
        assert (seen.pixel_bytes, seen.width, seen.margin) == found, (align, kernel)
    assert storage(2, 4, 3).pixel_bytes == 2          # one reader wants what the other cannot
    assert storage(2, 4, reshape=True).pixel_bytes == 2
    net = Net((1, 8, 10, 1), zero_point=-7).conv(8, (3, 4), stride=(2, 2))
    program = compile_model(parse(net.bytes()), resolve("up5k", []))
    assert "1 pixels lie before its own and 1 behind them, all of value -7" in markdown(program)
