"""Random core configurations and random small networks that exercise every operator."""

import random
from fractions import Fraction

import numpy as np

from hw.config import WINDOW_ROWS, CoreConfig
from sim.golden.tables import TABLES
from tb.tflite_builder import Net

ACTIVATIONS = ("NONE", "RELU", "RELU6", "RELU_N1_TO_1")


def random_config(rng: random.Random, macs: int = 64) -> CoreConfig:
    """Any legal core of at most ``macs`` multipliers with memories that hold small networks."""
    p, memory = rng.choice([1, 2]), rng.choice(["plain", "plain", "dp16kd", "ice40"])
    p = 1 if memory == "ice40" else p
    shapes = [(lanes, c) for lanes in (1, 2, 4, 8) for c in (4, 8, 16, 32) if p * lanes * c <= macs]
    lines = []
    while not lines:
        lanes, columns = rng.choice(shapes)
        lines = [v for v in (4, 8, 16, 32, 64) if max(columns, lanes) <= v <= lanes * columns
                 and (memory != "ice40" or v <= 8)]
    v = rng.choice(lines)
    multiplier = rng.choice(["lut", "mult18x18d", "sb_mac16"])
    both = memory != "ice40" and v <= WINDOW_ROWS * lanes
    skips = ["off", "act", "both"][:2 + both]
    return CoreConfig(
        P=p, L=lanes, C=columns, V=v, Q=p * rng.choice(_rates(columns)),
        F=1 if memory == "ice40" else rng.choice([1, 2]),
        align=rng.choice([a for a in (1, 2, 4, 8, 16, 32, 64) if a <= v]),
        act_lines=_lines(rng, memory, v), weight_rows=_rows(rng, memory, p),
        patch_lines=rng.choice([16, 16, 32, 64]), patch_buffers=rng.choice([2, 4, 8]),
        param_groups=rng.choice([3, 8, 40]), dim_bits=rng.choice([8, 16]),
        acc_width=rng.choice([32, rng.randint(24, 32)]), multiplier=multiplier, memory=memory,
        mac_dsps=2 * rng.randint(0, p * lanes * columns // 2) if multiplier == "mult18x18d" else 0,
        pages=rng.choice([0, 1, 1]), column_bits=rng.choice([12, 16]),
        skip=rng.choice(skips))


def _rates(columns: int) -> list[Fraction]:
    return [Fraction(1, 4), Fraction(1, 2)] + [Fraction(2**n) for n in range(5) if 2**n < columns]


def _lines(rng: random.Random, memory: str, v: int) -> int:
    if memory == "ice40":
        return 16384
    step = 1024 if memory == "dp16kd" else 16
    return step * rng.randint(-(-24576 // v // step), -(-65536 // v // step))


def _rows(rng: random.Random, memory: str, p: int) -> int:
    step = {"plain": 16, "dp16kd": 512 * p, "ice40": 256}[memory]
    return step * rng.randint(1, max(1, rng.choice([160, 1024]) // step))


class RandomNet:
    """A random network and, in ``steps``, what it consists of.

    Parameters
    ----------
    rng : random.Random
    seed : int
        Of weights and scales.
    patch_bytes : int
        Of a patch buffer: some windows exceed it.
    """

    def __init__(self, rng: random.Random, seed: int, patch_bytes: int):
        self.rng, self.patch_bytes = rng, patch_bytes
        flat = rng.random() < 0.2
        shape = (1, 1 if flat else rng.randint(1, 9), rng.randint(1, 9), rng.randint(1, 20))
        self.steps = [f"input {list(shape)}"]
        self.net = Net(shape, seed=seed)
        for _ in range(rng.randint(1, 4)):
            rng.choice([self.conv, self.conv, self.long_conv, self.pool, self.fused_add,
                        self.free_add, self.table, self.mean, self.pad, self.concatenation,
                        self.gate])()
        if rng.random() < 0.3:
            self.dense()
        self.net.prune_rows(rng.choice([0, 0.3, 0.6, 0.95]), 4 * rng.choice([1, 2, 16]))

    def __str__(self) -> str:
        return ", ".join(self.steps)

    @property
    def activation(self) -> str:
        return self.rng.choice(ACTIVATIONS)

    def conv(self, channels: int | None = None, same: bool = False, scale: float | None = None):
        rng, size = self.rng, self.net.shape[1:3]
        channels = channels or rng.randint(1, 24)
        padding = "SAME" if same else rng.choice(["SAME", "VALID"])
        kernel = tuple(rng.randint(1, 5 if padding == "SAME" else min(5, side)) for side in size)
        stride = (1, 1) if same else (rng.randint(1, 3), rng.randint(1, 3))
        activation = self.activation
        self.steps.append(f"conv {channels} {kernel} / {stride} {padding} {activation}")
        self.net.conv(channels, kernel, stride=stride, padding=padding, activation=activation,
                      scale=scale)

    def long_conv(self):
        """A window of more bytes than a patch buffer holds, if that is not too large."""
        depth = self.net.shape[3]
        side = max(2, min(9, int((self.patch_bytes / depth) ** 0.5) + 1))
        self.steps.append(f"conv ({side}, {side})")
        self.net.conv(self.rng.randint(1, 9), (side, side), stride=(3, 2), padding="SAME")

    def pool(self, same: bool = False):
        rng, size = self.rng, self.net.shape[1:3]
        kernel = tuple(rng.randint(1, min(4, side)) for side in size)
        stride = (1, 1) if same else (rng.randint(1, 3), rng.randint(1, 3))
        padding = "SAME" if same else rng.choice(["SAME", "VALID"])
        name, activation = rng.choice(["max_pool", "average_pool"]), self.activation
        self.steps.append(f"{name} {kernel} / {stride} {padding} {activation}")
        getattr(self.net, name)(kernel, stride=stride, padding=padding, activation=activation)

    def table(self):
        kind = self.rng.choice([*TABLES])
        self.steps.append(kind)
        self.net.table(kind, alpha=self.rng.uniform(-0.5, 1))

    def pad(self):
        pads = [tuple(self.rng.randint(0, 2) for _ in range(2)) for _ in range(2)]
        value = self.rng.choice([None, -128, 5])
        self.steps.append(f"pad {pads} {value}")
        self.net.pad(*pads, value=value)

    def concatenation(self):
        """A convolution before, behind or between what it reads, if that fills whole lines."""
        start = self.net.here
        like, count = self.net.tensors[start], self.rng.randint(1, 24)
        self.conv(count, same=True, scale=float(like.scale[0]))
        self.net.tensors[self.net.here].zero_point = like.zero_point
        operands = self.rng.choice([(self.net.here, start), (start, self.net.here),
                                    (start, self.net.here, start)])
        self.net.here = operands[0]
        self.steps.append(f"concatenation of {len(operands)}")
        self.net.concatenation(*operands[1:])

    def gate(self):
        """One factor for each channel, computed or constant."""
        start, rng = self.net.here, self.rng
        scale = 0.3 * float(self.net.tensors[start].scale[0])
        zero_point = rng.choice([-128, 0, 127, rng.randint(-128, 127)])
        if rng.random() < 0.3:
            data = self.net.rng.integers(-128, 128, self.net.shape[3:], np.int8)
            self.steps.append("mul by constants")
            self.net.mul(self.net.tensor(data.shape, 0.01, zero_point, data=data), scale=scale)
            return
        self.net.mean(keep=True, scale=scale)
        self.net.conv(self.net.shape[3], (1, 1), scale=0.01, zero_point=zero_point)
        if rng.random() < 0.5:
            self.net.table("LOGISTIC")
        self.steps.append("mul")
        self.net.mul(start, scale=scale, activation=self.activation)

    def mean(self):
        if self.rng.random() < 0.7:    # it would leave one pixel
            self.pool()
            return
        self.steps.append("mean")
        self.net.mean(keep=True, scale=self.rng.choice([None, 0.02]))

    def fused_add(self):
        """An ADD behind a convolution that nothing else reads."""
        if len(self.net.operators) == 0 or self.rng.random() < 0.5:
            self.conv()
        start = self.net.here
        other = float(self.net.tensors[start].scale[0])      # of an addition, the table takes the
        scale = self.rng.choice([None, self.rng.uniform(0.6, 0.95) * other])    # smaller scale
        self.conv(self.net.shape[3], same=True, scale=scale)
        self._add(start)

    def free_add(self):
        """An ADD whose operands both have other readers, or come from a pool."""
        self.conv()
        start = self.net.here
        self.pool(same=True)
        self._add(start)

    def _add(self, other: int):
        activation = self.activation
        if self.rng.random() < 0.5:
            self.net.here, other = other, self.net.here
        self.steps.append(f"add {activation}")
        self.net.add(other, activation=activation)

    def dense(self):
        channels = self.rng.randint(1, 12)
        self.steps.append(f"fully_connected {channels}")
        self.net.reshape().fully_connected(channels, activation=self.activation)
        if self.rng.random() < 0.5:
            self.steps.append("softmax")
            self.net.softmax()
