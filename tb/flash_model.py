"""An SPI flash for cocotb that answers as its data sheet says and objects to everything else."""

import random
from collections import deque
from dataclasses import dataclass, field

import cocotb
from cocotb.triggers import FallingEdge

from hw.flash.layout import Opcode

WIRES = {Opcode.READ: (1,), Opcode.READ_DUAL: (0, 1), Opcode.READ_QUAD: (0, 1, 2, 3)}
HEAD, DUMMIES = 32, 8      # clocks of opcode and address; behind them
IDENTITY = 0x17            # what RELEASE sends behind its head


@dataclass
class Flash:
    """A flash at the pins cs_n, sck, dq_o, dq_oe and dq_i of a part.

    Parameters
    ----------
    part : tb.drive.Part
    clk : handle
        Of the core; the flash's clock is ``sck & ~clk``.
    memory : bytes
        From address ``base`` on; 0xFF elsewhere.
    lag : int
        Cycles, and a half, from the end of a pulse to new outputs.
    rest : int
        Cycles that it takes to wake up.
    quad : bool
        Its QE bit: else the upper wires are WP# and HOLD#, and it knows no quad reads.
    """

    part: object
    clk: object
    memory: bytes
    base: int = 0
    lag: int = 0
    rest: int = 0
    quad: bool = True
    asleep: bool = True
    objections: list[str] = field(default_factory=list)
    opcodes: list[int] = field(default_factory=list)
    pulses: int = 0

    def __post_init__(self):
        self._rng = random.Random(self.base + self.lag)
        self._wires, self._outputs, self._due = (), 0, deque([None] * self.lag)
        self._head, self._count = 0, 0

    def start(self):
        """Answer from now on."""
        cocotb.start_soon(self._run())

    async def _run(self):
        part, selected, awake = self.part, False, 0
        for cycle in range(1 << 40):
            await FallingEdge(self.clk)
            self._answer()
            pins, enables = part.get("pads__dq_o"), part.get("pads__dq_oe")
            chosen, pulse = not part.get("pads__cs_n"), part.get("pads__sck")
            self._object(pulse and not chosen, "clocked without being selected")
            self._object(chosen and not selected and cycle < awake, "selected while it woke up")
            self._object(any(enables >> wire & 1 for wire in self._wires), "driven against")
            self._object(not self.quad and chosen and (enables & ~pins) >> 2, "held or protected")
            if selected and not chosen:
                if self.asleep and self._count >= 8 and self.opcodes[-1] == Opcode.RELEASE:
                    self.asleep, awake = False, cycle + self.rest
                self._wires, self._count = (), 0
            selected = chosen
            if chosen and pulse:
                self._pulse(pins if enables & 1 else self._rng.getrandbits(1))

    def _object(self, wrong, text):
        if wrong and text not in self.objections:
            self.objections.append(text)

    def _answer(self):
        """Drive what the pulse of some cycles ago brought; other wires float."""
        self._due.append((self._wires, self._outputs))
        wires, outputs = self._due.popleft() or ((), 0)
        floating = self._rng.getrandbits(4) & ~sum(1 << wire for wire in wires)
        self.part.set(pads__dq_i=floating | outputs)

    def _pulse(self, pins):
        """Rising edge: a bit of the head; falling edge: the next outputs."""
        self.pulses += 1
        self._count += 1
        if self._count <= HEAD:
            self._head = (self._head << 1 | pins & 1) & 0xFFFFFFFF
        if self._count == 8:
            self.opcodes.append(self._head & 0xFF)
        opcode = self.opcodes[-1] if self._count >= 8 else None
        if opcode == Opcode.RELEASE and self._count >= HEAD:
            self._send((1,), self._count - HEAD, lambda byte: IDENTITY)
        known = opcode in WIRES and (self.quad or opcode != Opcode.READ_QUAD)
        if known and not self.asleep and self._count >= HEAD + DUMMIES:
            self._send(WIRES[opcode], self._count - HEAD - DUMMIES, self._byte)

    def _byte(self, number):
        position = (self._head + number) % (1 << 24) - self.base
        return self.memory[position] if 0 <= position < len(self.memory) else 0xFF

    def _send(self, wires, step, byte):
        """The bits of one step, the highest on the highest wire."""
        number, part = divmod(step * len(wires), 8)
        bits = byte(number) >> 8 - part - len(wires) & (1 << len(wires)) - 1
        self._wires, self._outputs = wires, bits << wires[0]
