"""A whole cluster's Verilog, memories played by the test, against the golden model."""

import random
from collections import deque
from dataclasses import replace

import cocotb
import numpy as np

from gen.compile import compile_model
from gen.image import pack_input
from gen.targets import PRESETS
from hw.config import CoreConfig, slot_bytes
from hw.layout import Opcode, Space, decode
from hw.masks import mask_write
from hw.params import PARAM_SHAPE, ParamMemory
from hw.ports import read_latency
from hw.weights import WeightBanks
from models.tflite_reader import parse
from sim.golden import run
from sim.loaded import slot_line
from tb.bench import parameters
from tb.drive import Part, descriptor, start
from tb.tflite_builder import Net

LIMIT = 20_000


class Machine:
    """Activation memory with its arbiters, weights and parameters, around all clusters."""

    def __init__(self, dut, config: CoreConfig, program, x):
        self.config, self.program = config, program
        self.clusters = [Part(dut, f"cluster{index}") for index in range(config.P)]
        self.stall = 0.0
        memory = {Space.ACT: bytearray(random.randbytes(config.act_lines * config.V)),
                  Space.WEIGHT: bytearray(config.weight_rows * config.row_bytes),
                  Space.PARAM: bytearray(config.param_groups * config.C * 16),
                  Space.TABLE: bytearray(1024),
                  Space.MASK: bytearray(4 * config.row_mask_words * config.L)}
        for section in program.sections:
            at = 4 * section.offset
            memory[Space(section.space)][at:at + len(section.data)] = section.data
        line, data = pack_input(program, x)
        memory[Space.ACT][line * config.V:line * config.V + len(data)] = data
        self.memory = memory
        self.reads = {(n, client): deque([None] * read_latency(config))
                      for n in range(config.P) for client in ("feed", "residual")}
        self.weights = [deque([0] * WeightBanks.latency(config)) for _ in self.clusters]
        self.params = [deque([0] * ParamMemory.latency(config)) for _ in self.clusters]

    def descriptors(self) -> list[dict]:
        """The program, of which everything but LOAD runs on clusters."""
        base, act = slot_line(self.program, 0) * self.config.V, self.memory[Space.ACT]
        slots = [base + n * slot_bytes(self.config) for n in range(self.program.descriptors)]
        return [decode(np.frombuffer(bytes(act[at:at + 64]), "<u4").tolist()) for at in slots]

    def line(self, number: int | None) -> int:
        """The activation memory's answer."""
        v = self.config.V
        if number is None:
            return random.getrandbits(8 * v)
        return int.from_bytes(self.memory[Space.ACT][number * v:number * v + v], "little")

    def weight_rows(self, addresses: int) -> int:
        """Rows of all lanes, each at its own address."""
        config, found = self.config, 0
        width = config.weight_addr_bits
        for lane in range(config.L):
            row = addresses >> width * lane & (1 << width) - 1
            at = row * config.row_bytes + lane * config.C
            data = self.memory[Space.WEIGHT][at:at + config.C]
            found |= int.from_bytes(data, "little") << 8 * config.C * lane
        return found

    def beat(self, address: int) -> int:
        """Parameters of the channels of a beat."""
        config, found = self.config, 0
        for unit in range(config.requant_units):
            at = (address * config.requant_units + unit) * 16
            data = bytes(self.memory[Space.PARAM][at:at + 16]).ljust(16, b"\0")
            shift, bias, multiplier, _ = np.frombuffer(data, "<u4").tolist()
            bits = bias | multiplier << 32 | (shift & 31) << 64
            found |= bits << PARAM_SHAPE.size * unit
        return found

    async def load_table(self):
        """Write every word of the table, as LOAD does."""
        for part in self.clusters:
            part.set(start=0, clear=0, t_en=1)
        for address, word in enumerate(np.frombuffer(bytes(self.memory[Space.TABLE]), "<u4")):
            for part in self.clusters:
                part.set(t_addr=address, t_data=int(word))
            await self.clusters[0].edge()
        for part in self.clusters:
            part.set(t_en=0)

    async def load_masks(self):
        """Write every word of the row masks."""
        for address, word in enumerate(np.frombuffer(bytes(self.memory[Space.MASK]), "<u4")):
            for part in self.clusters:
                part.set(masks=mask_write(self.config).const({
                    "en": 1, "addr": address, "data": int(word)}).as_bits())
            await self.clusters[0].edge()
        for part in self.clusters:
            part.set(masks=0)

    async def cycle(self):
        """One cycle of all memories; counts what the lanes do."""
        for n, part in enumerate(self.clusters):
            for client in ("feed", "residual"):
                number = self.reads[n, client].popleft()
                part.set(**{f"{client}__done": number is not None,
                            f"{client}__data": self.line(number)})
            part.set(weights=self.weight_rows(self.weights[n].popleft()),
                     params=self.beat(self.params[n].popleft()))
        self._grant()
        part = self.clusters[0]
        await part.settled()
        for n, part in enumerate(self.clusters):
            for client in ("feed", "residual"):
                wanted = part.get(f"{client}__valid") and self.ready[n, client]
                number = part.get(f"{client}__addr") if wanted else None
                assert number is None or number < self.config.act_lines, f"{client}: {number}"
                self.reads[n, client].append(number)
            self.weights[n].append(part.get("weight_addrs"))
            self.params[n].append(part.get("param_addr"))
            assert not part.get("error_address") and not part.get("error_patch")
            if part.get("w__valid") and self.ready[n, "w"]:
                self._write(part)
        await self.clusters[0].edge()

    def _grant(self):
        """Each port of the memory to one client: writes, then residuals, then feeds."""
        config, self.ready = self.config, {}
        free = [True] * config.F
        for client in ("w", "residual", "feed"):
            for n, part in enumerate(self.clusters):
                if config.F == 1:
                    port = 0
                elif config.P == 1:
                    port = int(client != "feed")
                else:
                    port = n
                granted = free[port]
                if client == "feed":
                    granted &= random.random() >= self.stall
                part.set(**{f"{client}__ready": granted})
                self.ready[n, client] = granted
                free[port] &= not (granted and part.get(f"{client}__valid"))

    def _write(self, part):
        config = self.config
        line, mask = part.get("w__addr"), part.get("w__mask")
        assert line < config.act_lines
        data = part.get("w__data").to_bytes(config.V, "little")
        for g in range(config.groups_per_line):
            if mask >> g & 1:
                at = line * config.V + g * config.C
                self.memory[Space.ACT][at:at + config.C] = data[g * config.C:(g + 1) * config.C]

    async def execute(self, d: dict):
        """Run one descriptor on all clusters until they are idle."""
        for part in self.clusters:
            part.set(d=descriptor(self.config, d), start=1)
        await self.cycle()
        for part in self.clusters:
            part.set(start=0)
        for _ in range(LIMIT):
            await self.cycle()
            if all(part.get("written") for part in self.clusters):
                assert all(part.get("idle") for part in self.clusters)
                return
        raise AssertionError(f"never idle: {d}")


def network(kind: str, seed: int) -> Net:
    """A few layers of one kind."""
    net = Net((1, 3, 4, 3), seed=seed)
    if kind == "conv":
        return net.conv(10, (3, 2), stride=(1, 2), activation="RELU").conv(5, (2, 2))
    if kind == "add":
        net.conv(6, (1, 1))
        start = net.here
        return net.conv(6, (3, 3)).conv(6, (1, 1)).add(start)
    net.conv(9, (1, 1)).max_pool((2, 2), stride=(1, 1), padding="SAME")
    return net.average_pool((3, 2), stride=(1, 1))


@cocotb.test(timeout_time=20, timeout_unit="ms")
@cocotb.parametrize(kind=["conv", "add", "pool"])
async def cluster_equals_golden(dut, kind):
    """A network of one kind, tensor by tensor, with the feed port often taken by others."""
    config = CoreConfig(**parameters()["config"])
    graph = parse(network(kind, parameters()["seed"]).bytes())
    program = compile_model(graph, replace(PRESETS["ecp5-85k"], config=config),
                            skip="on" if config.row_masks else "auto")
    shape = graph.tensors[graph.input].shape
    x = np.random.default_rng(3).integers(-128, 128, shape, np.int8)
    golden = run(graph, x)
    await start(dut)
    machine = Machine(dut, config, program, x)
    ends = {layer.first + layer.count - 1: layer.output for layer in program.layers}
    if config.row_masks:
        await machine.load_masks()
    table = None
    for index, d in enumerate(machine.descriptors()):
        if d["op"] == Opcode.LOAD:
            space, size = Space(d["zero_point"]), d["groups"] * config.V
            at = d["res_base"] * config.V
            unit = {Space.WEIGHT: config.row_bytes, Space.PARAM: 16 * config.C}.get(space, 4)
            target = d["out_base"] * unit
            machine.memory[space][target:target + size] = machine.memory[Space.ACT][at:at + size]
            continue
        if table != machine.memory[Space.TABLE]:
            table = bytes(machine.memory[Space.TABLE])
            await machine.load_table()
        machine.stall = (0.0, 0.5)[index % 2]
        await machine.execute(d)
        if index in ends:
            place = ends[index]
            at = place.line * config.V
            found = place.unpack(bytes(machine.memory[Space.ACT][at:at + place.size]))
            assert np.array_equal(found, golden[place.tensor]), f"descriptor {index}: {d}"
