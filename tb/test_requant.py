"""Requantizer: bit-exact at every rate, latency as promised."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hw.config import MULTIPLIERS, CoreConfig
from hw.requant import Requantizer
from sim.golden.arithmetic import mbqm
from tb.bench import run_cocotb, simulate, verilog
from tb.requant_reference import (
    INT32_MAX,
    INT32_MIN,
    Item,
    Limits,
    corner_items,
    is_legal,
    random_items,
    requant_reference,
    rounding_divide_by_pot,
    scaled,
    tie_items,
    wrap32,
)

CONFIGS = {
    "1_lut": {"Q": 1, "multiplier": "lut"},
    "1_mult18x18d": {"Q": 1, "multiplier": "mult18x18d"},
    "2_sb_mac16": {"Q": "1/2", "multiplier": "sb_mac16"},
    "4_sb_mac16": {"Q": "1/4", "multiplier": "sb_mac16"},
}
INT8 = st.integers(-128, 127)
INT32 = st.integers(INT32_MIN, INT32_MAX)


@pytest.mark.parametrize("name", CONFIGS)
def test_requant_verilog_equals_the_two_step_rule(name, tmp_path):
    config = CoreConfig(**CONFIGS[name])
    given = {"beat_cycles": config.beat_cycles, "latency": Requantizer.latency(config), "seed": 7}
    run_cocotb(Requantizer(config), "tb.cocotb_requant", name=name, work_dir=tmp_path,
               parameters=given)


@pytest.mark.parametrize(("q", "multipliers"), [(1, ("lut", "sb_mac16")), ("1/2", MULTIPLIERS),
                                                ("1/4", MULTIPLIERS)])
def test_requant_without_dsps_is_the_same_for_every_multiplier(q, multipliers):
    texts = {verilog(Requantizer(CoreConfig(Q=q, multiplier=name))) for name in multipliers}
    assert len(texts) == 1
    assert "MULT18X18D" not in texts.pop()


@pytest.mark.parametrize(("q", "cycles"), [(1, 14), ("1/2", 11), ("1/4", 17)])
def test_requant_latency_is_what_the_drain_was_planned_with(q, cycles):
    assert Requantizer.latency(CoreConfig(Q=q)) == cycles


def test_reference_equals_the_golden_model():
    items = corner_items() + tie_items(random.Random(1), 3000)
    items += random_items(random.Random(2), 9000)
    items = [item for item in items if item.multiplier < 2**31]
    psums = np.array([wrap32(item.acc + item.bias) for item in items], np.int64)
    factors = np.array([item.multiplier for item in items], np.int64)
    exponents = np.array([-item.shift for item in items], np.int64)
    ours = [rounding_divide_by_pot(scaled(item), item.shift) for item in items]
    assert ours == mbqm(psums, factors, exponents).tolist()


def test_doubled_multiplier_equals_a_left_shift_in_the_golden_model():
    rng = random.Random(3)
    items = [Item(rng.randrange(-2**30, 2**30), 0, 2 * rng.randrange(2**30, 2**31), 0, 0)
             for _ in range(3000)]
    psums = np.array([item.acc for item in items], np.int64)
    factors = np.array([item.multiplier // 2 for item in items], np.int64)
    assert [scaled(item) for item in items] == mbqm(psums, factors, np.array(1)).tolist()


@pytest.mark.parametrize("q", [1, "1/2", "1/4"])
@settings(max_examples=12, deadline=None)
@given(values=st.lists(st.tuples(INT32, INT32, st.integers(0, 2**32 - 1), st.integers(0, 31),
                                 st.integers(0, 1), st.integers(0, 5)), min_size=1, max_size=12),
       limits=st.tuples(INT8, INT8, INT8, INT8, INT8, INT8))
def test_requant_equals_reference_for_any_values_and_gaps(q, values, limits):
    config = CoreConfig(Q=q, multiplier="lut")
    sets = (Limits(limits[0], *sorted(limits[1:3])), Limits(limits[3], *sorted(limits[4:])))
    pairs = [(Item(*value[:5]), value[5]) for value in values]
    pairs = [(item, gap) for item, gap in pairs if is_legal(item)]
    assert run(config, pairs, sets) == [(requant_reference(item, sets), item.second)
                                        for item, _ in pairs]


def run(config: CoreConfig, pairs, sets) -> list[tuple[int, int]]:
    """Bytes and their second, of items that are followed by gaps."""
    dut = Requantizer(config)
    schedule, cycle = {}, 0
    for item, gap in pairs:
        schedule[cycle] = item
        cycle += config.beat_cycles + gap
    got = []

    async def process(ctx):
        for prefix, limits in zip(("", "add_"), sets, strict=True):
            for name in ("zero_point", "low", "high"):
                ctx.set(getattr(dut, prefix + name), getattr(limits, name))
        for now in range(cycle + Requantizer.latency(config) + 1):
            item = schedule.get(now)
            ctx.set(dut.i_valid, item is not None)
            if item is not None:
                ctx.set(dut.i.as_value(), item.word)
            if ctx.get(dut.o_valid):
                got.append((ctx.get(dut.o), ctx.get(dut.o_second)))
            await ctx.tick()

    simulate(dut, process)
    return got
