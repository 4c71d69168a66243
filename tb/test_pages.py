"""Pages: any network through memories that are too small, whenever its pages come."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import systolith
from gen.compile import compile_model, paged_program
from gen.cycles import descriptors, predict
from gen.pages import Paging
from gen.report import markdown
from gen.ring import Ring
from gen.store import Kind, Store, contents
from gen.stream import make_page, stream
from gen.targets import PRESETS, FitError, resolve
from hw.config import CoreConfig
from hw.layout import Opcode, Space
from models.graph import Graph, ModelError
from models.tflite_reader import load, parse
from models.zoo import random_inputs
from sim.golden import run
from sim.run import Session
from tb import small_core
from tb.program_model import run_program
from tb.tflite_builder import Net

SEEDS = st.integers(0, 1 << 30)
BUDGET = settings(max_examples=50, deadline=None, derandomize=True,
                  suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])


@st.composite
def configs(draw) -> CoreConfig:
    """Cores with small weight banks and parameters, with a host that can write them or not."""
    lanes, columns = draw(st.sampled_from([1, 2, 4])), draw(st.sampled_from([4, 8]))
    spram = draw(st.booleans())
    v = max(columns, lanes) if spram else draw(st.sampled_from(
        [v for v in (4, 8, 16) if max(columns, lanes) <= v <= lanes * columns] or [8]))
    assume(v <= lanes * columns)
    p = 1 if spram else draw(st.sampled_from([1, 2]))
    return CoreConfig(
        P=p, L=lanes, C=columns, V=v, Q=Fraction(p), F=1, align=1, act_lines=16384,
        weight_rows=256 if spram else draw(st.sampled_from([64, 96, 256])), patch_lines=16,
        param_groups=draw(st.sampled_from([4, 6])), multiplier="lut",
        memory="ice40" if spram else "plain")


def half_zero(graph: Graph) -> Graph:
    """A network whose weights are zero for the first half of their inputs."""
    tensors = list(graph.tensors)
    for op in graph.ops:
        if op.kind in ("CONV_2D", "FULLY_CONNECTED"):
            weights = tensors[op.inputs[1]]
            data = weights.data.copy()
            data.reshape(len(data), -1)[:, :data[0].size // 2] = 0
            tensors[op.inputs[1]] = replace(weights, data=data)
    return replace(graph, tensors=tuple(tensors))


def test_networks_equal_golden_whenever_their_pages_come():
    @BUDGET
    @given(configs(), st.tuples(*[st.integers(2, 6)] * 2), st.integers(1, 9),
           st.lists(st.integers(1, 40), min_size=1, max_size=4), st.integers(1, 3),
           st.integers(1, 6), st.sampled_from([0, Fraction(1, 4), Fraction(7, 8)]), st.booleans(),
           SEEDS)
    def case(config, size, depth, channels, kernel, share, kept, tables, seed):
        net = Net((1, *size, depth), seed=seed)
        for count in channels:
            net.conv(count, (kernel, 1))
            if count % 2:
                net.depthwise((1, 2), padding="SAME")
            elif count % 3:
                here = net.here
                net.conv(count, (1, 1)).add(here)
        net.reshape().fully_connected(7)
        graph = half_zero(parse(net.bytes()))
        try:
            program = paged_program(graph, replace(PRESETS["ecp5-85k"], config=config),
                                    Paging(share=share, kept=Fraction(kept), tables=tables))
        except ModelError:
            assume(False)
        x = np.random.default_rng(seed).integers(-128, 128, graph.tensors[graph.input].shape,
                                                 np.int8)
        golden = run(graph, x)
        for eager in (False, True):
            for tensor, values in run_program(program, x, seed, eager).items():
                assert np.array_equal(values, golden[tensor]), (tensor, eager)
        streams.append(bool(program.stream))
        packed.append(any(Kind.MASK in page.steps for page in contents(program.stream)))

    streams: list[bool] = []
    packed: list[bool] = []
    case()
    assert sum(streams) > len(streams) // 2 and sum(packed) > 4


@pytest.mark.parametrize("skip", ["off", "act"])
def test_weights_come_between_the_rows_of_two_clusters(skip, tmp_path):
    """A word takes the place of a read of cluster 0, which must not have been one."""
    config = CoreConfig(P=2, L=2, C=4, V=8, Q=Fraction(4), F=2, act_lines=512, weight_rows=64,
                        patch_lines=32, patch_buffers=4, param_groups=64, skip=skip)
    target, words = replace(PRESETS["ecp5-85k"], config=config), 0
    binary = small_core.build(config, tmp_path)
    for seed in range(6):
        net = Net((1, 5, 6, 3), seed=seed).conv(12, (3, 3)).conv(16, (2, 2)).conv(24, (2, 1))
        graph = parse(net.conv(8, (1, 1)).conv(16, (2, 2)).bytes())
        store = Store(rate=Fraction(4, 1 + 3 * seed), latency=20)
        program = compile_model(graph, target, store=store, skip="auto")
        words += len(program.stream) // 4
        x = np.random.default_rng(seed).integers(-128, 128, program.input.shape, np.int8)
        golden = run(graph, x)
        with Session(program, binary, store=store) as session:
            for layer, found in zip(program.layers, session.infer(x).layers, strict=True):
                expected = golden[layer.output.tensor]
                assert np.array_equal(found.output.ravel(), expected.ravel()), (seed, layer.name)
    assert words > 1000


@given(st.integers(1, 60), st.lists(st.tuples(st.integers(1, 60), st.booleans()), max_size=40))
@settings(deadline=None, derandomize=True)
def test_ring_parts_cover_a_block_and_wait_for_all_who_read_there(size, blocks):
    ring, readers = Ring(size), [[] for _ in range(size)]   # of each unit: commands
    for number, (units, again) in enumerate(blocks):
        block = bytes([number])
        if units > size:
            with pytest.raises(ValueError, match="must hold"):
                ring.take(block, units)
            continue
        tenant, parts = ring.take(block, units)
        assert sorted(n for begin, end, _ in parts for n in range(begin, end)) == list(
            range(tenant.begin, tenant.end))
        for begin, end, after in parts:
            assert all(reader < after for unit in range(begin, end) for reader in readers[unit])
        for command in range(2 * number, 2 * number + 1 + again):
            ring.use(tenant, command)
            for unit in range(tenant.begin, tenant.end):
                readers[unit].append(command)
        assert ring.find(block) == tenant


def test_pages_wait_for_descriptors_that_precede_their_wait():
    config = replace(PRESETS["ecp5-25k"].config, memory="plain", weight_rows=192, param_groups=4,
                     multiplier="lut", mac_dsps=0)
    target = replace(PRESETS["ecp5-25k"], config=config)
    graph = parse(Net((1, 6, 6, 16), seed=4).conv(64).conv(64).bytes())
    program = compile_model(graph, target)
    pages = contents(program.stream)
    assert pages and "page" in markdown(program)
    assert any(page.after for page in pages)
    weights = (9 * 16 * 64 + 9 * 64 * 64) + 2 * 64 * 12     # three words a channel
    assert 4 * sum(page.words for page in pages) == weights
    assert Space.STORE in {section.space for section in program.sections}


def test_tables_are_pages_where_their_homes_do_not_fit():
    target = resolve("ecp5-25k", ["act_lines=2048"])
    for additions, loads in ((16, 16), (30, 0)):
        net = Net((1, 4, 4, 16), seed=1)
        for _ in range(additions):
            start = net.here
            net.conv(16, (3, 3)).add(start)
        graph = parse(net.bytes())
        program = compile_model(graph, target)
        assert program.stream
        assert sum(d["op"] == Opcode.LOAD for d in descriptors(program)) == loads
        x = random_inputs(graph.tensors[graph.input].shape[1:], 1)
        golden = run(graph, x)
        for tensor, values in run_program(program, x).items():
            assert np.array_equal(values, golden[tensor])


@pytest.mark.parametrize("name", ["ecp5-25k", "ecp5-85k"])
def test_what_is_used_first_stays_and_shortens_the_stream(name):
    target = PRESETS[name]
    banks = target.config.weight_rows * target.config.row_bytes
    side = int((banks / 3) ** 0.5) // 16 * 16
    net = Net((1, 1, 1, side), seed=1)
    for _ in range(14):
        net.conv(side, (1, 1))
    program = compile_model(parse(net.bytes()), target)
    assert program.memory["weights"]["used"] >= banks // 2
    assert len(program.stream) < 14 * (side * side + 1000) - banks // 2


def test_a_slower_store_costs_what_the_model_says_and_never_less():
    graph = parse(Net((1, 1, 64), seed=3).fully_connected(512).fully_connected(64).bytes())
    target = resolve("ecp5-25k", ["weight_rows=512", "param_groups=16"])
    totals = []
    for rate in (4, 1, Fraction(1, 2), Fraction(1, 8)):
        store = Store(rate=Fraction(rate))
        program = compile_model(graph, target, store=store)
        totals.append(sum(layer.total for layer in predict(program, store)))
        bound = len(program.stream) / rate
        assert bound < totals[-1]
    assert totals == sorted(totals)
    assert totals[-1] < 1.05 * bound


def test_core_without_a_store_refuses_what_does_not_fit():
    graph = parse(Net((1, 1, 512), seed=3).fully_connected(512).bytes())
    target = resolve("ecp5-25k", ["act_lines=1024"])
    assert compile_model(graph, target).stream
    with pytest.raises(FitError, match="must hold .* bytes"):
        compile_model(graph, resolve("ecp5-25k", ["act_lines=1024", "pages=0"]))


def test_activations_that_leave_no_room_for_pages_are_the_reason():
    graph = parse(Net((1, 101, 40, 1), seed=3).conv(45).conv(45).bytes())
    with pytest.raises(FitError, match=r"does not fit up5k: .* \(activations 387840, desc"):
        compile_model(graph, PRESETS["up5k"])


@pytest.mark.parametrize("option, value", [
    ("--store-rate", "0"), ("--store-rate", "5"), ("--store-rate", "fast"),
    ("--store-latency", "-1"), ("--store-latency", "1.5")])
def test_bad_store_is_one_line(option, value, capsys, tmp_path):
    model = "models/fashion/fashion.tflite"
    code = systolith.main(["compile", model, "--target", "up5k", "-o", str(tmp_path / "x"),
                           f"{option}={value}"])
    error = capsys.readouterr().err
    assert code == 2 and error.count("\n") == 1 and value in error
    assert not (tmp_path / "x").exists()


def test_real_network_pages_on_the_small_ecp5(mlperf):
    program = compile_model(load(mlperf / "ic_resnet8.tflite"), resolve("ecp5-25k"), skip="off")
    found = predict(program)
    assert program.stream and sum(layer.total for layer in found) <= 215_000
    assert program.memory["backing store"]["used"] == len(program.stream) > 76_000
    assert sum(layer.page for layer in found) < 6_000


def test_weights_of_depthwise_layers_need_few_bytes(mlperf):
    target = resolve("ecp5-25k")
    program = compile_model(load(mlperf / "vww_mobilenet.tflite"), target, fold=False, skip="off")
    assert sum(layer.total for layer in predict(program)) <= 215_000
    assert len(program.stream) < 100_000 < 4 * sum(
        page.words for page in contents(program.stream)) // 2


@given(st.lists(st.integers(0, 3), min_size=1, max_size=100), st.integers(0, 99))
@settings(deadline=None, derandomize=True)
def test_pages_are_packed_where_that_is_shorter(words, after):
    """The steps of a page are those of its stream, whose words are in turn."""
    config, data = PRESETS["ecp5-25k"].config, np.array(words, "<u4").tobytes()
    page = make_page(config, Space.WEIGHT, 64, after, data)
    masks = -(-len(words) // 32)
    assert len(page.data) == 4 * min(len(words), masks + sum(map(bool, words)))
    (found,) = contents(stream((page,), config, 0))
    assert (found.after, found.words, found.packed) == (after, len(words), page.packed)
    sent = found.steps[found.steps != Kind.MASK] == Kind.WORD
    assert sent.tolist() == [word != 0 or not page.packed for word in words]
    taken = np.frombuffer(page.data, "<u4")[found.steps[found.steps != Kind.ZERO] == Kind.WORD]
    assert taken.tolist() == [word for word, here in zip(words, sent, strict=True) if here]
