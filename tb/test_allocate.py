"""Placement: tensors that live together never overlap, and little memory is lost."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gen.allocate import Buffer, find_buffers, peak, place
from gen.compile import compile_model
from gen.draft import draft
from gen.lower import lower
from gen.targets import PRESETS
from hw.layout import Space
from models.tflite_reader import load, parse
from tb.tflite_builder import Net


@st.composite
def buffer_lists(draw):
    count = draw(st.integers(1, 12))
    found = []
    for tensor in range(count):
        first = draw(st.integers(-1, 10))
        found.append(Buffer(tensors=(tensor,), lines=draw(st.integers(1, 50)), first=first,
                            last=first + draw(st.integers(0, 5))))
    return found


def overlaps(placed):
    return [(a, b) for i, (a, line_a) in enumerate(placed.buffers)
            for b, line_b in placed.buffers[i + 1:]
            if a.meets(b) and line_a < line_b + b.gap(a) and line_b < line_a + a.gap(b)]


@settings(max_examples=150, deadline=None)
@given(buffer_lists())
def test_place_never_overlaps_live_buffers(buffers):
    placed = place(buffers)
    assert {buffer for buffer, _ in placed.buffers} == set(buffers)
    assert not overlaps(placed)
    assert all(line >= 0 for _, line in placed.buffers)
    assert peak(buffers) <= placed.lines <= 1.5 * peak(buffers)
    assert placed == place(buffers)


def test_place_reaches_the_peak_of_a_chain():
    buffers = [Buffer(tensors=(i,), lines=lines, first=i - 1, last=i)
               for i, lines in enumerate([10, 40, 5, 30, 20, 25, 1])]
    assert place(buffers).lines == peak(buffers) == 50


def test_buffers_live_from_producer_to_last_reader():
    net = Net((1, 4, 4, 8), seed=1).conv(8)
    start = net.here
    net.conv(8).conv(8).add(start).conv(8)
    graph, config = parse(net.bytes()), PRESETS["up5k"].config
    lowered = lower(graph, config)
    found = {buffer.tensors: (buffer.first, buffer.last)
             for buffer in find_buffers(lowered, graph.input, config, {})}
    first, second, third, last = (layer.output for layer in lowered.layers)
    assert found == {(graph.input,): (-1, 0), (first, third): (0, 3), (second,): (1, 2),
                     (last,): (3, 4)}


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(sorted(PRESETS)), st.integers(2, 12), st.integers(1, 24),
       st.integers(1, 24), st.integers(0, 1 << 30))
def test_program_homes_and_live_tensors_never_overlap(name, side, depth, channels, seed):
    net = Net((1, side, side, depth), seed=seed).conv(channels)
    start = net.here
    net.conv(channels).add(start).conv(9, stride=(2, 2)).reshape().fully_connected(5)
    graph, target = parse(net.bytes()), PRESETS[name]
    target = replace(target, config=replace(target.config, weight_rows=1024))
    found, program = draft(graph, target.config), compile_model(graph, target)
    assert not overlaps(found.placed)
    fixed = next(s for s in program.sections if s.space == Space.ACT)
    v = target.config.V
    assert len(fixed.data) == (found.program_lines + found.plan.home_lines) * v
    lines = [place.line for place in (program.input, *(layer.output for layer in program.layers))]
    assert fixed.offset == 0 and min(lines) * v >= len(fixed.data)
    assert found.lines <= target.config.act_lines


def test_resnet_fits_the_up5k_with_additions_in_place(mlperf):
    found = draft(load(mlperf / "ic_resnet8.tflite"), PRESETS["up5k"].config)
    assert found.placed.lines * 8 == 32768
    assert found.lines * 8 <= 131072


@pytest.mark.parametrize("lines", [1, 7])
def test_one_buffer_lies_at_zero(lines):
    buffers = [Buffer(tensors=(0,), lines=lines, first=0, last=0)]
    assert place(buffers).line(0) == 0 and place(buffers).lines == lines
