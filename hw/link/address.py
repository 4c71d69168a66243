"""The address of the bus, in a register that only shifts."""

from amaranth import Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.config import CoreConfig
from hw.layout import Space
from hw.link.protocol import CONTROL, address_bits


class Address(wiring.Component):
    """Takes an address bit by bit and counts it up the same way.

    Parameters
    ----------
    config : CoreConfig

    Members
    -------
    clear : In(1)
        A packet begins.
    index : In(5), bit : In(1), load : In(1)
        Bit of the address word; it is taken.
    turn : In(1), final : In(1)
        Bit `index` of another word moves; no access follows.
    used : In(1)
        An access was made: the next word goes to the next address.
    o : Out(address of the bus)
    bad : Out(1)
        The address does not exist.
    control : Out(1)
        It is the register CONTROL (or another register whose number ends alike; there is none).

    Behaviour
    ---------
    The address of the next access is there after `turn` for a whole word.
    """

    def __init__(self, config: CoreConfig):
        self.config = config
        super().__init__({
            "clear": In(1), "index": In(5), "bit": In(1), "load": In(1), "turn": In(1),
            "final": In(1), "used": In(1), "o": Out(len(address_bits(config))),
            "bad": Out(1), "control": Out(1)})

    def elaborate(self, platform):
        m = Module()
        address, carry = Signal.like(self.o, reset_less=True), Signal(reset_less=True)
        bad = Signal(reset_less=True)
        bits, space_bits = address_bits(self.config), self.config.space_bits
        used, within = Signal(32), Signal(32)
        m.d.comb += [
            self.o.eq(address), self.bad.eq(bad),
            used.eq(sum(1 << bit for bit in bits)), within.eq((1 << len(bits)) - 1),
            self.control.eq((address[space_bits:] == Space.REGS) & (address[:3] == CONTROL)),
        ]
        with m.If(self.load):
            with m.If(used.bit_select(self.index, 1)):
                m.d.sync += address.eq(Cat(address[1:], self.bit))
            with m.Elif(self.bit):
                m.d.sync += bad.eq(1)
        with m.If(self.turn & within.bit_select(self.index, 1)):
            m.d.sync += [address.eq(Cat(address[1:], address[0] ^ carry)),
                         carry.eq(carry & address[0])]
            with m.If((self.index == space_bits) & carry & ~self.final):   # the space ends here
                m.d.sync += bad.eq(1)
        with m.If(self.used):
            m.d.sync += carry.eq(1)
        with m.If(self.clear):
            m.d.sync += [carry.eq(0), bad.eq(0)]
        return m
