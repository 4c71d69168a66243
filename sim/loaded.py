"""A program in the memories of a core, whatever leads there: simulator or host link."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from gen.cycles import descriptors
from gen.image import LayerInfo, Placement, Program, pack_input
from hw.config import CoreConfig, align_up, slot_bytes
from hw.layout import (
    COUNTER_WORDS,
    COUNTERS,
    DESCRIPTOR_WORDS,
    HEADER_WORDS,
    REGISTERS,
    Opcode,
    Space,
)

REGISTER = {name: offset for name, offset, *_ in REGISTERS}
LANE_ROWS = [name for name, _ in COUNTERS].index("busy")
STALLS = ("load", "page", "feed", "drain")


class Memory(Protocol):
    """The host port of a core, by words from a word offset of a space on."""

    def write(self, space: Space, offset: int, words: Sequence[int] | np.ndarray) -> None:
        """Write 32-bit words."""
        ...

    def read(self, space: Space, offset: int, count: int) -> np.ndarray:
        """Return 32-bit words."""
        ...


@dataclass(frozen=True, kw_only=True)
class LayerCount:
    """What the core measured on one layer.

    Parameters
    ----------
    cycles : int
        Of all its descriptors, loads of constants included.
    stalls : dict of str to int
        Cycles of the busiest causes: "load" (constants copied), "page" (constants had not come
        from the backing store), "feed" (no patch), "drain" (psums waited).
    lane_rows : int
        Weight rows that lanes took, each of them C multiplications.
    """

    cycles: int
    stalls: dict[str, int]
    lane_rows: int


def writes(program: Program) -> list[tuple[Space, int, np.ndarray]]:
    """Space, word offset and words of all that loading a program writes."""
    sections = [(Space(section.space), section.offset, to_words(section.data))
                for section in program.sections if section.space != Space.STORE]
    line = np.array([program.program_line], np.uint32)
    return [*sections, (Space.REGS, REGISTER["PROGRAM"], line)]


def write_input(memory: Memory, program: Program, x: np.ndarray) -> None:
    """Write the network's input.

    Raises
    ------
    ModelError
        The input has another type or shape.
    """
    line, data = pack_input(program, x)
    memory.write(Space.ACT, word_offset(program, line), to_words(data))


def read_tensor(memory: Memory, program: Program, place: Placement) -> np.ndarray:
    """A tensor from the activation memory, int8 in its placement's shape."""
    return unpack_words(place, memory.read(Space.ACT, word_offset(program, place.line),
                                           tensor_words(place)))


def tensor_words(place: Placement) -> int:
    """Words that hold a tensor."""
    return align_up(place.size, 4) // 4


def unpack_words(place: Placement, words: np.ndarray) -> np.ndarray:
    """A tensor from its words, int8 in its placement's shape."""
    return place.unpack(words.astype("<u4").tobytes())


def read_counters(memory: Memory, program: Program) -> np.ndarray:
    """Counters of every descriptor: [descriptors, COUNTER_WORDS]."""
    return np.array([
        memory.read(Space.ACT, word_offset(program, counter_line(program, index)), COUNTER_WORDS)
        for index in range(program.descriptors)], np.int64)


def layer_counts(program: Program, kinds: list[Opcode], counters: np.ndarray,
                 cycles: int) -> list[LayerCount]:
    """What the counters of a run of so many cycles say about each layer; together all cycles.

    ``kinds``: the program's `opcodes`.
    """
    counts, end = [], 0
    for number, layer in enumerate(program.layers):
        last = layer.first + layer.count - 1
        begin, end = end, int(counters[last][0])
        if number == len(program.layers) - 1:
            end = cycles
        counts.append(LayerCount(
            cycles=end - begin, stalls=_stalls(kinds, layer, counters),
            lane_rows=int(counters[layer.first:last + 1, LANE_ROWS].sum())))
    return counts


def _stalls(kinds: list[Opcode], layer: LayerInfo, counters: np.ndarray) -> dict[str, int]:
    names = [name for name, _ in COUNTERS]
    mine = range(layer.first, layer.first + layer.count)
    starts = np.concatenate(([0], counters[:-1, 0]))
    whole = {name: sum(int(counters[i][0] - starts[i]) for i in mine if kinds[i] == op)
             for name, op in (("load", Opcode.LOAD), ("page", Opcode.WAIT))}
    return whole | {name: sum(int(counters[i][names.index(name)]) for i in mine)
                    for name in STALLS if name not in whole}


def word_offset(program: Program, line: int) -> int:
    """Word offset of a line in the activation memory's space."""
    return line * program.core_config.V // 4


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


def identity(program: Program) -> list[tuple[int, np.ndarray]]:
    """What tells programs apart: word offsets and words of the header, and of a CRC-32 behind END.

    The header has the number of descriptors, so it says where the CRC-32 of what is there lies.
    """
    image = next(section for section in program.sections if section.space == Space.ACT)
    words = to_words(image.data)
    places = ((word_offset(program, program.program_line), HEADER_WORDS),
              (word_offset(program, counter_line(program, program.descriptors)), 1))
    return [(place, words[place - image.offset:][:count]) for place, count in places]


def opcodes(program: Program) -> list[Opcode]:
    """Opcode of every descriptor, from the program's own bytes."""
    return [Opcode(d["op"]) for d in descriptors(program)]
