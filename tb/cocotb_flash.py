"""Boots from a modelled flash in Verilog: good images, damaged ones, none, and their pages."""

import random
import zlib
from dataclasses import dataclass, field
from itertools import pairwise

import cocotb
from cobs import cobs

from boards.image import PADDING, with_pages
from hw.flash.boot import Boot
from hw.flash.layout import BootState, FlashConfig, Opcode
from tb.bench import parameters
from tb.drive import Part, start
from tb.flash_model import Flash

COMMIT = b"COMMIT"
END = (BootState.EMPTY, BootState.FOREIGN, BootState.DAMAGED, BootState.LOADED, BootState.REFUSED)


def frame(body: bytes) -> bytes:
    return cobs.encode(body + zlib.crc32(body).to_bytes(4, "little")) + b"\0"


def image(rng: random.Random, pages: int, frames: int) -> tuple[bytes, bytes, bytes]:
    """Pages, frames, and an image of them."""
    stream = rng.randbytes(4 * pages)
    sent = b"".join(frame(rng.randbytes(rng.randint(1, 40))) for _ in range(frames))
    sent += frame(COMMIT)
    return stream, sent, with_pages(stream) + sent + PADDING


@dataclass
class Bench:
    """A `Boot` with its flash, a link that judges frames, and a core that takes pages."""

    dut: object
    part: Part
    config: FlashConfig
    rng: random.Random
    flash: Flash
    eager: float = 0.5
    taken: bytearray = field(default_factory=bytearray)

    async def reset(self, cycles: int = 2):
        self.taken.clear()
        self.part.set(frames__ready=0, armed=0, refused=0, idle=0, pages__ready=0, rewind=1)
        self.dut.rst.value = 1
        for _ in range(cycles):
            await self.part.edge()
        self.dut.rst.value = 0

    def state(self) -> BootState:
        return BootState(self.part.get("state"))

    async def boot(self, most: int = 1 << 16) -> BootState:
        """Take frames until the boot has ended."""
        part, frames, armed, refused = self.part, 0, 0, 0
        for _ in range(most):
            ready = self.rng.random() < self.eager
            part.set(frames__ready=ready, armed=armed, refused=refused,
                     idle=self.rng.random() < 0.1)
            await part.settled()
            refused = 0
            if part.get("frames__valid") and ready:
                assert part.get("booting")
                self.taken.append(part.get("frames__payload"))
                if not self.taken[-1] and self.taken[frames:] != b"\0":
                    refused, body = self._judge(bytes(self.taken[frames:-1]))
                    armed, frames = body == COMMIT, len(self.taken)
            await part.edge()
            if self.state() in END:
                part.set(idle=1)
                await part.edge()
                assert not part.get("booting")
                return self.state()
        raise AssertionError(f"the boot must end within {most} cycles, not be at {self.state()}")

    @staticmethod
    def _judge(data: bytes) -> tuple[int, bytes]:
        try:
            body = cobs.decode(data)
        except cobs.DecodeError:
            return 1, b""
        return (0, body[:-4]) if frame(body[:-4]) == data + b"\0" else (1, b"")

    async def pages(self, count: int, eager: float = 1.0,
                    patience: int = 0) -> list[tuple[int, int]]:
        """Begin to run; so many words, and in which cycle each was there first.

        ``patience``: a word is taken within so many cycles.
        """
        part, words, since, wait = self.part, [], None, 0
        part.set(rewind=0)
        for cycle in range(200 * (count + 10)):
            ready = wait == 0 and self.rng.random() < eager
            part.set(pages__ready=ready)
            await part.settled()
            if part.get("pages__valid"):
                since = cycle if since is None else since
                wait = self.rng.randrange(patience) if ready and patience else max(0, wait - 1)
                word = part.get("pages__payload")
                if ready:
                    words.append((since, word))
                    since = None
            else:
                assert since is None, "an offered word was withdrawn"
            await part.edge()
            if len(words) == count:
                return words
        return words

    async def rewind(self, cycles: int = 1):
        self.part.set(rewind=1, pages__ready=0)
        for _ in range(cycles):
            await self.part.edge()


async def benches(dut, *names):
    """A bench for each part, or for those with a name; its flash is erased."""
    await start(dut)
    for name, given in parameters().items():
        if names and name not in names:
            continue
        config = FlashConfig(**given["config"])
        part = Part(dut, name)
        flash = Flash(part, dut.clk, b"", base=config.address, rest=36, lag=given["lag"],
                      quad=config.width == 4)
        flash.start()
        yield Bench(dut, part, config, random.Random(name), flash)
        assert not flash.objections and flash.opcodes[0] == Opcode.RELEASE


def words_of(stream: bytes) -> list[int]:
    return [int.from_bytes(stream[n:n + 4], "little") for n in range(0, len(stream), 4)]


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def images_boot_and_their_pages_follow(dut):
    async for bench in benches(dut):
        rng = bench.rng
        stream, frames, bench.flash.memory = image(rng, 40, 4)
        await bench.reset()
        assert await bench.boot() == BootState.LOADED
        assert frames.startswith(bench.taken[:len(frames)]) and len(bench.taken) >= len(frames)
        await bench.rewind(3)
        got = await bench.pages(40)
        assert [word for _, word in got] == words_of(stream)
        first, interval = Boot.latency(bench.config), 32 * bench.config.pace // bench.config.width
        assert [cycle for cycle, _ in got] == [first + interval * n for n in range(40)]
        for _ in range(12):
            await bench.rewind(rng.choice([1, 1, 2, 5]))
            count, eager = rng.choice([0, 1, 3, 20]), rng.choice([0.05, 0.3, 0.9])
            got = await bench.pages(count, eager)
            assert [word for _, word in got] == words_of(stream)[:count]
            for _ in range(rng.choice([0, 0, 1, 7, 40])):
                await bench.part.edge()


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def a_word_that_waits_a_little_delays_no_other(dut):
    """The rate holds if each word is taken within half of the time that the next one needs."""
    async for bench in benches(dut):
        stream, _, bench.flash.memory = image(bench.rng, 60, 1)
        await bench.reset()
        assert await bench.boot() == BootState.LOADED
        await bench.rewind(3)
        interval = 32 * bench.config.pace // bench.config.width
        got = await bench.pages(60, patience=interval // 2)
        assert [word for _, word in got] == words_of(stream)
        gaps = {after - before for (before, _), (after, _) in pairwise(got)}
        assert gaps == {interval}, bench.config


@cocotb.test(timeout_time=40, timeout_unit="ms")
async def damaged_images_are_refused_with_the_reason(dut):
    """A byte of MAGIC, pages, CRC-32 or frames is another one, or the rest is missing."""
    seen = set()
    async for bench in benches(dut, *("quad", "dual")):
        rng = bench.rng
        for _ in range(9):
            stream, frames, good = image(rng, rng.choice([0, 3, 9]), 3)
            end, begin = len(good) - len(PADDING), 8 + len(stream)
            position, bad = rng.choice([rng.randrange(begin), rng.randrange(begin, end)]), good
            if rng.random() < 0.8:
                bad = bytearray(good)
                bad[position] ^= rng.randrange(1, 256)
            else:
                position = max(4, position)
                bad = good[:position]
            bench.flash.memory, bench.flash.asleep = bytes(bad), True
            await bench.reset()
            state = await bench.boot()
            assert state == (BootState.FOREIGN if position < 4 else BootState.DAMAGED
                             if position < begin else BootState.REFUSED), position
            await bench.rewind()
            assert (await bench.pages(2) != []) == (state == BootState.REFUSED)
            seen.add(state)
    assert len(seen) == 3


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def without_an_image_the_board_waits_for_a_host(dut):
    """Erased, something else, or a flash without QE bit: no frame, no page, no more clocks."""
    async for bench in benches(dut):
        knows, good = bench.flash.quad, image(bench.rng, 3, 1)[2]
        cases = [(b"", knows, BootState.EMPTY), (bench.rng.randbytes(64), knows, BootState.FOREIGN)]
        if knows:
            cases.append((good, False, BootState.FOREIGN))
        for memory, quad, expected in cases:
            bench.flash.memory, bench.flash.quad, bench.flash.asleep = memory, quad, True
            await bench.reset()
            assert await bench.boot() == expected
            pulses = bench.flash.pulses
            assert not bench.taken and not await bench.pages(1)
            assert bench.part.get("pads__cs_n") and bench.flash.pulses == pulses


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def a_reset_in_the_middle_boots_again(dut):
    async for bench in benches(dut, *("quad", "single")):
        stream, frames, bench.flash.memory = image(bench.rng, 8, 2)
        await bench.reset()
        for _ in range(10):
            for _ in range(bench.rng.randrange(1, 900)):
                await bench.part.edge()
            await bench.reset(1)
        assert await bench.boot() == BootState.LOADED
        assert bench.taken[:len(frames)] == frames
        await bench.rewind()
        assert [word for _, word in await bench.pages(8)] == words_of(stream)
