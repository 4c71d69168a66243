"""Run a compiled network on the simulated core and keep everything that it wrote."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gen.cycles import STORE, descriptors
from gen.image import LayerInfo, Placement, Program, pack_input, unpack_tensor
from gen.store import Store
from hw.config import CoreConfig, align_up, slot_bytes
from hw.layout import COUNTER_WORDS, COUNTERS, DESCRIPTOR_WORDS, REGISTERS, Opcode, Space
from sim.device import Device, DeviceError, Watch

PROGRAM_REGISTER = next(offset for name, offset, *_ in REGISTERS if name == "PROGRAM")
SLACK_CYCLES = 1_000_000
SLACK_FACTOR = 100  # a run that takes this many times its lower bound is given up
LANE_ROWS = [name for name, _ in COUNTERS].index("busy")
STALLS = ("load", "page", "feed", "drain")


@dataclass(frozen=True, kw_only=True)
class LayerRun:
    """What the core measured on one layer and wrote at its end.

    Parameters
    ----------
    cycles : int
        Of all its descriptors, loads of constants included.
    stalls : dict of str to int
        Cycles of the busiest causes: "load" (constants copied), "page" (constants had not come
        from the backing store), "feed" (no patch), "drain" (psums waited).
    lane_rows : int
        Weight rows that lanes took, each of them C multiplications.
    output : numpy.ndarray
        int8, in the shape of the layer's placement: without folded channels.
    """

    cycles: int
    stalls: dict[str, int]
    lane_rows: int
    output: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Inference:
    """One run of a network.

    Parameters
    ----------
    cycles : int
        The core's own count from start to done; the sum of its layers' cycles.
    layers : tuple of LayerRun
        In the order of ``Program.layers``.
    output : numpy.ndarray
        The last tensor that the core computes, read over the host port afterwards.
    """

    cycles: int
    layers: tuple[LayerRun, ...]
    output: np.ndarray


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
        for section in program.sections:
            if section.space == Space.STORE:
                continue
            self.device.write(Space(section.space), section.offset, to_words(section.data))
        self.device.write(Space.REGS, PROGRAM_REGISTER, [program.program_line])
        self.device.watch(self._watch(layer) for layer in program.layers)
        self.opcodes = opcodes(program)
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
        line, data = pack_input(self.program, x)
        self.device.write(Space.ACT, self._word(line), to_words(data))
        run = self.device.run(self.limit)
        counters = self._counters()
        layers, end = [], 0
        for number, layer in enumerate(self.program.layers):
            if number not in run.snapshots:
                raise DeviceError(f"the core must end {layer.name}, not leave its counters "
                                  f"unwritten; this is a bug of the core")
            last = layer.first + layer.count - 1
            begin, end = end, int(counters[last][0])
            if number == len(self.program.layers) - 1:
                end = run.cycles
            layers.append(LayerRun(
                cycles=end - begin, stalls=self._stalls(layer, counters),
                lane_rows=int(counters[layer.first:last + 1, LANE_ROWS].sum()),
                output=unpack_tensor(layer.output, run.snapshots[number])))
        return Inference(cycles=run.cycles, layers=tuple(layers),
                         output=self._read(self.program.output))

    def _word(self, line: int) -> int:
        """Word offset of a line in the activation memory's space."""
        return line * self.config.V // 4

    def _watch(self, layer: LayerInfo) -> Watch:
        counters = counter_line(self.program, layer.first + layer.count - 1)
        lines = align_up(4 * COUNTER_WORDS, self.config.V) // self.config.V
        return Watch(trigger=counters + lines - 1, first=layer.output.line,
                     lines=-(-layer.output.size // self.config.V))

    def _counters(self) -> np.ndarray:
        """Counters of every descriptor: [descriptors, COUNTER_WORDS]."""
        return np.array([
            self.device.read(Space.ACT, self._word(counter_line(self.program, index)),
                             COUNTER_WORDS)
            for index in range(self.program.descriptors)], np.int64)

    def _stalls(self, layer: LayerInfo, counters: np.ndarray) -> dict[str, int]:
        names = [name for name, _ in COUNTERS]
        mine = range(layer.first, layer.first + layer.count)
        starts = np.concatenate(([0], counters[:-1, 0]))
        whole = {name: sum(int(counters[i][0] - starts[i]) for i in mine if self.opcodes[i] == op)
                 for name, op in (("load", Opcode.LOAD), ("page", Opcode.WAIT))}
        return whole | {name: sum(int(counters[i][names.index(name)]) for i in mine)
                        for name in STALLS if name not in whole}

    def _read(self, place: Placement) -> np.ndarray:
        words = align_up(place.size, 4) // 4
        data = self.device.read(Space.ACT, self._word(place.line), words)
        return unpack_tensor(place, data.astype("<u4").tobytes())


def to_words(data: bytes) -> np.ndarray:
    """Bytes as little-endian words, the last one padded with zeros."""
    return np.frombuffer(data.ljust(align_up(len(data), 4), b"\0"), "<u4")


def slot_line(program: Program, index: int) -> int:
    """First line of a descriptor's slot."""
    config: CoreConfig = program.core_config
    header = align_up(16, config.V)
    return program.program_line + (header + index * slot_bytes(config)) // config.V


def counter_line(program: Program, index: int) -> int:
    """First line of the counters behind a descriptor."""
    config: CoreConfig = program.core_config
    return slot_line(program, index) + align_up(4 * DESCRIPTOR_WORDS, config.V) // config.V


def opcodes(program: Program) -> list[Opcode]:
    """Opcode of every descriptor, from the program's own bytes."""
    return [Opcode(d["op"]) for d in descriptors(program)]
