"""The host port under the bus model of cocotbext-wishbone: data, parts of words, errors."""

import random

import cocotb
from cocotb.triggers import with_timeout
from cocotbext.wishbone.driver import WBOp, WishboneMaster

from hw.config import PROGRAM_VERSION, CoreConfig
from hw.layout import MAGIC, REGISTERS, Space
from hw.stores import space_words
from tb.bench import parameters
from tb.drive import start

NAMES = {"datwr": "dat_w", "datrd": "dat_r"} | {n: n for n in ("cyc", "stb", "we", "adr", "ack")}
NUMBER = {name: number for name, number, *_ in REGISTERS}
ACK, ERR = 1, 2
LONGEST = 50        # cycles of an access


@cocotb.test(timeout_time=2, timeout_unit="ms")
@cocotb.parametrize(idle=[0, 3])
async def accesses_are_answered(dut, idle):
    """Back to back in one cycle of the bus, or with pauses: what was written, or err."""
    config, rng = CoreConfig(**parameters()["config"]), random.Random(1)
    bus = WishboneMaster(dut, "bus_", dut.clk, width=32, timeout=LONGEST, signals_dict=NAMES)
    bus.log.setLevel("ERROR")
    await start(dut)

    async def access(*operations) -> list[tuple[int, int]]:
        """Answers and what was read; operations are (space, word[, data[, sel]])."""
        ops = [WBOp(space << config.space_bits | word, idle=rng.randint(0, idle),
                    acktimeout=LONGEST, **dict(zip(("dat", "sel"), more, strict=False)))
               for space, word, *more in operations]
        done = await with_timeout(bus.send_cycle(ops), 100, "us")
        return [(reply.ack, int(reply.datrd)) for reply in done]

    words = space_words(config)[Space.ACT]
    memory = {word: rng.getrandbits(32) for word in rng.sample(range(words), 60)}
    written = await access(*((Space.ACT, word, data) for word, data in memory.items()))
    assert [answer for answer, _ in written] == [ACK] * len(memory)
    for word, data in memory.items():       # parts change nothing
        sel = rng.randint(0, 14)
        (answer, _), read = await access((Space.ACT, word, ~data & 0xFFFFFFFF, sel),
                                         (Space.ACT, word))
        assert (answer, read) == (ERR, (ACK, data))
    read = await access(*((Space.ACT, word) for word in memory))
    assert read == [(ACK, data) for data in memory.values()]
    read = await access(*((Space.REGS, NUMBER[name]) for name in ("ID", "VERSION", "CONFIG")))
    assert read == [(ACK, value) for value in (MAGIC, PROGRAM_VERSION, config.hash)]
    for wrong in ((Space.WEIGHT, 0), (Space.ACT, words), (Space.ACT, words, 1),
                  (Space.REGS, NUMBER["ID"], 1), (Space.REGS, NUMBER["PROGRAM"], 1, 0x7)):
        assert (await access(wrong))[0][0] == ERR, wrong
