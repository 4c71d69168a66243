"""Random single operators, and the comparison of the golden model with TFLM on them."""

import numpy as np

from models.tflite_reader import parse
from sim.golden import run
from tb.tflite_builder import Net
from tb.tflm import run_tflm

ACTIVATIONS = ("NONE", "RELU", "RELU6", "RELU_N1_TO_1")


class Draw:
    """Random but reproducible choices for one network."""

    def __init__(self, kind, seed):
        self.seed = (seed, *kind.encode())
        self.rng = np.random.default_rng(self.seed)
        self.size = self.between(1, 12), self.between(1, 12)
        self.kernel = self.between(1, 5), self.between(1, 5)
        self.stride = self.between(1, 4), self.between(1, 4)
        self.dilation = self.between(1, 3), self.between(1, 3)
        reach = [(k - 1) * d + 1 for k, d in zip(self.kernel, self.dilation, strict=True)]
        fits = reach[0] <= self.size[0] and reach[1] <= self.size[1]
        self.padding = "VALID" if fits and self.rng.random() < 0.5 else "SAME"
        self.activation = ACTIVATIONS[seed % len(ACTIVATIONS)]
        self.net = Net((1, *self.size, self.between(1, 9)), zero_point=self.zero_point(),
                       seed=self.seed)

    def between(self, low, high):
        return int(self.rng.integers(low, high))

    def zero_point(self):
        """Both ends of int8 as often as everything between."""
        return int(self.rng.choice([-128, 127, 0, self.between(-128, 128)]))

    def sometimes(self, low, high):
        """None, or 10 to a power in the range: far from what the builder would choose."""
        return float(10 ** self.rng.uniform(low, high)) if self.rng.random() < 0.25 else None

    @property
    def window(self):
        return {"kernel": self.kernel, "stride": self.stride, "padding": self.padding,
                "activation": self.activation}

    @property
    def scales(self):
        return {"scale": self.sometimes(-4, 3), "weight_scale": self.sometimes(-4, 0),
                "zero_point": self.zero_point(), "bias": self.between(0, 4) > 0}


def assert_equals_tflm(make, runtime, nets: int, images: int, least: int = 4):
    """Compare all bytes of random networks on random inputs, the first two all -128 and all 127.

    Parameters
    ----------
    make : function of Draw
        Returns a Net.
    runtime : module
        The fixture ``tflite_micro``.
    nets, images : int
        Networks, with one seed each; inputs for each of them.
    least : int
        Different bytes a network gives on the average: not all of it may saturate.
    """
    different_values = 0
    for seed in range(nets):
        draw = Draw(make.__name__, seed)
        data = make(draw).bytes()
        graph = parse(data)
        shape = (images, *graph.tensors[graph.input].shape[1:])
        x = np.clip(draw.rng.normal(0, draw.rng.uniform(2, 200), shape), -128, 127).astype(np.int8)
        x[0], x[1] = -128, 127
        got = run(graph, x)[graph.output]
        expect = run_tflm(runtime, data, x)
        assert np.array_equal(got, expect.reshape(got.shape)), (seed, graph)
        different_values += len(np.unique(got))
    assert different_values > least * nets
