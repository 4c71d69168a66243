"""Memories of DP16KD, the 18 kbit block RAM of the ECP5."""

from collections.abc import Iterator

from amaranth import ClockSignal, Const, Instance, Module, Signal
from amaranth.hdl import Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from hw.cells.banks import Chunk, OneReadOneWrite, ReadWritePort, chunks, columns, concat, pick

LATENCY = 2  # array read, then the block's output register
TRUE_DUAL = {1024: 18, 2048: 9, 4096: 4, 8192: 2, 16384: 1}
PSEUDO_DUAL = {512: 36, **TRUE_DUAL}


def blocks_1r1w(width: int, depth: int) -> int:
    """DP16KD that ``Dp16kd1R1W(width, depth)`` instantiates."""
    return sum(len(list(columns(width, c.block_width))) for c in chunks(depth, PSEUDO_DUAL))


def blocks_rw(width: int, depth: int, mask: int = 1) -> int:
    """DP16KD that ``Dp16kdRW(width, depth, ..., mask)`` instantiates."""
    return sum(len(list(_masked_columns(width, mask, c.block_width)))
               for c in chunks(depth, TRUE_DUAL))


class Dp16kd1R1W(wiring.Component):
    """Block RAM with one write and one read port.

    Parameters
    ----------
    width, depth : int
        Bits of a word; words, a multiple of 512.

    Members
    -------
    See ``hw.cells.banks.OneReadOneWrite``.

    Behaviour
    ---------
    r_data shows the word at r_addr LATENCY cycles later; undefined where that word was being
    written. 512 words take the 36-bit pseudo dual port mode, deeper chunks narrower blocks.

    Source
    ------
    Lattice FPGA-TN-02204 (TN1264), "ECP5 and ECP5-5G Memory Usage Guide"; pins of the 36-bit
    mode as in Yosys techlibs/lattice/brams_map_16kd.v.
    """

    def __init__(self, width: int, depth: int):
        self._width = width
        self._chunks = chunks(depth, PSEUDO_DUAL)
        super().__init__(OneReadOneWrite(width, depth))

    def elaborate(self, platform):
        """Chunks of columns of blocks, then the multiplexer among chunks."""
        m = Module()
        words = []
        for i, chunk in enumerate(self._chunks):
            write = Signal(name=f"write{i}")
            m.d.comb += write.eq(self.w_en & chunk.selected(self.w_addr))
            parts = []
            for k, bits in enumerate(columns(self._width, chunk.block_width)):
                part = Signal(bits.stop - bits.start, name=f"part{i}_{k}")
                m.submodules[f"block{i}_{k}"] = self._block(chunk, write, bits, part)
                parts.append(part)
            words.append(concat(*parts))
        m.d.comb += self.r_data.eq(pick(m, self._chunks, self.r_addr, words, LATENCY))
        return m

    def _block(self, chunk: Chunk, write: Value, bits: slice, part: Value) -> Instance:
        data = self.w_data[bits]
        w_pins = _address(chunk, self.w_addr, byte_enables=concat(write.replicate(4)))
        r_pins = _address(chunk, self.r_addr)
        if chunk.block_width == 36:  # writes only where the byte enables are set
            return _cell(36, {**_pins("i_ADA", w_pins), **_pins("i_ADB", r_pins),
                              **_pins("i_DIA", data[:18]), **_pins("i_DIB", data[18:]),
                              **_pins("o_DOA", part[:18]), **_pins("o_DOB", part[18:]),
                              "i_WEA": Const(1), "i_WEB": Const(0)})
        return _cell(chunk.block_width, {**_pins("i_ADA", w_pins), **_pins("i_ADB", r_pins),
                                         **_pins("i_DIA", data), **_pins("o_DOB", part),
                                         "i_WEA": write, "i_WEB": Const(0)})


class Dp16kdRW(wiring.Component):
    """Block RAM with one or two ports that read or write.

    Parameters
    ----------
    width, depth : int
        Bits of a word; words, a multiple of 1024.
    ports, mask : int
        Ports, 1 or 2; separately written parts of a word.

    Members
    -------
    p0, p1 : In(ReadWritePort(width, depth, mask))

    Behaviour
    ---------
    A port writes where bits of ``we`` are set, which imply ``en``, else r_data shows the word at
    addr LATENCY cycles later. Both ports at one address, one of them writing: undefined.

    Source
    ------
    Lattice FPGA-TN-02204 (TN1264), "ECP5 and ECP5-5G Memory Usage Guide".
    """

    def __init__(self, width: int, depth: int, ports: int, mask: int = 1):
        self._width, self._mask = width, mask
        self._chunks = chunks(depth, TRUE_DUAL)
        port = ReadWritePort(width, depth, mask)
        super().__init__({f"p{n}": In(port) for n in range(ports)})

    def elaborate(self, platform):
        """Chunks of columns of blocks, then a multiplexer among chunks for each port."""
        m = Module()
        ports = [getattr(self, name) for name in self.signature.members]
        words: list[list[Value]] = [[] for _ in ports]
        for i, chunk in enumerate(self._chunks):
            parts: list[list[Value]] = [[] for _ in ports]
            for k, (bits, enables) in enumerate(
                    _masked_columns(self._width, self._mask, chunk.block_width)):
                pins = {}
                for side, port, found in zip("AB", ports, parts, strict=False):
                    part = Signal(bits.stop - bits.start, name=f"part{i}_{k}_{side}")
                    pins |= _port_pins(side, chunk, port, bits, enables, part)
                    found.append(part)
                m.submodules[f"block{i}_{k}"] = _cell(chunk.block_width, pins)
            for word, found in zip(words, parts, strict=True):
                word.append(concat(*found))
        for port, word in zip(ports, words, strict=True):
            m.d.comb += port.r_data.eq(pick(m, self._chunks, port.addr, word, LATENCY))
        return m


def _port_pins(side: str, chunk: Chunk, port, bits: slice, enables: tuple[int, ...],
               part: Value) -> dict:
    """Pins of port A or B: ``enables`` are the bits of ``we`` of the block's one or two bytes."""
    on = chunk.selected(port.addr)
    byte_enables = concat(*(port.we[n] for n in enables))
    if len(enables) == 1:
        byte_enables = Const(3, 2)
        on &= port.we[enables[0]]
        data = port.w_data[bits]
        read = part
    else:  # two parts of at most 9 bits, each in its own byte
        step = (bits.stop - bits.start) // 2
        gap = Const(0, 9 - step)
        data = concat(port.w_data[bits][:step], gap, port.w_data[bits][step:], gap)
        read = [*part[:step], *[None] * (9 - step), *part[step:]]
        on &= byte_enables.any()
    return {**_pins(f"i_AD{side}", _address(chunk, port.addr, byte_enables)),
            **_pins(f"i_DI{side}", data), **_pins(f"o_DO{side}", read), f"i_WE{side}": on}


def _masked_columns(width: int, mask: int, block_width: int) \
        -> Iterator[tuple[slice, tuple[int, ...]]]:
    """Bits of each block of a row, and the bits of ``we`` that write them."""
    step = width // mask
    if mask > 1 and block_width == 18 and step <= 9:
        for n in range(0, mask - 1, 2):
            yield slice(n * step, (n + 2) * step), (n, n + 1)
        if mask % 2:
            yield slice((mask - 1) * step, width), (mask - 1,)
        return
    for n in range(mask):
        for bits in columns(step, block_width):
            yield slice(n * step + bits.start, n * step + bits.stop), (n,)


def _address(chunk: Chunk, addr: Value, byte_enables: Value | None = None) -> Value:
    """The 14 address pins: the address is at the top, byte enables of wide modes at pin 0."""
    unused = 14 - chunk.addr_bits
    low: Value = Const(0, unused)
    if byte_enables is not None and chunk.block_width >= 18:
        used = chunk.block_width // 9
        low = concat(byte_enables[:used], Const(0, unused - used))
    return concat(low, addr[:chunk.addr_bits])


def _pins(prefix: str, bits) -> dict:
    """One entry a pin: ``prefix``0, 1 ...; None leaves a pin open."""
    return {f"{prefix}{n}": bit for n, bit in enumerate(bits) if bit is not None}


def _cell(width: int, pins: dict) -> Instance:
    """A DP16KD of that width on both ports, everything else tied off."""
    pins = {**{f"i_AD{s}{n}": Const(0) for s in "AB" for n in range(14)},
            **{f"i_DI{s}{n}": Const(0) for s in "AB" for n in range(18)},
            **{f"i_CS{s}{n}": Const(0) for s in "AB" for n in range(3)},
            **{f"i_WE{s}": Const(0) for s in "AB"}, **pins}
    for side in "AB":
        pins |= {f"i_CLK{side}": ClockSignal(), f"i_CE{side}": Const(1),
                 f"i_OCE{side}": Const(1), f"i_RST{side}": Const(0),
                 f"p_DATA_WIDTH_{side}": width, f"p_REGMODE_{side}": "OUTREG",
                 f"p_WRITEMODE_{side}": "NORMAL", f"p_CSDECODE_{side}": "0b000",
                 f"p_CLK{side}MUX": f"CLK{side}"}
    return Instance("DP16KD", p_RESETMODE="SYNC", p_ASYNC_RESET_RELEASE="SYNC",
                    p_GSR="DISABLED", **pins)
