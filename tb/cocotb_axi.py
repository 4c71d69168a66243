"""The core's AXI ports under models of cocotbext-axi: pauses, strobes, errors, lengths, reset."""

import random
import struct
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import cocotb
import numpy as np
from cocotb.triggers import ClockCycles, FallingEdge, gather
from cocotb.utils import get_sim_time
from cocotbext.axi import AxiStreamFrame

from gen.compile import compile_model, paged_program
from gen.image import Program, pack_input
from gen.lower import lower
from gen.pages import Paging
from gen.targets import PRESETS
from hw.axi.streams import Streams
from hw.config import PROGRAM_VERSION, CoreConfig
from hw.layout import MAGIC, PAGE_HEAD_WORDS, Error, Space
from hw.stores import space_words
from models.graph import Graph
from models.tflite_reader import parse
from sim import golden
from tb.axi_host import REGISTER, AxiHost
from tb.bench import parameters
from tb.tflite_builder import Net

PAUSES = [0.0, 0.6]
INPUTS = 3
FRAMES = 30
RUNS = 8


async def awake(dut, pause: float) -> tuple[AxiHost, CoreConfig, random.Random]:
    """The host of a core after reset."""
    config = CoreConfig(**parameters()["config"])
    host = AxiHost(dut, config, pause)
    await host.start()
    return host, config, random.Random(1)


@cocotb.test(timeout_time=2, timeout_unit="ms")
@cocotb.parametrize(pause=PAUSES)
async def registers_answer_and_refuse(dut, pause):
    host, config, rng = await awake(dut, pause)
    for name, value in {"ID": MAGIC, "VERSION": PROGRAM_VERSION, "CONFIG": config.hash}.items():
        assert await host.get(name) == value
    written = {"PROGRAM": config.act_addr_bits, "IN_LINE": config.act_addr_bits,
               "OUT_LINE": config.act_addr_bits, "IN_BYTES": config.byte_addr_bits + 1,
               "OUT_BYTES": config.byte_addr_bits + 1, "STREAM_CONTROL": 3}
    for _ in range(3):
        values = {name: rng.getrandbits(32) for name in written}
        await host.put(**values)
        for name, bits in written.items():
            assert await host.get(name) == values[name] & (1 << bits) - 1, name
        assert await host.status() == set()
    await host.control()
    for name in ("ID", "STATUS", "CYCLES"):
        assert not await host.write_at(REGISTER[name], bytes(4))
    for word in (22, 23):       # behind the last register of the streams
        assert await host.read(Space.REGS, word, 1) == bytes(4)
        assert not await host.write(Space.REGS, word, bytes(4))


@cocotb.test(timeout_time=5, timeout_unit="ms")
@cocotb.parametrize(pause=PAUSES)
async def memory_holds_what_was_written(dut, pause):
    """Whole words, parts of words, no byte at all, beyond the end; reads at the same time."""
    host, config, rng = await awake(dut, pause)
    words = space_words(config)[Space.ACT]
    memory = {word: rng.randbytes(4) for word in rng.sample(range(words), 60)}

    async def write(some):
        for word in some:
            assert await host.write(Space.ACT, word, memory[word])

    async def check(some):
        for word in some:
            assert await host.read(Space.ACT, word, 1) == memory[word], word

    known, new = [*memory][::2], [*memory][1::2]
    await write(known)
    for word in known[:12]:                           # err and no effect
        at, size = rng.choice([(0, 1), (1, 3), (2, 2), (3, 1), (0, 3), (1, 2)])
        assert not await host.write_at(host.address(Space.ACT, word) + at, rng.randbytes(size))
        assert await host.write_nothing(host.address(Space.ACT, word) + at)
    await gather(check(known), write(new), check(known[::-1]))
    await check(new)
    assert not await host.write(Space.ACT, words, bytes(4)) or words == 1 << config.space_bits
    for space in set(space_words(config)) - {Space.ACT}:
        assert not await host.readable(space, 0), space
        assert await host.write(space, 0, bytes(4)) == config.host_stores, space


def empty_program(config: CoreConfig) -> bytes:
    """A program that ends at once: its header, and END as the first descriptor."""
    return struct.pack("<4I", MAGIC, PROGRAM_VERSION, config.hash, 0) + bytes(64)


def random_frame(rng: random.Random, size: int) -> tuple[bytes, list[int], set[str]]:
    """A frame for a tensor of so many bytes, its TKEEP, and the errors that it makes."""
    kind = rng.choice(["whole", "whole", "padded", "early", "late", "hole"])
    length = {"padded": -(-size // 4) * 4, "early": rng.randint(1, size),
              "late": -(-size // 4) * 4 + rng.randint(1, 30)}.get(kind, size)
    keep = [1] * length
    if kind == "hole":
        keep[rng.randrange(length)] = 0
    early, late = kind == "hole" or length < size, kind == "late"
    return rng.randbytes(length), keep, {
        name for name, there in (("early", early), ("late", late)) if there}


@cocotb.test(timeout_time=20, timeout_unit="ms")
@cocotb.parametrize(pause=PAUSES)
async def frames_fill_and_empty_the_memory(dut, pause):
    """Whole ones start a program, whose output leaves; wrong ones set their bits and do not.

    The host uses the port at the same time.
    """
    host, config, rng = await awake(dut, pause)
    lines, program = 320 // config.V, empty_program(config)
    memory = bytearray(program + rng.randbytes(lines * config.V - len(program)))
    assert await host.write(Space.ACT, 0, bytes(memory))
    await host.control("receive", "start", "send")

    async def disturb():
        while True:
            assert await host.get("ID") == MAGIC
            await ClockCycles(dut.aclk, rng.randint(1, 9))

    cocotb.start_soon(disturb())
    seen = set()
    for _ in range(FRAMES):
        size, out = (rng.choice([1, 4, rng.randint(1, 100), rng.randint(1, 12)]) for _ in "io")
        line = rng.randint(-(-len(program) // config.V), lines - -(-size // config.V))
        out_line = rng.randint(0, lines - -(-out // config.V))
        await host.put(IN_LINE=line, IN_BYTES=size, OUT_LINE=out_line, OUT_BYTES=out)
        data, keep, errors = random_frame(rng, size)
        await host.send(data, keep)
        words = (data + bytes(-len(data) % 4))[:-(-size // 4) * 4]
        memory[line * config.V:line * config.V + len(words)] = words
        if errors:
            await host.sent()
            await ClockCycles(dut.aclk, 40)
            assert dut.irq.value and host.sink.empty()
        else:
            begin = out_line * config.V
            assert await host.receive() == memory[begin:begin + out]
        assert await host.status() == (errors or {"sent"})
        await host.clear("sent", "early", "late")
        assert await host.status() == set()
        seen |= errors or {"sent"}
    assert seen == {"sent", "early", "late"}
    assert await host.read(Space.ACT, 0, len(memory) // 4) == memory


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def words_take_their_cycles(dut):
    """Without pauses, each word of a frame takes as long as `Streams` says."""
    host, config, rng = await awake(dut, 0.0)
    assert await host.write(Space.ACT, 0, empty_program(config))
    await host.put(IN_LINE=80 // config.V, IN_BYTES=80, OUT_LINE=80 // config.V, OUT_BYTES=80)
    await host.control("receive", "start", "send")
    times = {"s_axis": [], "m_axis": []}

    async def watch(prefix):
        valid, ready = (getattr(dut, f"{prefix}_t{name}") for name in ("valid", "ready"))
        while True:
            await FallingEdge(dut.aclk)
            if valid.value and ready.value:
                times[prefix].append(get_sim_time("ns") // 10)

    for prefix in times:
        cocotb.start_soon(watch(prefix))
    data = rng.randbytes(80)
    await host.send(data)
    assert await host.receive() == data
    for prefix, cycles in (("s_axis", Streams.WRITE_CYCLES),
                           ("m_axis", Streams.read_cycles(config))):
        assert {b - a for a, b in pairwise(times[prefix])} == {cycles}, prefix
        assert len(times[prefix]) == 20


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def inputs_wait_for_the_host_and_the_core(dut):
    host, config, rng = await awake(dut, 0.3)
    first, second = rng.randbytes(10), rng.randbytes(10)
    bad = -(-len(empty_program(config)) // config.V)         # no program there
    assert await host.write(Space.ACT, 0, empty_program(config) + bytes(32))
    await host.put(PROGRAM=bad, IN_LINE=bad, IN_BYTES=10, OUT_LINE=bad, OUT_BYTES=10)
    await host.send(first)
    await host.send(second)
    await ClockCycles(dut.aclk, 100)
    assert await host.status() == set() and dut.s_axis_tready.value == 0    # nobody wants it

    await host.control("receive")           # without start: one frame, the core stays idle
    await host.until("received")
    await ClockCycles(dut.aclk, 100)
    assert await host.status() == {"received"} and not host.source.idle()
    assert (await host.read(Space.ACT, bad * config.V // 4, 3))[:10] == first
    assert await host.get("STATUS") == 0 and not dut.irq.value

    await host.control("receive", "start", "send")      # the second frame, a failing program
    await host.clear("received")
    await host.until("failed")
    assert await host.status() == {"received", "failed"} and host.sink.empty()
    assert await host.get("STATUS") >> 8 & 0xFF == Error.MAGIC and dut.irq.value
    await host.clear("failed")
    assert dut.irq.value                                # the core's own
    await host.put(PROGRAM=0, CONTROL=1)                # started by the host: its output leaves
    assert await host.receive() == second
    assert await host.status() == {"sent"}

    await host.control("receive")                       # without send: the host reads
    await host.put(CONTROL=1)
    await ClockCycles(dut.aclk, 200)
    assert host.sink.empty() and await host.status() == {"sent"}


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def tensors_outside_the_memory_are_refused(dut):
    """Frames keep their length: an input is taken to its TLAST, an output is sent as zeros."""
    host, config, rng = await awake(dut, 0.3)
    end = rng.randbytes(config.V)
    assert await host.write(Space.ACT, 0, empty_program(config))
    last = config.act_lines - 1
    await host.put(IN_LINE=last, IN_BYTES=2 * config.V, OUT_LINE=last, OUT_BYTES=config.V + 5)
    await host.control("receive", "start", "send")
    await host.send(end + rng.randbytes(config.V))
    await host.until("refused")
    await host.sent()
    assert await host.status() <= {"refused", "receiving"}
    await host.clear("refused")
    await host.put(CONTROL=1)
    assert await host.receive() == end + bytes(5)
    assert await host.status() == {"refused", "sent"}
    await host.clear("refused", "sent")
    await host.put(IN_BYTES=0, OUT_BYTES=0)             # nothing fits into nothing
    await host.send(bytes(9))
    await host.until("refused")
    await host.sent()
    await ClockCycles(dut.aclk, 20)
    assert await host.status() == {"refused", "late"}


def network(config: CoreConfig, paged: bool) -> tuple[Graph, Program]:
    """A small network with every kind of memory; with ``paged`` its weights come as pages."""
    net = Net((1, 6, 5, 3), seed=3)
    start = net.conv(8, (3, 3), activation="RELU").here
    net.conv(8, (1, 1)).add(start).max_pool((2, 2)).reshape().fully_connected(10)
    graph, target = parse(net.bytes()), replace(PRESETS["ecp5-85k"], config=config)
    if not paged:
        return graph, compile_model(graph, target)
    paging = Paging(share=2, kept=Fraction(1, 4), tables=False)
    return graph, paged_program(graph, target, paging, lower(graph, config))


async def infer(host: AxiHost, graph: Graph, program: Program, count: int, seed: int,
                late_send: bool = False):
    """Inputs queue up at one stream, outputs leave the other; all equal the golden model's."""
    x = np.random.default_rng(seed).integers(-128, 128, (count, *graph.tensors[graph.input].shape),
                                             np.int8)
    for each in x:
        await host.send(pack_input(program, each)[1][:program.input.size])
    if late_send:
        await host.sent()
        await host.control("receive", "start", "send")
    for number, each in enumerate(x):
        place = program.output
        got = place.unpack(await host.receive())
        expected = golden.run(graph, each)[place.tensor]
        assert np.array_equal(got, expected.reshape(got.shape)), number
    assert await host.status() == {"sent"}


@cocotb.test(timeout_time=50, timeout_unit="ms")
@cocotb.parametrize(pause=PAUSES)
async def network_equals_golden(dut, pause):
    """Program, inputs, outputs: everything over AXI, nothing but the streams between inputs."""
    host, config, _ = await awake(dut, pause)
    graph, program = network(config, paged=False)
    await host.load(program)
    await host.arm(program)
    await infer(host, graph, program, INPUTS, 1)
    await host.control()                            # a run of the host's own; its output stays
    await host.put(CONTROL=1)
    await host.control("receive", "start")          # an input waits for its end
    await infer(host, graph, program, 1, 2, late_send=True)


@cocotb.test(timeout_time=50, timeout_unit="ms")
async def reset_ends_everything_at_once(dut):
    """In the middle of accesses, frames and a run; afterwards all is as after the first reset."""
    host, config, rng = await awake(dut, 0.3)
    graph, program = network(config, paged=False)
    await host.load(program)
    for cycles in (10, 100, 700, 1500):
        await host.arm(program)
        for _ in range(2):
            await host.send(rng.randbytes(program.input.size))
        cocotb.start_soon(host.lite.read(host.address(Space.ACT, 0), 400))
        cocotb.start_soon(host.lite.write(host.address(Space.REGS, REGISTER["ID"]), bytes(400)))
        await ClockCycles(dut.aclk, cycles)
        await host.reset()
        for name in ("s_axil_bvalid", "s_axil_rvalid", "m_axis_tvalid", "irq"):
            assert not getattr(dut, name).value, name
        for name in ("STREAM_CONTROL", "STREAM_STATUS", "IN_BYTES", "STATUS"):
            assert await host.get(name) == 0, name
    await host.arm(program)
    await infer(host, graph, program, 1, 2)


@cocotb.test(timeout_time=50, timeout_unit="ms")
async def pages_come_a_frame_for_each_run(dut):
    """Also after runs that were stopped within a frame whose rest comes during the next run."""
    host, config, _ = await awake(dut, 0.4)
    if not config.pages:
        return
    graph, program = network(config, paged=True)
    await host.load(program)
    await host.arm(program)
    for number in range(RUNS):              # the first ones without the words that end the pages
        end = -4 * PAGE_HEAD_WORDS if number < 2 else None
        await host.pages.send(AxiStreamFrame(program.stream[:end]))
    await infer(host, graph, program, 2, 3)

    async def resume():
        while dut.rewind.value:
            await ClockCycles(dut.aclk, 1)
        await ClockCycles(dut.aclk, 20)
        host.pages.pause = False

    host.pages.set_pause_generator(None)
    for cycles in (30, 150, 400):
        await host.control()
        await host.put(CONTROL=1)
        await ClockCycles(dut.aclk, cycles)
        host.pages.pause = True
        await host.put(CONTROL=2)
        while not dut.irq.value:                        # it would count as an output to send
            await ClockCycles(dut.aclk, 1)
        await host.control("receive", "start", "send")
        cocotb.start_soon(resume())
        await infer(host, graph, program, 1, cycles)
