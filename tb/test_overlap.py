"""Outputs over their inputs: no line is written before its last read, and memory is saved."""

from dataclasses import replace
from fractions import Fraction
from random import Random

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gen.allocate import Buffer, peak, place
from gen.compile import compile_model
from gen.cycles import descriptors
from gen.draft import draft
from gen.fold import fold_channels
from gen.lower import lower
from gen.lower.steps import Step, no_params
from gen.overlap import find_skews, skew
from gen.pages import make_plan
from gen.report import markdown, summarize
from gen.targets import PRESETS
from hw.config import CoreConfig
from hw.layout import DESCRIPTOR, Opcode
from models.tflite_reader import load, parse
from tb.patch_model import KINDS, overwritten, random_layer
from tb.small_core import build
from tb.test_lower import check
from tb.test_random_cores import check_network
from tb.tflite_builder import Net

SHAPES = [(1, 4, 4), (2, 8, 8), (2, 8, 16), (4, 8, 8), (4, 8, 32), (8, 4, 16)]   # L, C, V


def small(shape=(2, 8, 16), **values) -> CoreConfig:
    lanes, columns, v = shape
    return CoreConfig(**{"P": 1, "L": lanes, "C": columns, "V": v, "Q": Fraction(1), "F": 1,
                         "align": 1, "act_lines": 4096, "weight_rows": 1024, "patch_lines": 32,
                         "param_groups": 40, "multiplier": "lut", "memory": "plain"} | values)


def drawn(random: Random, config: CoreConfig, kind: str) -> tuple[Step, dict]:
    """A layer of one descriptor, its output somewhere in its tensor, and its fields in memory."""
    d = random_layer(random, config, kind) | {"split": 0}
    d["out_w"], d["out_h"] = random.randint(1, 9), random.randint(1, 9)
    if d["op"] == Opcode.CONV and config.twins and random.random() < 0.5:
        d |= {"twin": 1, "groups": 1}
    lines = -(-d["groups"] // config.groups_per_line) + d.get("twin", 0)
    d["out_pitch"] = lines + random.choice([0, 0, 1])
    d["out_row"] = d["out_w"] * d["out_pitch"] + random.choice([0, 0, 3])
    offset = random.choice([0, 0, 2])
    tensor = (d["in_start"] - d["y_start"] * d["row_bytes"]) // config.V
    step = Step(op=Opcode(d["op"]), fields={k: v for k, v in d.items() if k != "groups"},
                groups=d["groups"], weights=np.zeros((0, 0)), params=no_params(config), output=1,
                source=0, in_offset=d["in_start"] - tensor * config.V, out_offset=offset)
    return step, d | {"out_base": tensor + offset}


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(SHAPES), st.sampled_from(KINDS), st.integers(0, 1 << 30),
       st.integers(0, 40))
def test_skew_never_overwrites_what_is_still_read(shape, kind, seed, more):
    config = small(shape)
    step, fields = drawn(Random(seed), config, kind)
    for distance in {skew(step, config), skew(step, config) + more}:
        assert not overwritten(fields | {"out_base": fields["out_base"] - distance}, config)


def test_drawn_layers_are_overwritten_without_their_skew():
    config, random = small(), Random(1)
    found = [drawn(random, config, kind) for kind in KINDS for _ in range(60)]
    lost = [bool(overwritten(fields, config)) for step, fields in found if skew(step, config)]
    assert len(lost) > 200 and sum(lost) > len(lost) / 2


# Rows and pixels in lines of 16 bytes: 6 * 7 pixels of 2 lines, but for the last ones' outputs.
LAYERS = {
    "a pixel is read before it is written": (lambda net: net.conv(32, (1, 1)), 0),
    "a row above and the left neighbour": (lambda net: net.conv(32), 2 * 8),
    "a wider output": (lambda net: net.conv(48, (1, 1)), 42 - 1),
    "groups read again": (lambda net: net.max_pool((1, 1)), 2),
    "strips of a row, and a row above": (lambda net: net.depthwise(), 4 * 7),
    "rows further apart": (lambda net: net.depthwise(stride=(2, 2), padding="VALID"), 2 * 3),
    "one window": (lambda net: net.conv(8, (6, 7), padding="VALID"), 0),
}


@pytest.mark.parametrize("name", LAYERS)
def test_skew_of_a_layer(name):
    add, lines = LAYERS[name]
    config = small((4, 8, 16), patch_lines=128)
    graph = parse(add(Net((1, 6, 7, 32), seed=1)).bytes())
    lowered = lower(graph, config)
    layer = lowered.layers[0]
    assert find_skews(lowered.layers, make_plan(lowered.layers, config), config) == {
        layer.output: lines}
    step = layer.steps[0]
    fields = dict.fromkeys(DESCRIPTOR, 0) | step.fields | {"op": step.op, "groups": step.groups}
    base = {"in_start": 1000 * 16 + step.in_offset, "out_base": 1000 - lines}
    assert not overwritten(fields | base, config)
    pitch = max(1, step.fields["out_pitch"])
    assert lines == 0 or overwritten(fields | base | {"out_base": 1000 - lines + pitch}, config)


def skews(net: Net, config: CoreConfig) -> dict[str, int]:
    """By operator, the skews that the compiler may use."""
    graph = parse(net.bytes())
    lowered = lower(graph, config)
    found = find_skews(lowered.layers, make_plan(lowered.layers, config), config)
    return {layer.kind: found[layer.output] for layer in lowered.layers if layer.output in found}


def test_layers_that_read_more_or_again_lie_beside_their_inputs():
    net = Net((1, 6, 6, 8), seed=1).conv(40)
    assert skews(net, small()).keys() == {"CONV_2D"}
    assert not skews(net, small(P=2))
    assert not skews(net, small(weight_rows=128))                      # paged: two descriptors
    start = net.here
    assert skews(net.conv(40, (1, 1)).add(start), small()).keys() == {"CONV_2D"}   # residual
    pools = Net((1, 6, 6, 8), seed=1).average_pool((3, 3), stride=(1, 1), padding="SAME")
    assert not skews(pools, small())
    net = Net((1, 6, 6, 16), seed=1)
    net.max_pool((1, 1)).concatenation(net.here)
    assert skews(net, small()).keys() == {"MAX_POOL_2D"}


def test_input_that_others_read_later_is_not_overlapped():
    net = Net((1, 6, 6, 16), seed=1).conv(16)
    start = net.here
    net.max_pool((1, 1)).add(start).max_pool()
    found = draft(parse(net.bytes()), small())
    lines = {buffer.tensors: (line, line + buffer.lines) for buffer, line in found.placed.buffers}
    first, pooled = (next(lines[k] for k in lines if layer.output in k)
                     for layer in found.lowered.layers[:2])
    assert first[1] <= pooled[0] or pooled[1] <= first[0]


@st.composite
def chains(draw):
    """Buffers of which some may overlap the one before: in a chain, and some beside it."""
    found = []
    for i in range(draw(st.integers(1, 9))):
        lines = draw(st.integers(1, 50))
        last = i + draw(st.sampled_from([0, 0, 0, 0, 2]))
        over = i - 1 if i and draw(st.integers(0, 3)) else None
        found.append(Buffer(tensors=(i,), lines=lines, first=i - 1, last=last, over=over,
                            skew=draw(st.integers(0, 60))))
    for tensor in range(draw(st.integers(0, 3))):
        first = draw(st.integers(-1, 8))
        found.append(Buffer(tensors=(100 + tensor,), lines=draw(st.integers(1, 30)), first=first,
                            last=first + draw(st.integers(0, 3))))
    return found


@settings(max_examples=150, deadline=None)
@given(chains())
def test_place_keeps_what_overlaps_its_skew_apart(buffers):
    placed = place(buffers)
    lines = {buffer.tensors[0]: (buffer, line) for buffer, line in placed.buffers}
    assert lines.keys() == {buffer.tensors[0] for buffer in buffers}
    assert min(line for _, line in lines.values()) >= 0 and placed == place(buffers)
    shared = set()
    for a, line_a in lines.values():
        for b, line_b in lines.values():
            apart = line_a + a.lines <= line_b or line_b + b.lines <= line_a
            if a is b or apart or a.last < b.first or b.last < a.first:
                continue
            low, high = (a, b) if a.over == b.tensors[0] else (b, a)
            assert low.over == high.tensors[0] and high.last == low.first
            assert lines[low.tensors[0]][1] + low.skew <= lines[high.tensors[0]][1]
            shared.add(low.tensors[0])
    assert placed.overlapped >= shared
    assert peak(buffers) <= placed.lines
    beside = place([replace(buffer, over=None) for buffer in buffers])
    assert peak(buffers) <= peak([replace(buffer, over=None) for buffer in buffers])
    assert placed.lines <= 1.2 * beside.lines


def test_chain_of_layers_descends():
    buffers = [Buffer(tensors=(i,), lines=50, first=i - 1, last=i, over=i - 1 if i else None,
                      skew=3) for i in range(6)]
    placed = place(buffers)
    assert peak(buffers) == 53 and placed.lines == 65
    assert [placed.line(i) for i in range(6)] == [15, 12, 9, 6, 3, 0]
    assert placed.overlapped == {1, 2, 3, 4, 5}


def test_visual_wake_words_takes_half_the_activations(mlperf):
    graph, target = load(mlperf / "vww_mobilenet.tflite"), PRESETS["ecp5-25k"]
    for net in (graph, fold_channels(graph).graph):
        found = draft(net, target.config)
        assert found.placed.lines * 16 == 39056                # 73728 side by side
        assert len(found.placed.overlapped) > 10
    two = draft(graph, PRESETS["ecp5-85k"].config)
    assert two.placed.lines * 16 == 73728 and not two.placed.overlapped


def test_report_names_the_layers():
    net = Net((1, 8, 8, 16), seed=1).conv(16).depthwise().reshape().fully_connected(3)
    program = compile_model(parse(net.bytes()), replace(PRESETS["up5k"], config=small()))
    over = [layer.name for layer in program.layers if layer.over_input]
    assert over and f"Written over their inputs, behind what is still to be read: " \
        f"{', '.join(over)}." in markdown(program)
    assert [row["name"] for row in summarize(program)["layers"] if row["over_input"]] == over


def chain_net(random: Random, seed: int) -> Net:
    """Layers in a row that each may lie over its input."""
    net = Net((1, random.randint(4, 9), random.randint(4, 9), random.randint(1, 20)), seed=seed)
    for _ in range(random.randint(2, 4)):
        stride, padding = random.choice([(1, 1), (1, 1), (2, 1), (2, 2)]), "SAME"
        kernel = tuple(random.randint(1, min(3, side)) for side in net.shape[1:3])
        kind = random.choice(["conv", "conv", "depthwise", "max_pool", "table"])
        if kind == "conv":
            net.conv(random.randint(1, 24), kernel, stride=stride, padding=padding)
        elif kind == "table":
            net.table("LOGISTIC")
        else:
            getattr(net, kind)(kernel, stride=stride, padding=padding)
    if random.random() < 0.3:
        net.mean(keep=True, scale=float(net.tensors[net.here].scale[0]))
    return net


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(SHAPES), st.sampled_from(["lut", "sb_mac16"]), st.sampled_from([16, 32]),
       st.integers(0, 1 << 30))
def test_overlapped_programs_equal_golden(shape, multiplier, patch_lines, seed):
    config = small(shape, multiplier=multiplier, patch_lines=patch_lines)
    program = check(chain_net(Random(seed), seed), config, inputs=1)
    assume(any(layer.over_input for layer in program.layers))
    assert all(not overwritten(d, config) for d in descriptors(program)
               if d["op"] in (Opcode.CONV, Opcode.CHANNEL, Opcode.MAX))


CORES = {
    "strips": small((4, 8, 16), F=2, align=4),
    "narrow lines of dense pixels": small((2, 8, 8), multiplier="sb_mac16", align=1),
    "slow writes of bytes": small((2, 8, 8), multiplier="sb_mac16", memory="ice40", align=2,
                                  Q=Fraction(1, 4), act_lines=16384, patch_buffers=2),
    "patches far ahead": small((8, 4, 16), F=2, Q=Fraction(1, 4), patch_buffers=8),
}


@pytest.mark.parametrize("name", CORES)
def test_core_equals_golden_where_outputs_lie_over_inputs(name, tmp_path):
    config, over = CORES[name], 0
    target, binary = replace(PRESETS["ecp5-25k"], config=config), build(config, tmp_path)
    for seed in range(6):
        net = chain_net(Random(seed), seed)
        graph = parse(net.bytes())
        program = compile_model(graph, target)
        over += sum(layer.over_input for layer in program.layers)
        check_network(f"{name}, network {seed}", graph, program, binary)
    assert over >= 8
