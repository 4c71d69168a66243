"""The golden model on whole networks, against TFLM's recorded and live outputs."""

import time

import numpy as np
import pytest

from models.graph import ModelError
from models.tflite_reader import load, parse
from sim.golden import dequantize, mbqm, quantize, quantize_multiplier, run
from sim.golden.arithmetic import rdbpot, srdhm
from tb.conftest import NETWORKS
from tb.tflite_builder import Net
from tb.tflm import layers_of_tflm, run_tflm


def random_input(graph, count, seed=0):
    shape = graph.tensors[graph.input].shape[1:]
    x = np.random.default_rng(seed).integers(-128, 128, (count, *shape)).astype(np.int8)
    x[0] = -128
    return x


@pytest.mark.parametrize("name", NETWORKS)
def test_golden_equals_recorded_tflm_in_every_layer(mlperf_reference, name):
    graph = load(mlperf_reference / f"{name}.tflite")
    with np.load(mlperf_reference / f"{name}.npz") as recorded:
        values = run(graph, recorded["input"])
        for op in graph.ops:
            assert np.array_equal(values[op.outputs[0]], recorded[op.name]), op.name
        assert np.array_equal(values[graph.output], recorded["output"])


@pytest.mark.parametrize("name", NETWORKS)
def test_golden_equals_live_tflm_in_every_layer(mlperf, tflite_micro, name):
    path = mlperf / f"{name}.tflite"
    graph = load(path)
    x = random_input(graph, 3)
    values = run(graph, x)
    for i, expect in layers_of_tflm(tflite_micro, path.read_bytes(), graph, x).items():
        assert np.array_equal(values[i], expect.reshape(values[i].shape)), graph.producer(i)


def test_golden_equals_tflm_on_our_own_network(fashion, tflite_micro):
    path = fashion / "fashion.tflite"
    graph = load(path)
    x = np.load(fashion / "images.npy")[:40]
    got = run(graph, x)[graph.output]
    assert np.array_equal(got, run_tflm(tflite_micro, path.read_bytes(), x))


def small_network():
    net = Net((1, 9, 8, 3), seed=1).conv(8, activation="RELU")
    skip = net.here
    net.conv(8).add(skip).depthwise(stride=(2, 2), activation="RELU6").max_pool()
    return net.average_pool(padding="SAME").reshape().fully_connected(10).softmax()


def test_golden_equals_tflm_on_a_random_network(tflite_micro):
    data = small_network().bytes()
    graph = parse(data)
    x = random_input(graph, 20)
    assert np.array_equal(run(graph, x)[graph.output], run_tflm(tflite_micro, data, x))


def test_golden_batch_equals_single_images():
    graph = parse(small_network().bytes())
    x = random_input(graph, 700)  # more than one chunk
    batch = run(graph, x)
    assert set(batch) == {graph.input, *(op.outputs[0] for op in graph.ops)}
    for n in (0, 350, 699):
        for i, values in run(graph, x[n:n + 1]).items():
            assert values.dtype == np.int8
            assert values.shape == graph.tensors[i].shape
            assert np.array_equal(values[0], batch[i][n])


def test_golden_takes_well_below_a_second_per_image(mlperf):
    graph = load(mlperf / "ic_resnet8.tflite")
    x = random_input(graph, 4)
    start = time.process_time()
    run(graph, x)
    assert time.process_time() - start < 4 * 1.0


@pytest.mark.parametrize("x", [np.zeros((1, 9, 8, 3), np.uint8), np.zeros((1, 9, 8, 4), np.int8),
                               np.zeros((0, 9, 8, 3), np.int8), np.zeros((9, 8, 3), np.int8)])
def test_golden_rejects_other_inputs(x):
    graph = parse(small_network().bytes())
    with pytest.raises(ValueError, match=r"x must be int8 of shape .*, not .*; quantize"):
        run(graph, x)


def test_golden_names_an_operator_it_lacks():
    net = Net((1, 4), seed=0)
    graph = parse(net.operator("EXP", [net.here], net.tensor((1, 4), 1 / 256, -128)).bytes())
    with pytest.raises(ModelError, match=r"op00_EXP kind must be one of .*not 'EXP'; "):
        run(graph, np.zeros((1, 4), np.int8))


@pytest.mark.parametrize(("ratio", "q", "e"), [
    (0.5, 1 << 30, 0), (1.0, 1 << 30, 1), (1 - 2.0**-40, 1 << 30, 1), (2.0**-32, 1 << 30, -31),
    (2.0**-33, 0, 0), (0.75 * 2**-10, 3 << 29, -10), (1 / 3, 1431655765, -1)])
def test_quantize_multiplier_rounds_and_flushes(ratio, q, e):
    assert quantize_multiplier(ratio) == (q, e)


def reference_mbqm(x, q, e):
    """MBQM as the reference words it, in Python integers."""
    x = (x << max(e, 0)) + 2**31 & 2**32 - 1
    product = (x - 2**31) * q
    nudged = product + (2**30 if product >= 0 else 1 - 2**30)
    high = abs(nudged) // 2**31 * (1 if nudged >= 0 else -1)
    mask = (1 << max(-e, 0)) - 1
    return (high >> max(-e, 0)) + ((high & mask) > (mask >> 1) + (high < 0))


def test_mbqm_equals_the_reference_in_words():
    rng = np.random.default_rng(3)
    edges = np.array([-2**31, -2**31 + 1, -2**30, -1, 0, 1, 2**30, 2**31 - 1])
    for e in range(-31, 31):
        q = rng.integers(2**30, 2**31, 40)
        x = np.concatenate([edges, rng.integers(-2**31, 2**31, 16),
                            rng.integers(-2**9, 2**9, 16)])
        got = mbqm(x.repeat(40), np.tile(q, len(x)), e).tolist()
        assert got == [reference_mbqm(a, b, e) for a in x.tolist() for b in q.tolist()], e


def test_srdhm_saturates_and_rdbpot_rounds_ties_away():
    assert srdhm(-2**31, -2**31) == 2**31 - 1
    assert [int(rdbpot(np.int64(x), 2)) for x in (-6, -5, -2, -1, 0, 1, 2, 5, 6)] == [
        -2, -1, -1, 0, 0, 0, 1, 1, 2]
    assert int(rdbpot(np.int64(-7), 0)) == -7


def test_quantize_and_dequantize_are_inverse():
    tensor = parse(Net((1, 3), 0.1, 5).reshape().bytes()).tensors[0]
    values = np.arange(-128, 128).astype(np.int8)
    assert np.array_equal(quantize(tensor, dequantize(tensor, values)), values)
    assert quantize(tensor, [1e9, -1e9, 0.06, -0.06]).tolist() == [127, -128, 6, 4]
