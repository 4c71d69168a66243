"""The pager in Verilog: a stream with pauses, writers in its way, WAITs, nonsense and silence."""

import random
from dataclasses import dataclass, field
from itertools import pairwise, product

import cocotb

from hw.config import CoreConfig
from hw.layout import PAGE_MASK_WORDS, PAGE_PACKED, Space
from hw.stores import space_limits
from tb.cocotb_memories import setup
from tb.drive import Part, start

RUNS = 12


def spaces(config: CoreConfig) -> list[Space]:
    """Where pages may go."""
    if not config.host_stores:
        return [Space.ACT]
    return ([Space.WEIGHT, Space.TABLE] + [Space.PARAM] * (config.P == 1)
            + [Space.MASK] * config.row_masks)


@dataclass
class Page:
    """A page and the descriptor that must run."""

    after: int
    space: int
    offset: int
    data: list[int]
    packed: bool = False

    def words(self) -> list[int]:
        """As the backing store holds it."""
        count = len(self.data) | self.packed << PAGE_PACKED
        head = [self.after, count, self.space << 29 | self.offset]
        first = len(self.data) % PAGE_MASK_WORDS
        edges = sorted({0, *range(first, len(self.data) + 1, PAGE_MASK_WORDS)})
        for begin, end in pairwise(edges if self.packed else []):
            group = self.data[begin:end]
            head += [sum((word != 0) << n for n, word in enumerate(group)), *filter(None, group)]
        return head if self.packed else head + self.data

    def writes(self) -> list[tuple[int, int, int]]:
        """Space, offset and word of all that it writes: no fourth words of parameters."""
        each = 3 if self.space == Space.PARAM else 4
        return [(self.space, self.offset + n // each * 4 + n % each, word)
                for n, word in enumerate(self.data)]


@dataclass
class Bench:
    """Store and surroundings of a pager, and what it wrote."""

    part: Part
    config: CoreConfig
    rng: random.Random
    words: list[int] = field(default_factory=list)
    position: int = 0
    index: int = 0
    offers: float = 0.7
    writes: list[tuple[int, int, int, int]] = field(default_factory=list)

    def hold(self, words: list[int]):
        """The core is idle, with another stream."""
        self.words, self.position, self.index, self.writes = words, 0, 0, []
        self.part.set(running=0, start=0, clear=0, index=0, wanted=0, tick=0, patience=0,
                      pages__valid=0)

    async def rewind(self, words: list[int], offers: float):
        """Hold the core idle until the stream begins again."""
        self.hold(words)
        for _ in range(2):
            out = await self.cycle()
        assert out["rewind"] and out["idle"]
        self.position, self.offers = 0, offers

    async def cycle(self, **pins) -> dict[str, int]:
        """One cycle with these pins; returns what the outputs were."""
        part, rng, config = self.part, self.rng, self.config
        offered = self.position < len(self.words) and rng.random() < self.offers
        word = self.words[self.position] if offered else rng.getrandbits(32)
        part.set(pages__valid=offered, pages__payload=word, index=self.index, **pins)
        room = {"free": rng.random() < 0.6, "quiet": rng.random() < 0.5} if config.host_stores \
            else {"w__ready": rng.random() < 0.5}
        part.set(**room)
        await part.settled()
        out = {name: part.get(name) for name in ("idle", "rewind", "late", "error", "progress")}
        if offered and part.get("pages__ready"):
            self.position += 1
        if config.host_stores:
            self._store(room)
        elif room["w__ready"] and part.get("w__valid"):
            offset = part.get("w__addr") * config.line_words + part.get("w__word")
            self.writes.append((Space.ACT, offset, part.get("w__data"), self.index))
        await part.edge()
        part.set(start=0)
        return out

    def _store(self, room):
        part, config = self.part, self.config
        enables = part.get("store__weight_en")
        if enables:
            assert room["free"] and (config.P == 1 or room["quiet"])
            assert enables & (enables - 1) == 0
            lane = enables.bit_length() - 1
            data = part.get("store__weight_data") >> 32 * lane & 0xFFFFFFFF
            offset = part.get("store__weight_addr") * config.line_words + lane
            self.writes.append((Space.WEIGHT, offset, data, self.index))
        for name, space in (("param_en", Space.PARAM), ("table_en", Space.TABLE),
                            ("mask_en", Space.MASK)):
            if part.get(f"store__{name}"):
                assert room["free"] and not enables
                limit = space_limits(config)[space]
                offset = part.get("store__word_addr") % (1 << (limit - 1).bit_length())
                self.writes.append((space, offset, part.get("store__word_data"), self.index))


def random_pages(config: CoreConfig, rng: random.Random) -> list[Page]:
    """Pages anywhere, at the edges of the memories too."""
    pages, after = [], 0
    for _ in range(rng.randint(1, 6)):
        space = rng.choice(spaces(config))
        limit = space_limits(config)[space]
        size = rng.randint(1, min(rng.choice([1, 30, 32, 33, 100]), limit))
        offset = rng.choice([0, limit - size, rng.randint(0, limit - size)])
        if space == Space.PARAM:
            size, offset = 3 * -(-size // 4), offset // 4 * 4
            offset = min(offset, limit - size // 3 * 4)
        packed, density = config.host_stores and rng.random() < 0.5, rng.choice([0, 0.3, 1])
        data = [rng.getrandbits(32) * (rng.random() < density) for _ in range(size)]
        after += rng.choice([0, 0, 1, 5])
        pages.append(Page(after, space, offset, data, packed))
    return pages


def stream(pages: list[Page]) -> list[int]:
    return [word for page in pages for word in page.words()] + [0, 0, 0]


async def awake(dut) -> Bench:
    """The bench of the pager after reset."""
    config, rng = setup()
    bench = Bench(Part(dut, "pager"), config, rng)
    bench.hold([])
    await start(dut)
    return bench


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def pages_are_written_in_order_when_their_descriptor_runs(dut):
    bench = await awake(dut)
    config, rng = bench.config, bench.rng
    for _ in range(RUNS):
        pages = random_pages(config, rng)
        await bench.rewind(stream(pages), rng.choice([0.1, 0.7, 1.0]))
        wanted = 0
        while wanted < len(pages):
            wanted = rng.randint(wanted + 1, len(pages))
            await bench.cycle(running=1, start=1, wanted=wanted)
            ends = sum(len(page.data) for page in pages[:wanted])
            for _ in range(4000):
                bench.index += rng.random() < 0.02
                before = len(bench.writes)
                out = await bench.cycle(running=1)
                assert not out["rewind"] and not out["late"] and not out["error"]
                if out["idle"]:
                    break
            assert out["idle"] and before >= ends, (before, ends)
        expected = [write for page in pages for write in page.writes()]
        for _ in range(8):
            await bench.cycle(running=1)
        assert [write[:3] for write in bench.writes] == expected
        gates = [page.after for page in pages for _ in page.data]
        assert all(write[3] >= after for write, after in zip(bench.writes, gates, strict=True))


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def pages_that_leave_their_memory_are_errors_and_not_written(dut):
    bench = await awake(dut)
    config, rng = bench.config, bench.rng
    elsewhere = Space.WEIGHT if spaces(config) == [Space.ACT] else Space.ACT
    space = spaces(config)[0]
    limit = space_limits(config)[space]
    wrong = [Page(0, elsewhere, 0, [1, 2]), Page(0, 7, 0, [1]), Page(0, Space.REGS, 3, [1]),
             Page(0, space, 1 << 28, [1, 2])]
    if config.host_stores:     # else the arbiter of the activation memory refuses it
        wrong += [Page(0, space, limit, [1, 2]), Page(0, space, limit - 1, [1, 2, 3])]
    if config.P == 2:
        wrong.append(Page(0, Space.PARAM, 0, [1]))
    for page in wrong:
        good = random_pages(config, rng)[:1]
        good[0].after = 0
        await bench.rewind(stream([*good, page, *good]), 0.8)
        seen = 0
        for _ in range(400):
            out = await bench.cycle(running=1)
            seen += out["error"]
        inside = max(0, limit - page.offset) if page.space == space else 0
        assert seen == 1, page
        assert len(bench.writes) == len(good[0].data) + min(inside, len(page.data)), page


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def silence_is_progress_until_patience_ends(dut):
    bench = await awake(dut)
    config, rng = bench.config, bench.rng
    for patience, packed, there in product((0, 1, 5), [False] + [True] * config.host_stores,
                                           (3, 4, 5)):
        page = Page(0, spaces(config)[0], 0, [1, 2, 3], packed)
        await bench.rewind(stream([page])[:there], 1.0)
        await bench.cycle(running=1, start=1, wanted=1, patience=patience)
        for _ in range(40):
            await bench.cycle(running=1)
        assert bench.position == there
        ticks, late = 0, 0
        for _ in range(200):
            tick = rng.random() < 0.1
            out = await bench.cycle(running=1, tick=tick)
            assert out["progress"] and not out["idle"]
            late += out["late"]
            assert bool(out["late"]) == (ticks == patience and patience > 0) or ticks > patience
            ticks += tick
        assert bool(late) == (patience > 0)
        out = await bench.cycle(running=1, clear=1, tick=0)
        assert (await bench.cycle(running=0, clear=0))["idle"]


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def waiting_for_its_own_descriptor_is_no_progress(dut):
    """WAIT for a page that waits for a later descriptor is a dead lock; a time-out must end it."""
    bench = await awake(dut)
    config = bench.config
    await bench.rewind(stream([Page(9, spaces(config)[0], 0, [1])]), 1.0)
    await bench.cycle(running=1, start=1, wanted=1)
    for _ in range(5):
        await bench.cycle(running=1)
    for _ in range(50):
        assert not (await bench.cycle(running=1))["progress"]
    assert not bench.writes
