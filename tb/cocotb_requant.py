"""Requantizer's Verilog against the two-step rule of TensorFlow Lite Micro."""

import random

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge

from tb.bench import parameters
from tb.requant_reference import (
    SETS,
    corner_items,
    random_items,
    random_limits,
    requant_reference,
    tie_items,
)


def apply(dut, sets):
    """Drive both sets of zero point and limits."""
    for prefix, limits in zip(("", "add_"), sets, strict=True):
        for name in ("zero_point", "low", "high"):
            getattr(dut, prefix + name).value = getattr(limits, name) & 0xFF


async def check(dut, items, sets, gap):
    """Send items ``beat_cycles + gap()`` cycles apart; each byte must come after latency cycles."""
    given = parameters()
    beat_cycles, latency = given["beat_cycles"], given["latency"]
    await FallingEdge(dut.clk)
    apply(dut, sets)
    due, cycle, free, waiting = [], 0, 0, iter(items)
    item = next(waiting)
    while item is not None or due:
        valid = bool(dut.o_valid.value)
        assert valid == (bool(due) and due[0][0] == cycle), f"o_valid is {valid} at {cycle}: {due}"
        if valid:
            _, sent = due.pop(0)
            expected = requant_reference(sent, sets)
            got = dut.o.value.to_signed()
            assert got == expected, f"{got}, not {expected}: {sent}, {sets}"
            assert int(dut.o_second.value) == sent.second
        send = item is not None and cycle >= free
        dut.i_valid.value = send
        dut.i.value = item.word if send else random.getrandbits(102)
        if send:
            due.append((cycle + latency, item))
            free = cycle + beat_cycles + gap()
            item = next(waiting, None)
        await FallingEdge(dut.clk)
        cycle += 1


async def start(dut):
    """Clock, reset, and time for the multiplier's pipeline to flush."""
    cocotb.start_soon(Clock(dut.clk, 10, "ns").start())
    dut.i_valid.value = 0
    dut.rst.value = 1
    for _ in range(4):
        await FallingEdge(dut.clk)
    dut.rst.value = 0
    for _ in range(20):
        await FallingEdge(dut.clk)


@cocotb.test(timeout_time=10, timeout_unit="ms")
async def corners_back_to_back(dut):
    """Extreme psums and multipliers at every shift, with every set of limits in turn."""
    await start(dut)
    items = corner_items()
    for n, sets in enumerate(SETS):
        await check(dut, items[n::len(SETS)], sets, lambda: 0)


@cocotb.test(timeout_time=10, timeout_unit="ms")
async def ties_and_random_values_with_gaps(dut):
    """Rounding ties and random values, at the full rate and with random gaps."""
    await start(dut)
    rng = random.Random(parameters()["seed"])
    for gaps in ((0,), (0, 0, 0, 1, 2), (0, 1, 3, 7, 25)):
        for sets in (SETS[0], (random_limits(rng), random_limits(rng))):
            items = tie_items(rng, 300) + random_items(rng, 700)
            rng.shuffle(items)
            await check(dut, items, sets, lambda gaps=gaps: rng.choice(gaps))
