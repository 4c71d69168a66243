"""Run a compiled network on the simulated core and keep everything that it wrote."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gen.cycles import STORE
from gen.image import LayerInfo, Program
from gen.store import Store
from hw.config import align_up
from hw.layout import COUNTER_WORDS, Space
from sim.device import Device, DeviceError, Run, Watch
from sim.loaded import (
    LayerCount,
    counter_line,
    layer_counts,
    opcodes,
    read_counters,
    read_tensor,
    word_offset,
    write_input,
    writes,
)

SLACK_CYCLES = 1_000_000
SLACK_FACTOR = 100  # a run that takes this many times its lower bound is given up


@dataclass(frozen=True, kw_only=True)
class LayerRun(LayerCount):
    """What the core measured on one layer and wrote at its end.

    Parameters
    ----------
    output : numpy.ndarray
        int8, in the shape of the layer's placement: without folded channels.
    """

    output: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One run of a network, as a host sees it.

    Parameters
    ----------
    cycles : int
        The core's own count from start to done; the sum of its layers' cycles.
    layers : tuple of LayerCount
        In the order of ``Program.layers``; empty if nobody asked.
    output : numpy.ndarray
        The last tensor that the core computes, read over the host port afterwards.
    """

    cycles: int
    layers: tuple[LayerCount, ...]
    output: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Inference(Measured):
    """With what every layer wrote: ``layers`` are `LayerRun`."""

    layers: tuple[LayerRun, ...]


class Session:
    """A core that holds a program; use it in a ``with`` statement.

    Parameters
    ----------
    program : Program
    binary : Path
        What ``sim.verilated.build`` returned for the program's configuration.
    trace : Path, optional
        Waveforms of the first inference.
    store : Store
        How fast the backing store is.
    """

    def __init__(self, program: Program, binary: Path, trace: Path | None = None,
                 store: Store = STORE):
        self.program, self.config = program, program.core_config
        self.device = Device(binary, trace)
        self.device.pages(store, program.stream)
        for space, offset, words in writes(program):
            self.device.write(space, offset, words)
        self.device.watch(self._watch(layer) for layer in program.layers)
        self._opcodes = opcodes(program)
        self.limit = (SLACK_CYCLES + SLACK_FACTOR * sum(layer.rows for layer in program.layers)
                      + store.latency + int(2 * len(program.stream) / store.rate))

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.device.close()

    def infer(self, x: np.ndarray) -> Inference:
        """Run the network on one input.

        Raises
        ------
        ModelError
            The input has another type or shape.
        DeviceError
            The core refused it, stopped with an error or did not finish.
        """
        run = self.run(x)
        counters = read_counters(self.device, self.program)
        layers = []
        for number, (layer, count) in enumerate(zip(
                self.program.layers,
                layer_counts(self.program, self._opcodes, counters, run.cycles), strict=True)):
            if number not in run.snapshots:
                raise DeviceError(f"the core must end {layer.name}, not leave its counters "
                                  f"unwritten; this is a bug of the core")
            output = layer.output.unpack(run.snapshots[number])
            layers.append(LayerRun(**vars(count), output=output))
        return Inference(cycles=run.cycles, layers=tuple(layers),
                         output=read_tensor(self.device, self.program, self.program.output))

    def run(self, x: np.ndarray) -> Run:
        """Run the network on one input; raises what `infer` does."""
        write_input(self.device, self.program, x)
        return self.device.run(self.limit)

    def remains(self) -> bytes:
        """What the host finds after a run: counters, and the lines of all tensors, now as before.

        Layers whose lines others took over are there as far as these left them.
        """
        places = {place.line: place.size for place in sorted(
            (layer.output for layer in self.program.layers), key=lambda place: place.size)}
        words = [self.device.read(Space.ACT, word_offset(self.program, line),
                                  align_up(size, 4) // 4) for line, size in sorted(places.items())]
        counters = read_counters(self.device, self.program).ravel()
        return np.concatenate([counters, *words]).astype("<u4").tobytes()

    def _watch(self, layer: LayerInfo) -> Watch:
        counters = counter_line(self.program, layer.first + layer.count - 1)
        lines = align_up(4 * COUNTER_WORDS, self.config.V) // self.config.V
        return Watch(trigger=counters + lines - 1, first=layer.output.line,
                     lines=-(-layer.output.size // self.config.V))
