"""Memories and multipliers in Verilog: random and corner numbers, every cycle, exact latency."""

import random

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge

from tb.bench import parameters

CYCLES = 1500


class Ram1R1W:
    """Drives one ``Ram1R1W`` and checks what it reads."""

    def __init__(self, dut, name: str, spec: dict):
        self.pins = {pin: getattr(dut, f"{name}__{pin}")
                     for pin in ("w_en", "w_addr", "w_data", "r_addr", "r_data")}
        self.name, self.spec, self.words, self.checks = name, spec, {}, 0
        self.expected = [None] * spec["latency"]

    def cycle(self):
        """Compare what leaves the memory, then give it the next access."""
        wanted = self.expected.pop(0)
        if wanted is not None:
            self.checks += 1
            assert int(self.pins["r_data"].value) == wanted, self.name
        w_addr, r_addr = (random.choice(self.spec["addresses"]) for _ in range(2))
        write, data = random.random() < 0.5, random.getrandbits(self.spec["width"])
        for pin, value in (("w_en", write), ("w_addr", w_addr), ("w_data", data),
                           ("r_addr", r_addr)):
            self.pins[pin].value = int(value)
        collide = write and w_addr == r_addr
        self.expected.append(None if collide else self.words.get(r_addr))
        if write:
            self.words[w_addr] = data


class RamRW:
    """Drives one ``RamRW`` through all its ports and checks what it reads."""

    def __init__(self, dut, name: str, spec: dict):
        self.ports = [{pin: getattr(dut, f"{name}__p{n}__{pin}")
                       for pin in ("en", "we", "addr", "w_data", "r_data")}
                      for n in range(spec["ports"])]
        self.name, self.spec, self.words, self.checks = name, spec, {}, 0
        self.expected = [[None] * spec["latency"] for _ in self.ports]
        self.parts = spec["width"] // spec["mask"]

    def cycle(self):
        """Compare what leaves the ports, then give them the next accesses."""
        accesses = []
        for pins, expected in zip(self.ports, self.expected, strict=True):
            wanted = expected.pop(0)
            if wanted is not None:
                self.checks += 1
                assert int(pins["r_data"].value) == wanted, self.name
            addr = random.choice(self.spec["addresses"])
            enable = random.random() < 0.9
            mask = random.choice([0, 0, (1 << self.spec["mask"]) - 1,
                                  random.getrandbits(self.spec["mask"])])
            mask *= enable
            data = random.getrandbits(self.spec["width"])
            if accesses and accesses[0][:2] == (True, addr):
                mask = 0  # writes at one address are undefined
            accesses.append((enable and mask > 0, addr, mask, data, enable))
            for pin, value in (("en", enable), ("we", mask), ("addr", addr), ("w_data", data)):
                pins[pin].value = int(value)
        writes = [access[:2] for access in accesses]
        for expected, (write, addr, _, _, enable) in zip(self.expected, accesses, strict=True):
            known = enable and not write and (True, addr) not in writes
            expected.append(self.words.get(addr) if known else None)
        for write, addr, mask, data, _ in accesses:
            if write:
                self.write(addr, mask, data)

    def write(self, addr: int, mask: int, data: int):
        """Change the parts of a word that the mask selects; a word counts once all are known."""
        bits = sum(((1 << self.parts) - 1) << (n * self.parts)
                   for n in range(self.spec["mask"]) if mask >> n & 1)
        if addr in self.words or mask == (1 << self.spec["mask"]) - 1:
            self.words[addr] = self.words.get(addr, 0) & ~bits | data & bits


class Multiplier:
    """Drives the operands of a multiplier and checks its products, or these with terms added.

    ``spec["added"]``: pins of the terms, which come so many cycles after the operands.
    """

    def __init__(self, dut, name: str, spec: dict):
        self.pins = [[getattr(dut, f"{name}__{pin}") for pin in pins] for pins in spec["pins"]]
        self.name, self.spec, self.checks = name, spec, 0
        self.expected = [None] * spec["latency"]
        pins, late = spec.get("added", ([], 0))
        self.added = [getattr(dut, f"{name}__{pin}") for pin in pins]
        self.terms = [[0] * len(pins)] * late

    def cycle(self):
        """Compare the products, then give the next operands."""
        wanted = self.expected.pop(0)
        if wanted is not None:
            self.checks += 1
            got = [product.value.to_signed() for *_, product in self.pins]
            assert got == wanted, self.name
        products = []
        for a, b, _ in self.pins:
            x, y = (random.choice([low, high, 0, 1, max(-1, low), random.randint(low, high),
                                   random.randint(low, high)])
                    for low, high in self.spec["ranges"])
            a.value, b.value = x & (1 << len(a)) - 1, y & (1 << len(b)) - 1
            products.append(x * y)
        if self.added:
            self.terms.append([random.choice([-2**15, 2**15 - 1, -1, 0, random.randint(-9, 9)])
                               for _ in self.added])
            products = [a + b for a, b in zip(products, self.terms[-1], strict=True)]
            for pin, term in zip(self.added, self.terms.pop(0), strict=True):
                pin.value = term & (1 << len(pin)) - 1
        self.expected.append(products)


class Sum:
    """Drives the terms and gates of a ``GatedSum`` and checks what it gave for the last ones."""

    def __init__(self, dut, name: str, spec: dict):
        self.pins = {pin: getattr(dut, f"{name}__{pin}")
                     for pin in ("a", "a_on", "b", "b_on", "s")}
        self.name, self.spec, self.checks, self.expected = name, spec, 0, None

    def cycle(self):
        """Compare the sum, then give the next terms."""
        if self.expected is not None:
            self.checks += 1
            assert int(self.pins["s"].value) == self.expected, self.name
        terms = [random.choice([low, high, 0, -1, random.randint(low, high)])
                 for low, high in self.spec["ranges"]]
        gates = [random.random() < 0.75 for _ in terms]
        for name, term, gate in zip("ab", terms, gates, strict=True):
            self.pins[name].value = term & (1 << len(self.pins[name])) - 1
            self.pins[f"{name}_on"].value = int(gate)
        a, b = (term * gate for term, gate in zip(terms, gates, strict=True))
        self.expected = (b - a if self.spec["subtract"] else b + a) & (1 << self.spec["width"]) - 1


DRIVERS = {"1r1w": Ram1R1W, "rw": RamRW, "mult": Multiplier, "sum": Sum}


async def start(dut):
    """Clock without reset: none of the cells needs one."""
    if hasattr(dut, "rst"):
        dut.rst.value = 0
    cocotb.start_soon(Clock(dut.clk, 10, "ns").start())
    await FallingEdge(dut.clk)


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def cells_answer_every_cycle_after_their_latency(dut):
    await start(dut)
    drivers = [DRIVERS[spec["kind"]](dut, name, spec) for name, spec in parameters().items()]
    assert drivers
    for _ in range(CYCLES):
        for driver in drivers:
            driver.cycle()
        await FallingEdge(dut.clk)
    for driver in drivers:
        assert driver.checks > CYCLES // 5, f"{driver.name}: only {driver.checks} checks"


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def models_equal_reference(dut):
    """Every output ``ours_x`` equals ``theirs_x`` while random numbers enter the other pins."""
    await start(dut)
    spec = parameters()
    for _ in range(CYCLES):
        for pin, width in spec["inputs"].items():
            value = random.getrandbits(width)
            if "addr" in pin:
                value &= ~0x0F8  # few words, so that reads find what was written
            getattr(dut, pin).value = value
        await FallingEdge(dut.clk)
        if dut.skip.value == 0:
            for name in spec["outputs"]:
                ours, theirs = (getattr(dut, f"{who}_{name}").value for who in ("ours", "theirs"))
                assert ours == theirs, name
