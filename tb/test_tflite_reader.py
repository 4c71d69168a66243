"""The TFLite reader: what it reads, folds, and refuses, whatever the bytes."""

import random
import struct
import time

import numpy as np
import pytest

from models.graph import ModelError
from models.tflite_options import window_padding
from models.tflite_reader import load, parse
from tb.conftest import NETWORKS
from tb.tflite_builder import Net

ONE_LINE = r"^[^\n]+ must be [^\n]+, not [^\n]+; [^\n]+$"
SECONDS_PER_FILE = 2


def small():
    net = Net((1, 9, 8, 3), seed=1).conv(8, activation="RELU")
    skip = net.here
    net.conv(8).add(skip).depthwise(stride=(2, 2), activation="RELU6").max_pool()
    return net.average_pool(padding="SAME").reshape().fully_connected(10).softmax(beta=0.5)


def data_of(graph, index):
    data = graph.tensors[index].data
    assert data is not None
    return data


def refuses(data, match):
    """A ModelError of one line that matches."""
    with pytest.raises(ModelError, match=ONE_LINE) as caught:
        parse(data, "net")
    assert str(caught.value).startswith("net: ")
    assert match in str(caught.value)


@pytest.mark.parametrize(("name", "ops", "macs"), [
    ("ad_autoencoder", 10, 264_192), ("ic_resnet8", 16, 12_501_632),
    ("kws_dscnn", 13, 2_656_768), ("vww_mobilenet", 31, 7_489_664)])
def test_load_reads_the_reference_networks(mlperf_reference, name, ops, macs):
    graph = load(mlperf_reference / f"{name}.tflite")
    assert (graph.name, len(graph.ops)) == (name, ops)
    assert sum(map(graph.macs, graph.ops)) == macs
    assert graph.tensors[graph.input].dtype == graph.tensors[graph.output].dtype == "int8"
    for tensor in graph.tensors:
        assert all(float(np.float32(scale)) == scale for scale in tensor.scale)


@pytest.mark.parametrize("name", NETWORKS)
def test_load_leaves_only_operators_to_compute(mlperf, name):
    graph = load(mlperf / f"{name}.tflite")
    assert {op.kind for op in graph.ops} <= {
        "CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "ADD", "AVERAGE_POOL_2D", "RESHAPE",
        "SOFTMAX"}


def test_parse_keeps_every_attribute():
    net = Net((1, 9, 8, 3), 0.25, -7, seed=1)
    net.conv(4, (3, 2), stride=(2, 1), dilation=(1, 2), activation="RELU6", bias=False,
             weight_scale=[0.1, 0.2, 0.3, 0.4], scale=0.7, zero_point=-128)
    net.max_pool((2, 3), stride=(1, 2), padding="SAME", activation="RELU").softmax(beta=2.5)
    graph = parse(net.bytes(), "x")
    conv, pool, softmax = graph.ops
    assert [op.name for op in graph.ops] == ["op00_CONV_2D", "op01_MAX_POOL_2D", "op02_SOFTMAX"]
    assert (conv.stride, conv.dilation, conv.activation) == ((2, 1), (1, 2), "RELU6")
    assert conv.padding == ((1, 1), (1, 1))
    assert conv.inputs == (0, 1, -1)
    assert (pool.kernel, pool.stride, pool.padding) == ((2, 3), (1, 2), ((0, 1), (0, 1)))
    assert softmax.beta == 2.5
    assert graph.tensors[1].scale == tuple(float(np.float32(s)) for s in (0.1, 0.2, 0.3, 0.4))
    assert np.array_equal(data_of(graph, 1), data_of(net, 1))
    assert (graph.tensors[0].scale, graph.tensors[0].zero_point) == ((0.25,), -7)
    assert (graph.input, graph.output, graph.name) == (0, 4, "x")


@pytest.mark.parametrize(("size", "kernel", "stride", "dilation", "expect"), [
    (32, 3, 1, 1, (1, 1)), (32, 3, 2, 1, (0, 1)), (33, 3, 2, 1, (1, 1)), (49, 10, 2, 1, (4, 5)),
    (8, 2, 1, 1, (0, 1)), (8, 3, 1, 2, (2, 2)), (8, 1, 3, 1, (0, 0)), (1, 5, 1, 1, (2, 2))])
def test_same_padding_puts_the_odd_one_after(size, kernel, stride, dilation, expect):
    assert window_padding(True, size, kernel, stride, dilation) == expect
    assert window_padding(False, size, kernel, stride, dilation) == (0, 0)


def exporter_leftovers(dtype="float32"):
    """What Keras leaves: float ends, and SHAPE, STRIDED_SLICE, PACK computing a RESHAPE."""
    net = Net((1, 6, 6, 2), 0.1, 130, dtype=dtype, seed=2).quantize(0.1, 2).conv(4)
    inner = net.here
    net.operator("SHAPE", [inner], net.tensor((4,), dtype="int32"), "ShapeOptions")
    one = net.constant(np.array([1], np.int32))
    zero = net.constant(np.array([0], np.int32))
    net.operator("STRIDED_SLICE", [net.here, zero, one, one], net.tensor((), dtype="int32"),
                 "StridedSliceOptions")
    rest = net.constant(np.array(144, np.int32))
    net.operator("PACK", [net.here, rest], net.tensor((2,), dtype="int32"), "PackOptions")
    wanted = net.here
    out = net.tensor((1, 144), net.tensors[inner].scale, net.tensors[inner].zero_point)
    return net.operator("RESHAPE", [inner, wanted], out, "ReshapeOptions").fully_connected(5)


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_fold_drops_what_exporters_leave(dtype):
    net = exporter_leftovers(dtype)
    inner = net.here
    if dtype == "float32":
        net.dequantize()
    else:
        source = net.tensors[inner]
        net.operator("QUANTIZE", [inner], net.tensor((1, 5), source.scale, source.zero_point + 128,
                                                     dtype="uint8"))
    graph = parse(net.bytes())
    assert [op.name for op in graph.ops] == ["op01_CONV_2D", "op05_RESHAPE", "op06_FULLY_CONNECTED"]
    assert (graph.input, graph.output) == (1, inner)
    assert len(graph.ops[1].inputs) == 1


def test_fold_leaves_a_quantize_that_changes_values():
    graph = parse(Net((1, 4), 0.1, 3).quantize(0.2, 3).fully_connected(2).bytes())
    assert [op.kind for op in graph.ops] == ["QUANTIZE", "FULLY_CONNECTED"]


def test_fold_computes_reshape_and_transpose_of_constants():
    net = Net((1, 3), seed=0)
    start = net.here
    data = np.arange(-6, 6).astype(np.int8)
    wanted = net.constant(np.array([3, 4], np.int32))
    net.operator("RESHAPE", [net.constant(data, 0.1), wanted], net.tensor((3, 4), 0.1, 0))
    order = net.constant(np.array([1, 0], np.int32))
    net.operator("TRANSPOSE", [net.here, order], weights := net.tensor((4, 3), 0.1, 0))
    net.operator("FULLY_CONNECTED", [start, weights], net.tensor((1, 4), 0.5, 0),
                 "FullyConnectedOptions")
    graph = parse(net.bytes())
    assert [op.kind for op in graph.ops] == ["FULLY_CONNECTED"]
    assert np.array_equal(data_of(graph, weights), data.reshape(3, 4).T)


def test_load_keeps_unknown_operators_by_name():
    net = Net((1, 8), seed=0).fully_connected(4)
    net.operator("EXP", [net.here], net.tensor((1, 4), 1 / 256, -128))
    assert [op.name for op in parse(net.bytes()).ops] == ["op00_FULLY_CONNECTED", "op01_EXP"]


def test_float_model_names_operator_rule_and_remedy():
    net = Net((1, 4), dtype="float32")
    net.operator("FULLY_CONNECTED", [net.here, net.constant(np.ones((2, 4), np.float32))],
                 net.tensor((1, 2), dtype="float32"), "FullyConnectedOptions")
    refuses(net.bytes(), "op00_FULLY_CONNECTED activations must be int8, not 'float32'; quantize")


def broken(change):
    net = small()
    change(net)
    return net.bytes()


def option(index, **fields):
    return lambda net: net.operators[index].fields.update(fields)


def tensor(index, **fields):
    def change(net):
        for name, value in fields.items():
            setattr(net.tensors[index], name, value)
    return change


def scale(*values):
    return np.array(values, np.float32)


@pytest.mark.parametrize(("change", "match"), [
    (option(0, StrideH=0), "op00_CONV_2D stride must be positive, not (0, 1)"),
    (option(0, StrideH=2), "op00_CONV_2D output shape must be"),
    (option(0, DilationWFactor=-1), "op00_CONV_2D dilation must be positive"),
    (option(0, Padding=7), "op00_CONV_2D padding must be SAME or VALID, not 7"),
    (option(0, FusedActivationFunction=4), "op00_CONV_2D activation must be one of NONE"),
    (option(4, FilterHeight=0), "op04_MAX_POOL_2D kernel must be positive"),
    (option(4, FilterWidth=1 << 20, Padding=0), "op04_MAX_POOL_2D kernel times dilation must be"),
    (option(8, Beta=float("nan")), "op08_SOFTMAX beta times scale must be above"),
    (tensor(0, scale=scale()), "op00_CONV_2D input scales must be one, not 0; quantize"),
    (tensor(0, scale=scale(float("inf"))), "op00_CONV_2D input scale must be positive and finite"),
    (tensor(0, scale=scale(-1)), "op00_CONV_2D input scale must be positive and finite"),
    (tensor(0, zero_point=128), "op00_CONV_2D input zero point must be in -128..127, not 128"),
    (tensor(0, dtype="int16"), "op00_CONV_2D input dtype must be int8, not 'int16'"),
    (tensor(0, shape=(9, 8, 3)), "op00_CONV_2D input rank must be 4, not 3"),
    (tensor(0, shape=(1, 9, 8, 4)), "op00_CONV_2D weights channels must be 4, not 3"),
    (tensor(0, shape=(1, 0, 8, 3)), "op00_CONV_2D input size must be in 1.."),
    (tensor(1, scale=scale(1, 2)), "op00_CONV_2D weights scales must be 1 or 8, not 2"),
    (tensor(1, scale=scale(*[1e-9] * 7, 1e20)), "op00_CONV_2D scale ratio must be below"),
    (tensor(1, zero_point=1), "op00_CONV_2D weights zero point must be 0, not 1"),
    (tensor(1, data=None), "op00_CONV_2D input tensor must be written before it is read, not 1"),
    (tensor(1, shape=(1 << 30,) * 4), "tensor 1 buffer must be"),
    (tensor(2, dtype="float32"), "op00_CONV_2D bias must be constant int32, not 'float32'"),
    (tensor(2, data=np.zeros(4, np.int32), shape=(4,)), "op00_CONV_2D bias size must be 8, not 4"),
    (lambda net: net.operators[2].inputs.pop(), "op02_ADD inputs must be 2, not 1"),
    (lambda net: net.operators[1].inputs.__setitem__(0, 99), "operator 1 input must be in -1.."),
    (lambda net: net.operators[0].inputs.__setitem__(0, 7), "must be written before it is read"),
    (lambda net: net.operators[1].outputs.__setitem__(0, 3), "output tensor must be written once"),
    (lambda net: setattr(net, "output", 0), "output tensor must be written by an operator"),
    (lambda net: setattr(net.operators[0], "options", "Pool2DOptions") or
     net.operators[0].fields.clear(), "op00_CONV_2D options must be Conv2DOptions"),
    (lambda net: net.operators.clear(), "output tensor must be written"),
])
def test_parse_refuses_a_broken_network(change, match):
    refuses(broken(change), match)


def test_batch_must_be_one():
    refuses(Net((2, 4), seed=0).reshape((1, 8)).bytes(), "input batch must be 1, not (2, 4)")


@pytest.mark.parametrize(("data", "match"), [
    (b"", "identifier must be"), (b"\0" * 8, "identifier must be"),
    (b"\x89PNG\r\n\x1a\n" * 40, "identifier must be"), (b"\0\0\0\0TFL3", "must be"),
    (b"\xff\xff\xff\x7fTFL3" + b"\xff" * 64, "flatbuffer must be well formed"),
    (b"\x08\0\0\0TFL3" + b"\0" * 64, "subgraphs must be one, not 0")])
def test_parse_refuses_what_is_no_tflite(data, match):
    refuses(data, match)


def test_load_refuses_paths_without_a_file(tmp_path):
    for path in (tmp_path, tmp_path / "missing.tflite", "bad\0name"):
        with pytest.raises(ModelError, match=ONE_LINE):
            load(path)
    truncated = tmp_path / "cut.tflite"
    truncated.write_bytes(small().bytes()[:-100])
    with pytest.raises(ModelError, match=ONE_LINE) as caught:
        load(truncated)
    assert str(caught.value).startswith("cut.tflite: ")


def damaged(data, count, seed):
    """Copies with 1..4 flipped bits, a lie in a length or offset, or a lost tail."""
    rng = random.Random(seed)
    for _ in range(count):
        copy = bytearray(data)
        for _ in range(rng.randint(1, 4)):
            copy[rng.randrange(len(copy))] ^= 1 << rng.randrange(8)
        if rng.random() < 0.3:
            lie = rng.choice([0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, rng.getrandbits(32)])
            struct.pack_into("<I", copy, rng.randrange(len(copy) // 4) * 4, lie)
        yield bytes(copy[:rng.randrange(len(copy))] if rng.random() < 0.2 else copy)


def survives(data):
    """Parsing ends soon, in a Graph or in a ModelError of one line; True for a Graph."""
    start = time.process_time()
    try:
        parse(data, "net")
    except ModelError as error:
        assert len(str(error).splitlines()) == 1
        return False
    finally:
        assert time.process_time() - start < SECONDS_PER_FILE
    return True


def test_parse_survives_damage_to_a_small_network():
    loaded = [survives(data) for data in damaged(small().bytes(), 2000, seed=1)]
    assert 100 < sum(loaded) < 1900  # both outcomes were exercised


def test_parse_survives_damage_to_a_real_network(mlperf):
    data = min((path.read_bytes() for path in mlperf.glob("*.tflite")), key=len)
    assert not all([survives(copy) for copy in damaged(data, 300, seed=2)])
    for cut in range(0, len(data), len(data) // 200):
        assert not survives(data[:cut])
