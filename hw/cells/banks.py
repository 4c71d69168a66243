"""Deep memories from RAM blocks: depth split in power-of-two chunks, width in columns."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from amaranth import Cat, Module, Mux, Signal
from amaranth.hdl import Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.config import ConfigError, bits_for


class OneReadOneWrite(wiring.Signature):
    """Members of a memory with one write and one read port.

    Parameters
    ----------
    width, depth : int
        Bits of a word, words.
    """

    def __init__(self, width: int, depth: int):
        addr = bits_for(depth)
        super().__init__({"w_en": In(1), "w_addr": In(addr), "w_data": In(width),
                          "r_addr": In(addr), "r_data": Out(width)})


class ReadWritePort(wiring.Signature):
    """Members of one port that reads or writes, seen from the memory as ``In``.

    Parameters
    ----------
    width, depth, mask : int
        Bits of a word, words, separately written parts of a word.
    """

    def __init__(self, width: int, depth: int, mask: int):
        super().__init__({"en": Out(1), "we": Out(mask), "addr": Out(bits_for(depth)),
                          "w_data": Out(width), "r_data": In(width)})


@dataclass(frozen=True)
class Chunk:
    """Words ``base .. base + depth - 1``, in blocks of ``depth`` words of ``block_width`` bits."""

    base: int
    depth: int
    block_width: int

    @property
    def addr_bits(self) -> int:
        """Bits of an address within the chunk."""
        return self.depth.bit_length() - 1

    def selected(self, addr: Value) -> Value:
        """Whether ``addr`` is one of the chunk's words."""
        return Value.cast(addr[self.addr_bits:] == self.base >> self.addr_bits)


def chunks(depth: int, widths: Mapping[int, int]) -> tuple[Chunk, ...]:
    """Split ``depth`` greedily; ``widths`` maps the depths a block can have to its width."""
    smallest = min(widths)
    if depth < smallest or depth % smallest:
        raise ConfigError(f"depth must be a multiple of {smallest}, not {depth!r}; "
                          f"round it to whole RAM blocks")
    found = []
    base = 0
    for size in sorted(widths, reverse=True):
        while depth - base >= size:
            found.append(Chunk(base, size, widths[size]))
            base += size
    return tuple(found)


def concat(*bits) -> Value:
    """``Cat`` of values, which is a value."""
    return Value.cast(Cat(*bits))


def columns(width: int, block_width: int) -> Iterator[slice]:
    """Bits of a word that each block of a row holds."""
    for low in range(0, width, block_width):
        yield slice(low, min(low + block_width, width))


def pick(m: Module, parts: Sequence[Chunk], addr: Value, words: Sequence[Value],
         latency: int) -> Value:
    """The word that ``addr`` selected ``latency`` cycles ago, by a tree of multiplexers."""
    if len(words) == 1:
        return words[0]
    half = len(words) // 2
    choice: Value = addr >= parts[half].base
    for _ in range(latency):
        delayed = Signal()
        m.d.sync += delayed.eq(choice)
        choice = delayed
    return Mux(choice, pick(m, parts[half:], addr, words[half:], latency),
               pick(m, parts[:half], addr, words[:half], latency))
