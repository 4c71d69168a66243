"""Memories of the iCE40 UltraPlus: 4 kbit SB_RAM40_4K and 256 kbit SB_SPRAM256KA."""

from amaranth import ClockSignal, Const, Instance, Module, Signal
from amaranth.hdl import Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from hw.cells.banks import Chunk, OneReadOneWrite, ReadWritePort, chunks, columns, concat, pick
from hw.config import ConfigError

LATENCY = 1
EBR = {256: 16, 512: 8, 1024: 4, 2048: 2}
EBR_MODE = {16: 0, 8: 1, 4: 2, 2: 3}
EBR_PINS = {16: range(16), 8: range(0, 16, 2), 4: range(1, 16, 4), 2: range(3, 16, 8)}
SPRAM = {16384: 16}


def blocks_1r1w(width: int, depth: int) -> int:
    """SB_RAM40_4K that ``Ebr1R1W(width, depth)`` instantiates."""
    return sum(len(list(columns(width, c.block_width))) for c in chunks(depth, EBR))


def blocks_rw(width: int, depth: int, mask: int = 1) -> int:
    """SB_SPRAM256KA that ``Spram(width, depth, mask)`` instantiates."""
    if mask > 1 and width // mask % 4:
        raise ConfigError(f"mask must be a number of parts of 4, 8 ... bits, not {mask!r}; "
                          f"SPRAM writes whole nibbles of its {width}-bit words")
    return len(chunks(depth, SPRAM)) * len(list(columns(width, 16)))


class Ebr1R1W(wiring.Component):
    """Block RAM with one write and one read port.

    Parameters
    ----------
    width, depth : int
        Bits of a word; words, a multiple of 256.

    Members
    -------
    See ``hw.cells.banks.OneReadOneWrite``.

    Behaviour
    ---------
    r_data shows the word at r_addr LATENCY cycles later; undefined where that word was being
    written. Chunks of 512, 1024 and 2048 words take the 8, 4 and 2 bit modes of the block.

    Source
    ------
    Lattice FPGA-TN-02002, "Memory Usage Guide for iCE40 Devices"; data pins of the narrow
    modes as in Yosys techlibs/ice40/brams_map.v.
    """

    def __init__(self, width: int, depth: int):
        self._width = width
        self._chunks = chunks(depth, EBR)
        super().__init__(OneReadOneWrite(width, depth))

    def elaborate(self, platform):
        """Chunks of columns of blocks, then the multiplexer among chunks."""
        m = Module()
        words = []
        for i, chunk in enumerate(self._chunks):
            write = Signal(name=f"write{i}")
            m.d.comb += write.eq(self.w_en & chunk.selected(self.w_addr))
            read = Signal(self._width, name=f"read{i}")
            for k, bits in enumerate(columns(self._width, chunk.block_width)):
                m.submodules[f"block{i}_{k}"] = self._block(m, chunk, write, bits, read[bits])
            words.append(read)
        m.d.comb += self.r_data.eq(pick(m, self._chunks, self.r_addr, words, LATENCY))
        return m

    def _block(self, m: Module, chunk: Chunk, write: Value, bits: slice, read) -> Instance:
        w_pins, r_pins = Signal(16), Signal(16)
        pins = EBR_PINS[chunk.block_width]
        for pin, w_bit, r_bit in zip(pins, self.w_data[bits], read, strict=False):
            m.d.comb += [w_pins[pin].eq(w_bit), r_bit.eq(r_pins[pin])]
        mode = EBR_MODE[chunk.block_width]
        zeros = Const(0, 11 - chunk.addr_bits)
        return Instance(
            "SB_RAM40_4K", p_READ_MODE=mode, p_WRITE_MODE=mode,
            i_RCLK=ClockSignal(), i_RCLKE=Const(1), i_RE=Const(1),
            i_RADDR=concat(self.r_addr[:chunk.addr_bits], zeros), o_RDATA=r_pins,
            i_WCLK=ClockSignal(), i_WCLKE=write, i_WE=Const(1),
            i_WADDR=concat(self.w_addr[:chunk.addr_bits], zeros), i_WDATA=w_pins,
            i_MASK=Const(0, 16))


class Spram(wiring.Component):
    """Single-port RAM; cannot be initialised.

    Parameters
    ----------
    width, depth : int
        Bits of a word; words, a multiple of 16384.
    mask : int
        Separately written parts of a word, of a multiple of 4 bits each; 1 for any width.

    Members
    -------
    p0 : In(ReadWritePort(width, depth, mask))

    Behaviour
    ---------
    Writes where ``en`` and bits of ``we`` are set, else r_data shows the word at addr LATENCY
    cycles after ``en``.

    Source
    ------
    Lattice FPGA-TN-02022, "iCE40 SPRAM Usage Guide".
    """

    def __init__(self, width: int, depth: int, mask: int = 1):
        self._width, self._mask = width, mask
        self._chunks = chunks(depth, SPRAM)
        super().__init__({"p0": In(ReadWritePort(width, depth, mask))})

    def elaborate(self, platform):
        """Chunks of columns of blocks, then the multiplexer among chunks."""
        m = Module()
        port = self.p0
        if self._mask == 1:
            nibbles = Const(-1, -(-self._width // 4))
        else:
            step = self._width // self._mask // 4
            nibbles = concat(*(bit.replicate(step) for bit in port.we))
        words = []
        for i, chunk in enumerate(self._chunks):
            read = Signal(self._width, name=f"read{i}")
            for k, bits in enumerate(columns(self._width, 16)):
                out = Signal(16, name=f"out{i}_{k}")
                m.submodules[f"block{i}_{k}"] = Instance(
                    "SB_SPRAM256KA", i_CLOCK=ClockSignal(), i_ADDRESS=port.addr[:14],
                    i_CHIPSELECT=port.en & chunk.selected(port.addr), i_WREN=port.we.any(),
                    i_MASKWREN=_padded(nibbles[4 * k:4 * k + 4], 4),
                    i_DATAIN=_padded(port.w_data[bits], 16), o_DATAOUT=out,
                    i_STANDBY=Const(0), i_SLEEP=Const(0), i_POWEROFF=Const(1))
                m.d.comb += read[bits].eq(out)
            words.append(read)
        m.d.comb += port.r_data.eq(pick(m, self._chunks, port.addr, words, LATENCY))
        return m


def _padded(bits, width: int) -> Value:
    return concat(bits, Const(0, width - len(bits)))
