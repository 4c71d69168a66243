"""The blocks of the host link in Verilog: line, slots, COBS both ways, CRC."""

import random
import zlib

import cocotb
from cobs import cobs

from hw.link.protocol import SLOT_BYTES
from hw.link.slots import SLOT_BITS
from tb.bench import parameters
from tb.drive import Part, start

READERS = ["reader", "kept"]   # without and with a register behind the memory
READER_IDLE = {"i__valid": 0, "hold": 0, "start": 0, "release": 0, "o__ready": 0, "index": 0}
MANY = 60


async def prepare(dut, name: str, **inputs: int) -> tuple[Part, random.Random]:
    """A part of the bench after reset with these inputs, and what the test draws from."""
    part = Part(dut, name)
    part.set(**inputs)
    await start(dut)
    return part, random.Random(parameters()["seed"])


def payloads(source: random.Random) -> list[bytes]:
    """Bytes to encode: nothing, zeros, runs around the longest block, and any."""
    runs = [253, 254, 255, 256, 508]
    fixed = [b"", b"\0", b"\0" * 40, b"\1", *(bytes([7]) * n for n in runs),
             *(b"\0" + bytes([255]) * n + b"\0" for n in runs[:-1]),
             bytes([1]) * 254 + b"\0" + bytes([2]) * 200]
    return fixed + [bytes(source.choice([0, 0, 1, 255, source.randrange(256)])
                          for _ in range(source.randint(1, 200))) for _ in range(MANY)]


@cocotb.test(timeout_time=50, timeout_unit="ms")
@cocotb.parametrize(name=["encoder", "kept_encoder"])
async def encoder_makes_frames_that_decode(dut, name):
    part, source = await prepare(dut, name, i__valid=0, o__ready=0)
    items = []
    expected = payloads(source)
    for data in expected:
        items += [byte for byte in data] + [0x100 | source.randrange(256)]
    frames, coming, position, stall = [], b"", 0, 0.5
    while len(frames) < len(expected):
        if source.random() < 0.01:
            stall = source.choice([0.0, 0.1, 0.95])
        offer = position < len(items) and source.random() > 0.2
        take = source.random() >= stall
        part.set(i__valid=offer, i__payload=items[position] if offer else 0, o__ready=take)
        await part.settled()
        if offer and part.get("i__ready"):
            position += 1
        if take and part.get("o__valid"):
            byte = part.get("o__payload")
            if byte:
                coming += bytes([byte])
            else:
                frames.append(coming)
                coming = b""
        await part.edge()
    assert [cobs.decode(frame) for frame in frames] == expected
    longest = [len(data) + 1 + len(data) // 254 for data in expected]
    assert all(len(frame) <= most for frame, most in zip(frames, longest, strict=True))


async def put(part: Part, data: bytes):
    """Bytes from the line, one every few cycles; none waits."""
    for byte in data:
        part.set(i__valid=1, i__payload=byte)
        await part.edge()
        part.set(i__valid=0)
        await part.edge()


async def get(part: Part, source: random.Random) -> tuple[bytes, bool]:
    """What the waiting frame decodes to, and whether its end is sound; then it is released."""
    part.set(start=1, o__ready=0, index=0)
    await part.settled()
    assert part.get("pending")
    await part.edge()
    part.set(start=0)
    bits, taken = [], 0
    for _ in range(20_000):
        ready = source.random() < 0.9
        part.set(o__ready=ready, index=taken % 8)
        await part.settled()
        if part.get("end"):
            break
        if ready and part.get("o__valid"):
            item = part.get("o__payload")
            if not item & 2:
                bits.append(item & 1)
            taken += 1
        await part.edge()
    sound = part.get("end") and part.get("sound")
    await part.edge()
    part.set(o__ready=0, release=1)
    await part.edge()
    part.set(release=0)
    await part.edge()
    assert len(bits) % 8 == 0
    return bytes(sum(bit << n for n, bit in enumerate(bits[k:k + 8]))
                 for k in range(0, len(bits), 8)), bool(sound)


@cocotb.test(timeout_time=50, timeout_unit="ms")
@cocotb.parametrize(reader=READERS)
async def reader_decodes_what_was_stored(dut, reader):
    part, source = await prepare(dut, reader, **READER_IDLE)
    waiting = []
    for data in payloads(source):
        await put(part, cobs.encode(data) + b"\0")
        waiting.append(data)
        while waiting and (len(waiting) == 2 or source.random() < 0.5):
            assert await get(part, source) == (waiting.pop(0), True)
    for data in waiting:
        assert await get(part, source) == (data, True)


@cocotb.test(timeout_time=50, timeout_unit="ms")
@cocotb.parametrize(reader=READERS)
async def reader_sees_blocks_that_end_early(dut, reader):
    part, source = await prepare(dut, reader, **READER_IDLE)
    for _ in range(MANY):
        frame = cobs.encode(bytes(source.randrange(256) for _ in range(source.randint(4, 60))))
        cut = source.randrange(1, len(frame))
        try:
            cobs.decode(frame[:cut])
            whole = True
        except cobs.DecodeError:
            whole = False
        await put(part, frame[:cut] + b"\0")
        assert (await get(part, source))[1] == whole


@cocotb.test(timeout_time=50, timeout_unit="ms")
@cocotb.parametrize(reader=READERS)
async def slots_lose_what_does_not_fit(dut, reader):
    """A third frame is lost as a whole or in part; the two before it stay as they are."""
    part, source = await prepare(dut, reader, **READER_IDLE)
    first, second, third = (bytes([n]) * (100 * n) for n in (1, 2, 3))
    for data in (first, second, third):
        await put(part, cobs.encode(data) + b"\0")
    assert await get(part, source) == (first, True)
    assert await get(part, source) == (second, True)
    await part.settled()
    assert not part.get("pending")
    await part.edge()
    # Longer than a slot: what remains is its end, whose blocks do not fit together here.
    long = cobs.encode(bytes([9]) * (SLOT_BYTES + 300))
    await put(part, long + b"\0" + cobs.encode(first) + b"\0")
    assert (await get(part, source))[0] != bytes([9]) * (SLOT_BYTES + 300)
    assert await get(part, source) == (first, True)
    # While booting, the third one waits.
    part.set(hold=1)
    for data in (first, second):
        await put(part, cobs.encode(data) + b"\0")
    part.set(i__valid=1, i__payload=5)
    await part.settled()
    assert not part.get("i__ready")
    await part.edge()
    assert SLOT_BITS == 9


@cocotb.test(timeout_time=50, timeout_unit="ms")
async def crc_is_that_of_zlib(dut):
    part, source = await prepare(dut, "crc", clear=0, step=0, bit=0, give=0)
    for _ in range(MANY):
        data = bytes(source.randrange(256) for _ in range(source.randint(0, 20)))
        part.set(clear=1)
        await part.edge()
        part.set(clear=0)
        wrong = source.randrange(64)
        sums = zlib.crc32(data) ^ (1 << wrong if wrong < 32 else 0)
        differs = []
        bits = [(byte >> n & 1, 0) for byte in data for n in range(8)]
        for bit, give in bits + [(sums >> n & 1, 1) for n in range(32)]:
            while source.random() < 0.3:
                part.set(step=0, bit=source.randrange(2))
                await part.edge()
            part.set(step=1, bit=bit, give=give)
            await part.settled()
            if give:
                differs.append(part.get("differs"))
                assert part.get("o") == bit ^ differs[-1]
            await part.edge()
        assert [n for n, d in enumerate(differs) if d] == ([wrong] if wrong < 32 else [])


async def line(part: Part, bits, cycles: float, source: random.Random):
    """Levels of the pin rx, so many cycles each, and what comes out meanwhile."""
    got, now = [], 0.0
    for bit in bits:
        now += cycles
        part.set(rx=bit)
        while now >= 1:
            now -= 1
            await part.settled()
            if part.get("o__valid"):
                got.append(part.get("o__payload"))
            await part.edge()
    return got


@cocotb.test(timeout_time=50, timeout_unit="ms")
async def receiver_takes_bytes_of_clocks_that_differ(dut):
    for name, divisor in (("fast", 4), ("slow", 24)):
        part, source = await prepare(dut, f"rx_{name}", rx=1, other__valid=0, choose=0, o__ready=1)
        errors = (1.0,) if divisor < 8 else (0.97, 1.0, 1.03)
        for error in errors:
            data = [source.randrange(256) for _ in range(100)] + [0, 255, 0, 0x55]
            bits = []
            for byte in data:
                bits += [0, *(byte >> n & 1 for n in range(8)), *[1] * source.choice([1, 1, 2, 5])]
            got = await line(part, [1] * 20 + bits + [1] * 30, divisor * error, source)
            assert got == data, (name, error)
        # Without stop bit there is no byte; the next one is.
        bits = [0] * 10 + [1] * 12 + [0, *[0, 1] * 4, 0] + [1] * 12 + [0, *[1, 0] * 4, 1] + [1] * 9
        assert await line(part, bits, divisor, source) == [0x55]


@cocotb.test(timeout_time=50, timeout_unit="ms")
async def receiver_takes_bytes_from_elsewhere(dut):
    part, source = await prepare(dut, "rx_slow", rx=0, other__valid=0, choose=1, o__ready=0)
    data, got, position = [source.randrange(256) for _ in range(200)], [], 0
    while len(got) < len(data):
        offer, ready = position < len(data) and source.random() < 0.6, source.random() < 0.4
        part.set(other__valid=offer, other__payload=data[position] if offer else 0, o__ready=ready)
        await part.settled()
        if ready and part.get("o__valid"):
            got.append(part.get("o__payload"))
        if offer and part.get("other__ready"):
            position += 1
        await part.edge()
    assert got == data


@cocotb.test(timeout_time=50, timeout_unit="ms")
async def transmitter_sends_without_pauses(dut):
    for name, divisor in (("fast", 4), ("slow", 24)):
        part, source = await prepare(dut, f"tx_{name}", i__valid=0)
        data, levels, position = [source.randrange(256) for _ in range(30)], [], 0
        for _ in range(10 * divisor * len(data) + 3 * divisor):
            offer = position < len(data)
            part.set(i__valid=offer, i__payload=data[position] if offer else 0)
            await part.settled()
            levels.append(part.get("tx"))
            if offer and part.get("i__ready"):
                position += 1
            await part.edge()
        begin = levels.index(0)
        assert begin <= divisor + 2
        sampled = levels[begin + divisor // 2::divisor]
        for byte in data:
            assert sampled[:10] == [0, *(byte >> n & 1 for n in range(8)), 1]
            sampled = sampled[10:]
        assert all(sampled)
