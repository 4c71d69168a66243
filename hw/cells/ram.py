"""The core's memories, from the RAM blocks of a device or inferred."""

from amaranth import Module, Signal
from amaranth.lib import memory as inferred
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from hw.cells import dp16kd, ice40
from hw.cells.banks import OneReadOneWrite, ReadWritePort
from hw.config import MEMORIES, ConfigError

LATENCY = {"plain": 2, "dp16kd": dp16kd.LATENCY, "ice40": ice40.LATENCY}
# Yosys: no logic for reads of a word that is being written
INFERENCE = {"no_rw_check": 1}


def blocks(memory: str, width: int, depth: int, kind: str, mask: int = 1) -> int:
    """RAM blocks of a memory, exactly as instantiated; 0 for "plain", which infers them.

    Parameters
    ----------
    memory, width, depth, mask
        As for ``Ram1R1W`` and ``RamRW``.
    kind : str
        "1r1w" (DP16KD or SB_RAM40_4K) or "rw" (DP16KD or SB_SPRAM256KA).
    """
    if kind not in ("1r1w", "rw"):
        raise ConfigError(f"kind must be 1r1w or rw, not {kind!r}; choose one of these")
    _check(memory, width, mask)
    if memory == "plain":
        return 0
    vendor = dp16kd if memory == "dp16kd" else ice40
    if kind == "1r1w":
        return vendor.blocks_1r1w(width, depth)
    return vendor.blocks_rw(width, depth, mask)


class Ram1R1W(wiring.Component):
    """Memory with one write port and one read port.

    Parameters
    ----------
    memory : str
        "plain" (inferred), "dp16kd" (ECP5) or "ice40" (EBR).
    width, depth : int
        Bits of a word; words: any number, a multiple of 512, of 256.

    Members
    -------
    w_en : In(1)
    w_addr, r_addr : In(bits that index depth words)
    w_data : In(width)
    r_data : Out(width)

    Behaviour
    ---------
    r_data shows the word at r_addr ``latency`` cycles later, every cycle; undefined where that
    word is written in the cycle of r_addr. Contents are undefined until written.

    Raises
    ------
    ConfigError
        The memory is unknown or the depth is not a whole number of blocks.
    """

    def __init__(self, memory: str, width: int, depth: int):
        _check(memory, width, 1)
        self.memory, self.width, self.depth = memory, width, depth
        self.latency = LATENCY[memory]
        self.blocks = blocks(memory, width, depth, "1r1w")
        super().__init__(OneReadOneWrite(width, depth))

    def elaborate(self, platform):
        """Take the device's RAM blocks, or a memory for the synthesizer to infer."""
        m = Module()
        if self.memory != "plain":
            vendor = dp16kd.Dp16kd1R1W if self.memory == "dp16kd" else ice40.Ebr1R1W
            m.submodules.ram = ram = vendor(self.width, self.depth)
            for name, member in self.signature.members.items():
                inner, outer = getattr(ram, name), getattr(self, name)
                m.d.comb += inner.eq(outer) if member.flow is In else outer.eq(inner)
            return m
        m.submodules.ram = ram = inferred.Memory(shape=self.width, depth=self.depth, init=[],
                                                 attrs=INFERENCE)
        write, read = ram.write_port(), ram.read_port()
        m.d.comb += [write.en.eq(self.w_en), write.addr.eq(self.w_addr),
                     write.data.eq(self.w_data), read.addr.eq(self.r_addr)]
        m.d.sync += self.r_data.eq(read.data)
        return m


class RamRW(wiring.Component):
    """Memory whose one or two ports each read or write a word a cycle.

    Parameters
    ----------
    memory : str
        "plain" (inferred), "dp16kd" (ECP5) or "ice40" (SPRAM, one port).
    width, depth : int
        Bits of a word; words: any number, a multiple of 1024, of 16384.
    ports, mask : int
        Ports, 1 or 2; parts of a word written separately, a divisor of width.

    Members
    -------
    p0, p1 : In({en: Out(1), we: Out(mask), addr: Out, w_data: Out(width), r_data: In(width)})
        p1 only with two ports.

    Behaviour
    ---------
    With en, a port writes the parts of w_data whose bit of we is set (without en, none may be);
    with we = 0 it reads, and r_data shows the word at addr ``latency`` cycles later. Otherwise
    r_data is undefined, as it is where the other port writes the same word. Contents are
    undefined until written.

    Raises
    ------
    ConfigError
        A parameter is out of range, or two ports are wanted of the iCE40.
    """

    def __init__(self, memory: str, width: int, depth: int, ports: int, mask: int = 1):
        _check(memory, width, mask)
        most = 1 if memory == "ice40" else 2
        if not 1 <= ports <= most:
            raise ConfigError(f"ports must be in 1..{most} with memory={memory}, not {ports!r}; "
                              f"set F=1 on the iCE40")
        self.memory, self.width, self.depth = memory, width, depth
        self.ports, self.mask = ports, mask
        self.latency = LATENCY[memory]
        self.blocks = blocks(memory, width, depth, "rw", mask)
        port = ReadWritePort(width, depth, mask)
        super().__init__({f"p{n}": In(port) for n in range(ports)})

    def elaborate(self, platform):
        """Take the device's RAM blocks, or a memory for the synthesizer to infer."""
        m = Module()
        names = [f"p{n}" for n in range(self.ports)]
        if self.memory != "plain":
            m.submodules.ram = ram = (
                dp16kd.Dp16kdRW(self.width, self.depth, self.ports, self.mask)
                if self.memory == "dp16kd" else ice40.Spram(self.width, self.depth, self.mask))
            for name in names:
                wiring.connect(m, wiring.flipped(getattr(self, name)), getattr(ram, name))
            return m
        m.submodules.ram = ram = inferred.Memory(shape=self.width, depth=self.depth, init=[],
                                                 attrs=INFERENCE)
        for name in names:
            port = getattr(self, name)
            write = ram.write_port(granularity=self.width // self.mask)
            read = ram.read_port()
            m.d.comb += [write.en.eq(port.en.replicate(self.mask) & port.we),
                         write.addr.eq(port.addr), write.data.eq(port.w_data),
                         read.addr.eq(port.addr), read.en.eq(port.en & ~port.we.any())]
            out = Signal(self.width, name=f"{name}_out")
            m.d.sync += out.eq(read.data)
            m.d.comb += port.r_data.eq(out)
        return m


def _check(memory: str, width: int, mask: int):
    if memory not in MEMORIES:
        raise ConfigError(f"memory must be one of {', '.join(MEMORIES)}, not {memory!r}; "
                          f"choose one of these")
    if width < 1 or mask < 1 or width % mask:
        raise ConfigError(f"mask must be a divisor of the width {width}, not {mask!r}; "
                          f"write whole bytes, for example")
