"""models.prune: masks, the rewritten file, the command, and the networks that we ship."""

import sys
from dataclasses import replace
from functools import partial
from math import ceil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gen.lower import lower
from gen.targets import PRESETS
from models.graph import ModelError
from models.prune import __main__ as command
from models.prune.layers import prunable, quantize, read_layers
from models.prune.masks import magnitude_mask, n_of_m_mask, vector_mask
from models.prune.prune import prune, zeros
from models.tflite_reader import load, parse
from models.tflite_writer import Constant, rewrite
from sim.golden import run
from tb.pruned_networks import budget, inputs_of
from tb.tflite_builder import Net
from tb.tflm import layers_of_tflm

VECTORS = {"fashion_vector50": 0.5, "fashion_vector75": 0.75}
SHIPPED = VECTORS | {"fashion_nm24": 0.5, "fashion_unstructured50": 0.5}
SEEDS = st.integers(0, 1 << 30)
SIZES = st.tuples(st.integers(1, 40), st.integers(1, 80))
SPARSITIES = st.floats(0, 0.99)


def drawn(shape, seed) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


def deep_net(seed: int = 0) -> Net:
    return Net((1, 6, 6, 4), seed=seed).conv(8, activation="RELU").conv(12, (1, 1)).conv(
        5, bias=False).fully_connected(4)


def half(weights: np.ndarray) -> np.ndarray:
    return vector_mask(weights, 0.5, 2, 4)


@budget(100)
@given(SIZES, SPARSITIES, st.sampled_from([1, 2, 4, 8]), st.sampled_from([1, 4, 8, 16]), SEEDS)
def test_vectors_are_the_strongest_and_equally_many_in_each_lane(shape, sparsity, lanes, columns,
                                                                 seed):
    weights = drawn(shape, seed)
    mask = vector_mask(weights, sparsity, lanes, columns)
    assert mask.shape == shape
    kept = max(1, round((1 - sparsity) * ceil(shape[1] / lanes)))
    for begin in range(0, shape[0], columns):
        group = mask[begin:begin + columns]
        assert (group == group[0]).all()
        strengths = np.square(weights[begin:begin + columns]).sum(axis=0)
        for lane in range(lanes):
            stays = group[0, lane::lanes]
            assert stays.sum() == min(kept, len(stays))
            strength = strengths[lane::lanes]
            assert strength[stays].min(initial=np.inf) >= strength[~stays].max(initial=0)


@pytest.mark.parametrize("sparsity", [0, 0.25, 0.5, 0.75])
def test_sparsity_is_exact_where_lanes_divide_the_window(sparsity):
    weights = drawn((32, 144), 1)
    for mask in (vector_mask(weights, sparsity, 4, 16), magnitude_mask(weights, sparsity)):
        assert 1 - mask.mean() == sparsity


@budget(100)
@given(SIZES, st.integers(1, 8), st.integers(0, 7), SEEDS)
def test_n_of_m_keeps_the_largest_of_every_group(shape, n, more, seed):
    m, weights = n + more, drawn(shape, seed)
    mask = n_of_m_mask(weights, n, m)
    assert mask.shape == shape
    for begin in range(0, shape[1], m):
        group, size = mask[:, begin:begin + m], np.abs(weights[:, begin:begin + m])
        assert (group.sum(axis=1) == min(n, group.shape[1])).all()
        assert (np.where(group, size, np.inf).min(axis=1) >= np.where(group, 0, size).max(axis=1)
                ).all()


@budget(100)
@given(SIZES, SPARSITIES, SEEDS)
def test_unstructured_keeps_the_largest(shape, sparsity, seed):
    weights = drawn(shape, seed)
    mask = magnitude_mask(weights, sparsity)
    assert mask.shape == shape
    assert mask.sum() == max(1, round((1 - sparsity) * weights.size))
    assert np.abs(weights[mask]).min() >= np.abs(weights[~mask]).max(initial=0)


@budget(20)
@given(SEEDS)
def test_quantized_layers_return(seed):
    """Up to a step of the new scale, which is none larger: the largest weight becomes 127."""
    graph = parse(deep_net(seed).bytes())
    for layer in read_layers(graph):
        for constant in quantize(graph, layer):
            tensor = graph.tensors[constant.tensor]
            assert tensor.data is not None
            real = tensor.data.reshape(len(tensor.data), -1) * np.array(tensor.scale)[:, None]
            got = constant.data.reshape(real.shape) * constant.scale[:, None].astype(float)
            assert np.abs(got - real).max() <= constant.scale.max()
            assert (constant.data.reshape(tensor.shape)[tensor.data == 0] == 0).all()


@budget(15)
@given(SEEDS, st.sampled_from([half, partial(n_of_m_mask, n=2, m=4),
                               partial(magnitude_mask, sparsity=0.7)]))
def test_pruned_file_has_the_zeros_and_equals_tflm(tflite_micro, seed, mask):
    content = deep_net(seed).bytes()
    dense, pruned = parse(content), prune(content, "net", mask)
    graph = parse(pruned)
    assert len(pruned) == len(content)
    assert graph.ops == dense.ops
    for before, after in zip(prunable(dense), prunable(graph), strict=True):
        assert (after.weights[~mask(before.weights)] == 0).all()
    for before, after in zip(read_layers(dense)[::3], read_layers(graph)[::3], strict=True):
        assert np.array_equal(before.weights, after.weights)
    x = inputs_of(graph)
    golden = run(graph, x)
    for index, want in layers_of_tflm(tflite_micro, pruned, graph, x).items():
        assert np.array_equal(golden[index], want), index


def test_rewriting_what_is_there_changes_nothing():
    content = deep_net().bytes()
    constants = [Constant(tensor=i, data=tensor.data, scale=np.array(tensor.scale, np.float32))
                 for i, tensor in enumerate(parse(content).tensors) if tensor.data is not None]
    assert rewrite(content, constants) == content


def test_tensor_of_two_minds_is_refused():
    """As where layers share their weights and are trained apart."""
    content = deep_net().bytes()
    first = quantize(parse(content), prunable(parse(content))[0])[0]
    with pytest.raises(ModelError, match=f"net: tensor {first.tensor} must have bytes and scales "
                       "of its own, not those of another tensor; export the model without"):
        rewrite(content, [first, replace(first, scale=2 * first.scale)], "net")


def test_network_of_two_layers_is_refused():
    with pytest.raises(ModelError, match="must number at least 3, as the first and the last one "
                       "stay dense, not 2; give a deeper network"):
        prune(Net((1, 6, 6, 4)).conv(8).fully_connected(4).bytes(), "net", half)


@pytest.mark.parametrize("pattern, mask", [
    (["vector", "--sparsity", "0.5", "-L", "2", "-C", "4"], half),
    (["unstructured", "--sparsity", "0.7"], partial(magnitude_mask, sparsity=0.7)),
    (["nm", "-N", "2", "-M", "4"], partial(n_of_m_mask, n=2, m=4)),
])
def test_command_writes_what_prune_returns(tmp_path, capsys, pattern, mask):
    model, output = tmp_path / "net.tflite", tmp_path / "new" / "out.tflite"
    model.write_bytes(deep_net().bytes())
    assert command.main([*pattern, str(model), "-o", str(output)]) == 0
    assert output.read_bytes() == prune(model.read_bytes(), "net", mask)
    assert [*output.parent.iterdir()] == [output]
    share = zeros(load(output))
    assert f"out.tflite: {share:.1%} of the weights" in capsys.readouterr().out


@pytest.mark.parametrize("argv, message", [
    (["vector", "m", "-o", "o", "--sparsity", "1", "-L", "4", "-C", "16"],
     "argument --sparsity: must be at least 0 and below 1, not 1"),
    (["vector", "m", "-o", "o", "--sparsity", "0.5", "-L", "4"], "required: -C/--columns"),
    (["vector", "m", "-o", "o", "--sparsity", "0.5", "-L", "0", "-C", "16"],
     "argument -L/--lanes: must be at least 1, not 0"),
    (["nm", "m", "-o", "o", "-N", "5", "-M", "4"], "-N must be at most -M = 4, not 5"),
    (["unstructured", "m", "-o", "o", "--sparsity", "0.5", "--rate", "0"],
     "argument --rate: must be above 0 and below 1, not 0"),
    (["blocks"], "invalid choice: 'blocks'"),
])
def test_command_refuses_usage_errors(capsys, argv, message):
    with pytest.raises(SystemExit) as caught:
        command.main(argv)
    error = capsys.readouterr().err
    assert caught.value.code == 2
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert message in error


def test_help_has_examples(capsys):
    with pytest.raises(SystemExit) as caught:
        command.main(["--help"])
    assert caught.value.code == 0
    assert "python -m models.prune vector models/fashion/fashion.tflite" in capsys.readouterr().out


def test_command_refuses_bad_files_and_writes_nothing(tmp_path, capsys):
    nm = ["nm", "-N", "2", "-M", "4"]
    model, output = tmp_path / "net.tflite", tmp_path / "out.tflite"
    model.write_bytes(b"no model")
    for argv, message in (
            ([str(tmp_path / "none"), "-o", str(output)], "none must be readable or writable"),
            ([str(model), "-o", str(output)], "net.tflite: identifier must be"),
            ([str(model), "-o", str(tmp_path)], "output must be a file, not"),
            ([str(model), "-o", str(output), "--data", str(tmp_path)],
             "train-images-idx3-ubyte.gz must be a readable IDX file")):
        assert command.main([*nm, *argv]) == 2
        error = capsys.readouterr().err
        assert error.startswith("error: ")
        assert error.count("\n") == 1
        assert message in error
        assert not output.exists()


def test_fine_tuning_without_torch_says_how_to_get_it(tmp_path, capsys, monkeypatch):
    model = tmp_path / "net.tflite"
    model.write_bytes(deep_net().bytes())
    for name in ("models.prune.tune", "models.prune.network"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setattr(command, "read_split", lambda folder, split: (None, None))
    assert command.main(["nm", "-N", "2", "-M", "4", str(model), "-o", str(tmp_path / "o"),
                         "--data", "."]) == 2
    assert "torch must be installed for --data, not missing; .venv/bin/pip install -e '.[prune]'" \
        in capsys.readouterr().err


@pytest.mark.parametrize("name", VECTORS)
@pytest.mark.parametrize("target", PRESETS)
def test_no_lane_has_more_rows_than_another(fashion, name, target):
    """In the banks of every preset, as the compiler lays them out: lanes and columns fit all."""
    graph, config = load(fashion / f"{name}.tflite"), PRESETS[target].config
    pruned = {layer.op.name for layer in prunable(graph)}
    steps = [step for layer in lower(graph, config).layers
             if set(layer.name.split("+")) & pruned for step in layer.steps if step.weights.size]
    assert len(steps) == len(pruned)
    for step in steps:
        rows = step.weights.reshape(step.groups, -1, config.L, config.C).any(axis=3)
        assert (rows.sum(axis=1) <= (1 - VECTORS[name]) * rows.shape[1]).all()


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_network_has_its_zeros(fashion, name):
    graph = load(fashion / f"{name}.tflite")
    assert SHIPPED[name] <= zeros(graph) < SHIPPED[name] + 0.02


def test_two_of_four_weights_stay(fashion):
    for layer in prunable(load(fashion / "fashion_nm24.tflite")):
        assert ((layer.weights.reshape(-1, 4) != 0).sum(axis=1) <= 2).all()


def test_smallest_half_of_each_layers_weights_is_zero(fashion):
    """Wherever they are: those that were the smallest in the dense network."""
    dense, pruned = (prunable(load(fashion / f"{name}.tflite"))
                     for name in ("fashion", "fashion_unstructured50"))
    for before, after in zip(dense, pruned, strict=True):
        assert ((after.weights != 0) == magnitude_mask(before.weights, 0.5)).all()


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_network_equals_tflm(fashion, tflite_micro, name):
    path = fashion / f"{name}.tflite"
    graph, images = load(path), np.load(fashion / "images.npy")[:50]
    golden = run(graph, images)
    for index, want in layers_of_tflm(tflite_micro, path.read_bytes(), graph, images).items():
        assert np.array_equal(golden[index], want), index
