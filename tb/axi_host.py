"""A host with AXI ports for cocotb: models of cocotbext-axi, and a monitor of handshakes."""

import logging
import random
import struct

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, FallingEdge, with_timeout
from cocotbext.axi import (
    AxiLiteBus,
    AxiLiteMaster,
    AxiResp,
    AxiStreamBus,
    AxiStreamFrame,
    AxiStreamSink,
    AxiStreamSource,
)

from gen.image import Program
from hw.axi.core import INPUT, LITE, OUTPUT, PAGES
from hw.axi.layout import CONTROL as CONTROL_LAYOUT
from hw.axi.layout import CONTROL_DOCS, STATUS, STREAM_REGISTERS, bit_positions
from hw.config import CoreConfig
from hw.layout import REGISTERS, Space

REGISTER = {name: 4 * number for name, number, *_ in (*REGISTERS, *STREAM_REGISTERS)}
CONTROL, STATUS_BITS = ({name: 1 << bit for name, bit in bit_positions(layout).items()}
                        for layout in (CONTROL_LAYOUT, STATUS))
CHANNELS = {"b": ("bresp",), "r": ("rdata", "rresp")}
LONGEST = (200, "us")     # of any wait


class AxiHost:
    """Software and DMA of a SoC around the device under test.

    Parameters
    ----------
    dut
        An `AxiCore`.
    config : CoreConfig
    pause : float
        Share of the cycles in which each channel pauses, on both sides.
    """

    def __init__(self, dut, config: CoreConfig, pause: float):
        self.dut, self.config = dut, config
        reset = {"reset": dut.aresetn, "reset_active_level": False}
        self.lite = AxiLiteMaster(AxiLiteBus.from_prefix(dut, LITE), dut.aclk, **reset)
        self.source = AxiStreamSource(AxiStreamBus.from_prefix(dut, INPUT), dut.aclk, **reset)
        self.sink = AxiStreamSink(AxiStreamBus.from_prefix(dut, OUTPUT), dut.aclk, **reset)
        self.streams = [self.source, self.sink]
        if config.pages:
            self.pages = AxiStreamSource(AxiStreamBus.from_prefix(dut, PAGES), dut.aclk, **reset)
            self.streams.append(self.pages)
        writes, reads = self.lite.write_if, self.lite.read_if
        self.aw, self.w, self.b = writes.aw_channel, writes.w_channel, writes.b_channel
        self.channels = [self.aw, self.w, self.b, reads.ar_channel, reads.r_channel, *self.streams]
        for channel in (self.lite.write_if, self.lite.read_if, *self.channels):
            channel.log.setLevel(logging.ERROR)
        self.share = pause
        self.pause(pause)

    def pause(self, share: float):
        """Choose in which share of the cycles each channel pauses."""
        for number, channel in enumerate(self.channels):
            rng = random.Random(number)
            channel.set_pause_generator(
                (rng.random() < share for _ in iter(int, 1)) if share else None)
            channel.pause = False

    async def start(self):
        """Clock, reset, monitors."""
        cocotb.start_soon(Clock(self.dut.aclk, 10, "ns").start())
        await self.reset()
        for name, fields in CHANNELS.items():
            cocotb.start_soon(self._monitor(f"{LITE}_{name}", fields))
        cocotb.start_soon(self._monitor(f"{OUTPUT}_t", ("tdata", "tkeep", "tlast"), OUTPUT))

    async def reset(self, cycles: int = 3):
        self.dut.aresetn.value = 0
        await ClockCycles(self.dut.aclk, cycles)
        for stream in self.streams:
            stream.clear()
        self.dut.aresetn.value = 1
        await ClockCycles(self.dut.aclk, 2)

    async def _monitor(self, prefix: str, fields: tuple[str, ...], interface: str = LITE):
        """What is offered stays as it is until it is taken."""
        dut, offered = self.dut, None
        valid, ready, reset = (getattr(dut, name) for name in (
            f"{prefix}valid", f"{prefix}ready", "aresetn"))
        pins = [getattr(dut, f"{interface}_{field}") for field in fields]
        while True:
            await FallingEdge(dut.aclk)
            now = [int(pin.value) for pin in pins] if valid.value else None
            assert offered is None or now == offered, f"{prefix}: {offered} became {now}"
            offered = now if reset.value and not ready.value else None

    def address(self, space: Space, word: int) -> int:
        return 4 * (space << self.config.space_bits | word)

    async def write(self, space: Space, word: int, data: bytes) -> bool:
        """Write bytes from a word of a space on; whether all were OKAY."""
        return await self.write_at(self.address(space, word), data)

    async def write_at(self, address: int, data: bytes) -> bool:
        done = await with_timeout(self.lite.write(address, data), *LONGEST)
        return done.resp == AxiResp.OKAY

    async def write_nothing(self, address: int) -> bool:
        """A write without any strobe, which the model's own commands do not make."""
        await self.aw.send(self.aw._transaction_obj(awaddr=address, awprot=0))
        await self.w.send(self.w._transaction_obj(wdata=0xAAAAAAAA, wstrb=0))
        return (await with_timeout(self.b.recv(), *LONGEST)).bresp == AxiResp.OKAY

    async def read(self, space: Space, word: int, count: int) -> bytes:
        """Words of a space, which must be OKAY."""
        done = await with_timeout(self.lite.read(self.address(space, word), 4 * count), *LONGEST)
        assert done.resp == AxiResp.OKAY, (space, word)
        return done.data

    async def readable(self, space: Space, word: int) -> bool:
        done = await with_timeout(self.lite.read(self.address(space, word), 4), *LONGEST)
        return done.resp == AxiResp.OKAY

    async def get(self, name: str) -> int:
        """Value of a register."""
        return struct.unpack("<I", await self.read(Space.REGS, REGISTER[name] // 4, 1))[0]

    async def put(self, **registers: int):
        for name, value in registers.items():
            assert await self.write_at(REGISTER[name], struct.pack("<I", value)), name

    async def status(self) -> set[str]:
        """Bits of STREAM_STATUS that are set."""
        value = await self.get("STREAM_STATUS")
        return {name for name, bit in STATUS_BITS.items() if value & bit}

    async def clear(self, *names: str):
        await self.put(STREAM_STATUS=sum(STATUS_BITS[name] for name in names))

    async def control(self, *names: str):
        """Set STREAM_CONTROL."""
        assert set(names) <= set(CONTROL_DOCS)
        await self.put(STREAM_CONTROL=sum(CONTROL[name] for name in names))

    async def send(self, data: bytes, keep: list[int] | None = None):
        """Queue a frame; a last word with fewer bytes is padded, its TKEEP says so."""
        await self.source.send(AxiStreamFrame(data, tkeep=keep))

    async def sent(self):
        await with_timeout(self.source.wait(), *LONGEST)

    async def receive(self) -> bytes:
        """The next output; TKEEP leaves out what does not belong to it."""
        return bytes((await with_timeout(self.sink.recv(), *LONGEST)).tdata)

    async def until(self, *names: str):
        """Poll STREAM_STATUS until one of these bits is set."""
        for _ in range(2000):
            if await self.status() & set(names):
                return
        raise AssertionError(f"none of {names} was set")

    async def load(self, program: Program):
        """Write a program's sections, without pauses."""
        self.pause(0)
        for section in program.sections:
            if section.space != Space.STORE:
                data = section.data + bytes(-len(section.data) % 4)
                assert await self.write(Space(section.space), section.offset, data)
        self.pause(self.share)

    async def arm(self, program: Program):
        """Say where a program and its tensors lie, and let the streams run it."""
        await self.put(PROGRAM=program.program_line,
                       IN_LINE=program.input.line, IN_BYTES=program.input.size,
                       OUT_LINE=program.output.line, OUT_BYTES=program.output.size)
        await self.control("receive", "start", "send")
