"""DP16KD and MULT18X18D: random pins and clocks, every output after every edge."""

import random

import cocotb
from cocotb.triggers import Timer

from tb.bench import parameters
from tb.cell_reference import BlockRam, Multiplier

STEPS = 600
LINES = (0, 1, 255, 256, 511)    # few, so that reads find what was written


def block_ram_pins() -> dict[str, int]:
    """Pins of both ports; they write different lines, as both at one bit is undefined."""
    pins = {}
    lines = random.sample(LINES, 2)
    for port, line in zip("AB", lines, strict=True):
        pins |= {f"ad_{port}": line << 5 | random.getrandbits(5),
                 f"di_{port}": random.getrandbits(18),
                 f"ce_{port}": random.random() < 0.9, f"oce_{port}": random.random() < 0.8,
                 f"rst_{port}": random.random() < 0.05, f"we_{port}": random.random() < 0.5,
                 f"cs_{port}": random.choice([0, 0, 0, 5, random.getrandbits(3)])}
    if not (pins["we_A"] and pins["we_B"]):
        pins["ad_B"] = pins["ad_B"] % 32 | random.choice(lines) << 5
    return {name: int(value) for name, value in pins.items()}


def multiplier_pins() -> dict[str, int]:
    """Operands at their limits or any, controls."""
    operands = {name: random.choice([0, 1, 0x1FFFF, 0x20000, 0x3FFFF, random.getrandbits(18)])
                for name in ("A", "B", "SRIA", "SRIB")}
    return operands | {"SIGNEDA": random.getrandbits(1), "SIGNEDB": random.getrandbits(1),
                       "SOURCEA": int(random.random() < 0.2), "SOURCEB": int(random.random() < 0.2),
                       "CE": random.getrandbits(4) | random.getrandbits(4),
                       "RST": random.getrandbits(4) & random.getrandbits(4) & random.getrandbits(4)}


async def drive(dut, pins: dict[str, int]):
    for name, value in pins.items():
        getattr(dut, name).value = value
    await Timer(1, "ns")


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def block_rams_equal_the_reference(dut):
    """Ports are clocked alone or together; falling edges count where the clock is inverted."""
    specs = parameters()["cells"]
    cells = [BlockRam(spec) for spec in specs]
    checks = [0] * len(cells)
    pins = {"clk_A": 0, "clk_B": 0}
    await drive(dut, pins)
    for _ in range(STEPS):
        pins |= block_ram_pins()
        await drive(dut, pins)
        ports = random.choice(["A", "B", "AB", "AB"])
        for level in (1, 0):
            for cell in cells:
                cell.settle(pins)
            await drive(dut, {f"clk_{port}": level for port in ports})
            shown = {port: int(getattr(dut, f"do_{port}").value) for port in "AB"}
            for n, cell in enumerate(cells):
                mine = "".join(port for port in ports if level ^ (
                    cell.parameters[f"CLK{port}MUX"] == "INV"))
                cell.edge(mine, pins)
                for port in "AB":
                    wanted = cell.shown(port)
                    got = [shown[port] >> 18 * n + bit & 1 for bit in range(len(wanted))]
                    assert all(bit in (None, mine) for bit, mine in zip(wanted, got, strict=True)
                               ), (port, wanted, got, specs[n])
                    checks[n] += len(wanted) - wanted.count(None)
    assert min(checks) > STEPS, checks


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def multipliers_equal_the_reference(dut):
    cells = [Multiplier(spec) for spec in parameters()["cells"]]
    await drive(dut, {"CLK": 0} | multiplier_pins())
    for _ in range(STEPS):
        pins = multiplier_pins()
        await drive(dut, pins)
        for cell in cells:
            cell.settle(pins)
        clocks = [n for n in range(4) if random.random() < 0.7]
        await drive(dut, {"CLK": sum(1 << n for n in clocks)})
        product = int(dut.P.value)
        for n, cell in enumerate(cells):
            cell.edge(clocks, pins)
            assert product >> 36 * n & (1 << 36) - 1 == cell.values(pins)["P"], cell.parameters
        await drive(dut, {"CLK": 0})
