"""Fine-tuning, where torch is installed: the rounding is the golden model's, zeros stay."""

import numpy as np
import pytest

from models.graph import ModelError
from models.prune.layers import prunable
from models.prune.masks import vector_mask
from models.prune.prune import prune
from models.tflite_reader import load, parse
from sim.golden import dequantize, run
from tb.tflite_builder import Net

torch = pytest.importorskip("torch")
tune = pytest.importorskip("models.prune.tune")


@pytest.fixture(scope="module")
def samples(fashion):
    images = (np.load(fashion / "images.npy").astype(np.float32) + 128) / 255
    return images, np.load(fashion / "labels.npy")


def test_network_computes_what_the_golden_model_does(fashion, samples):
    """Up to the rounding of pools, additions and sums: a step or two of the last scale."""
    graph = load(fashion / "fashion.tflite")
    logits = graph.tensors[graph.ops[-1].inputs[0]]
    with torch.no_grad():
        got = tune.Network(graph, {})(torch.from_numpy(samples[0])).numpy()
    golden = run(graph, np.load(fashion / "images.npy"))[graph.ops[-1].inputs[0]]
    difference = np.abs(got - dequantize(logits, golden)) / logits.scale[0]
    assert np.mean(difference) < 1
    assert difference.max() < 8


def test_tuned_file_keeps_the_zeros_and_learns(fashion, samples):
    content = (fashion / "fashion.tflite").read_bytes()
    images, labels = samples

    def mask(weights):
        return vector_mask(weights, 0.5, 4, 16)

    def right(model):
        x = np.load(fashion / "images.npy")
        return np.mean(run(model, x)[model.output].argmax(axis=1) == labels)

    dense, cut = parse(content), parse(prune(content, "net", mask))
    tuned = parse(prune(content, "net", mask, lambda graph, masks: tune.fine_tune(
        graph, masks, images, labels, epochs=10, batch=20, rate=2e-3, seed=1)))
    for before, after in zip(prunable(dense), prunable(tuned), strict=True):
        assert (after.weights[~mask(before.weights)] == 0).all()
    assert right(tuned) > right(cut) + 0.2


def test_what_cannot_be_trained_is_refused():
    net = Net((1, 6, 6, 4), seed=1).conv(4).depthwise().conv(4).conv(4).bytes()
    with pytest.raises(ModelError, match=r"op01_DEPTHWISE_CONV_2D must be one of CONV_2D.* to be "
                       "fine-tuned; prune without --data"):
        tune.Network(parse(net), {})


@pytest.mark.parametrize("shape, classes, message", [
    ((1, 6, 6, 1), 10, r"model: input must be images of \(28, 28, 1\), not \(6, 6, 1\); prune "),
    ((1, 28, 28, 1), 4, "model: outputs must be at least 10 classes, not 4; prune without --data"),
])
def test_network_for_other_data_is_refused(samples, shape, classes, message):
    graph = parse(Net(shape).conv(2).conv(2).fully_connected(classes).bytes())
    with pytest.raises(ModelError, match=message):
        tune.fine_tune(graph, {}, *samples, epochs=1, batch=100, rate=1e-3, seed=1)
