"""Clock, reset and pads of a board's top, block by block."""

import pytest
from amaranth.sim import Simulator

from boards.rim.clock import PowerOnReset
from boards.rim.flash import Pulses

PERIOD = 10e-9


def run(part, bench):
    """Simulate a test bench beside a part; the clock rises in the middle of each period."""
    simulator = Simulator(part)
    simulator.add_clock(PERIOD)
    simulator.add_testbench(bench)
    simulator.run()


def test_flash_clock_is_high_in_the_second_half_of_enabled_cycles():
    part, wanted = Pulses(), [0, 1, 0, 0, 1, 1, 1, 0, 1, 0, 1, 1, 0, 0]
    seen, expected = [], []

    async def bench(ctx):
        for enable in wanted:
            await ctx.tick()
            ctx.set(part.enable, enable)
            for _ in range(4):                       # two looks in each half of the cycle
                await ctx.delay(PERIOD / 5)
                seen.append(ctx.get(part.clk))
            expected.extend([0, 0, enable, enable])
    run(part, bench)
    assert seen == expected


@pytest.mark.parametrize("clock_hz", (24_000_000, 80_000_000))
def test_reset_lasts_until_its_time_after_a_steady_clock(clock_hz):
    part, lasted = PowerOnReset(clock_hz), []

    async def bench(ctx):
        for unsteady in (20, 7):                     # the clock is lost once
            ctx.set(part.locked, 0)
            await ctx.tick().repeat(unsteady)
            assert ctx.get(part.rst)
            ctx.set(part.locked, 1)
            cycles = 0
            while ctx.get(part.rst):
                await ctx.tick()
                cycles += 1
            lasted.append(cycles)
            await ctx.tick().repeat(50)
            assert not ctx.get(part.rst)
    run(part, bench)
    assert all(5e-6 <= cycles / clock_hz < 20e-6 for cycles in lasted)
