"""A network through the bus of a LiteX SoC: the UART is the bus master, the core a slave."""

import struct
from dataclasses import replace

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, Timer, with_timeout
from cocotbext.uart import UartSink, UartSource

from gen.compile import compile_model
from gen.image import Program, pack_input
from gen.targets import PRESETS
from hw.config import CoreConfig
from hw.layout import MAGIC, REGISTERS, Space
from models.tflite_reader import parse
from models.zoo import random_inputs
from sim import golden
from tb.bench import parameters
from tb.tflite_builder import Net

WRITE, READ = 1, 2              # commands of UARTBone
MOST_WORDS = 255                # of a command
REGISTER = {name: number for name, number, *_ in REGISTERS}
INPUTS = 2


class UartBone:
    """The host end of LiteX's UARTBone.

    Parameters
    ----------
    dut
        The SoC.
    baud : int
    origin : int
        Byte address of the core on the SoC's bus.
    """

    def __init__(self, dut, config: CoreConfig, baud: int, origin: int):
        self.config, self.origin = config, origin
        self.tx, self.rx = UartSource(dut.rx, baud=baud), UartSink(dut.tx, baud=baud)
        for model in (self.tx, self.rx):
            model.log.setLevel("ERROR")

    def address(self, space: Space, word: int) -> int:
        return self.origin // 4 + (space << self.config.space_bits | word)

    async def write(self, space: Space, word: int, data: bytes):
        words = struct.unpack(f"<{len(data) // 4}I", data)
        for start in range(0, len(words), MOST_WORDS):
            part = words[start:start + MOST_WORDS]
            await self.tx.write(struct.pack(f">BBI{len(part)}I", WRITE, len(part),
                                            self.address(space, word + start), *part))
        await self.tx.wait()

    async def read_at(self, address: int, count: int) -> bytes:
        """Words from a word address of the SoC on."""
        await self.tx.write(struct.pack(">BBI", READ, count, address))
        got = b""
        while len(got) < 4 * count:
            got += bytes(await with_timeout(self.rx.read(1), 1, "ms"))
        return struct.pack(f"<{count}I", *struct.unpack(f">{count}I", got))

    async def read(self, space: Space, word: int, count: int) -> bytes:
        return await self.read_at(self.address(space, word), count)

    async def get(self, name: str) -> int:
        return struct.unpack("<I", await self.read(Space.REGS, REGISTER[name], 1))[0]

    async def put(self, name: str, value: int):
        await self.write(Space.REGS, REGISTER[name], struct.pack("<I", value))

    async def load(self, program: Program):
        for section in program.sections:
            data = section.data + bytes(-len(section.data) % 4)
            await self.write(Space(section.space), section.offset, data)
        await self.put("PROGRAM", program.program_line)

    async def infer(self, program: Program, x: np.ndarray) -> np.ndarray:
        """Write an input, run the program, read the output."""
        words = self.config.line_words
        line, data = pack_input(program, x)
        await self.write(Space.ACT, line * words, data)
        await self.put("CONTROL", 1)
        for _ in range(100):
            status = await self.get("STATUS")
            if status & 2:
                break
        assert status & 0xFF02 == 2, f"{status:#x}"
        place = program.output
        return place.unpack(await self.read(Space.ACT, place.line * words,
                                                    -(-place.size // 4)))


@cocotb.test(timeout_time=200, timeout_unit="ms")
async def network_equals_golden_through_the_soc(dut):
    given = parameters()
    config = CoreConfig(**given["config"])
    cocotb.start_soon(Clock(dut.clk, 10**9 // given["clock"], "ns").start())
    bone = UartBone(dut, config, given["baud"], given["origin"])
    await ClockCycles(dut.clk, 100)
    await Timer(20, "us")
    bone.rx.clear()                                     # what came while the line was not driven
    assert await bone.get("ID") == MAGIC and await bone.get("CONFIG") == config.hash

    net = Net((1, 4, 4, 2), seed=2).conv(4).max_pool((2, 2)).reshape().fully_connected(6)
    graph = parse(net.bytes())
    program = compile_model(graph, replace(PRESETS["ecp5-85k"], config=config))
    await bone.load(program)
    for number, x in enumerate(random_inputs(graph.tensors[graph.input].shape, INPUTS)):
        got = await bone.infer(program, x)
        expected = golden.run(graph, x)[program.output.tensor]
        assert np.array_equal(got, expected.reshape(got.shape)), number
