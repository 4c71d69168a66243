"""Reads an SPI flash over 1, 2 or 4 wires, a pulse of its clock a cycle."""

from amaranth import Cat, Const, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.flash.layout import PADS, READS, FlashConfig, Opcode

OPCODE_BITS, ADDRESS_BITS, DUMMY_PULSES = 8, 24, 8
COMMAND_PULSES = OPCODE_BITS + ADDRESS_BITS + DUMMY_PULSES    # the last one brings the first bits
SKIP_BIT = ADDRESS_BITS - 1 - 2                               # of the address, the highest first


class FlashReader(wiring.Component):
    """Sends one command, then takes bits for as long as it is selected.

    Parameters
    ----------
    config : FlashConfig

    Members
    -------
    pads : Out(PADS)
    on : In(1)
        As it rises a read begins; while it is low the flash is not selected.
    wake : In(1)
        The command ends deep power-down instead.
    skip : In(1)
        Read from 4 bytes behind the image's begin on.
    bytewise, more : In(1)
        Pulses come in groups, a byte each or a word of 32 bits; one begins when ``more`` is high.
    came, last : Out(1), data : Out(width)
        ``data`` has the next bits, the highest first; they are the last ones of a group.
    still : Out(1)
        All that was clocked has come.

    Behaviour
    ---------
    Bits come `latency` cycles after the one in which ``more`` was high. Over one or two wires WP#
    and HOLD# are high; over four they are let go with the others, behind the address.

    Source
    ------
    Commands as in the data sheets of W25Q128JV, IS25LP128F, GD25Q16 and S25FL256S.
    """

    def __init__(self, config: FlashConfig):
        self.config = config
        super().__init__({
            "pads": Out(PADS), "on": In(1), "wake": In(1), "skip": In(1), "bytewise": In(1),
            "more": In(1), "came": Out(1), "last": Out(1), "data": Out(config.width),
            "still": Out(1)})

    @staticmethod
    def latency(config: FlashConfig) -> int:
        """Cycles from the decision to send a pulse to the bits that it brings."""
        return 1 + config.sample

    def elaborate(self, platform):
        m = Module()
        width = self.config.width
        before = COMMAND_PULSES - 1
        count, reading, run = Signal(range(before)), Signal(), Signal()
        word, byte = (32 // width).bit_length() - 1, (8 // width).bit_length() - 1
        border = ((count[:byte] == before % (1 << byte))
                  & (self.bytewise | (count[byte:word] == before % (1 << word) >> byte)))
        m.d.comb += run.eq(self.on & (~reading | ~border | self.more)
                           & ((self.config.pace == 1) | ~self.pads.sck))
        m.d.sync += [self.pads.cs_n.eq(~self.on), self.pads.sck.eq(run), count.eq(count + run),
                     reading.eq(reading | run & (count == before - 1))]
        came, last = Signal(), border       # of the pulse that is at the pad
        m.d.sync += came.eq(run & reading)
        on_way = [came]
        for _ in range(self.config.sample):
            last, former = Signal(), last
            m.d.sync += last.eq(former)
            on_way.append(Signal())
            m.d.sync += on_way[-1].eq(on_way[-2])
        with m.If(~self.on):
            m.d.sync += [count.eq(0), reading.eq(0), *(bit.eq(0) for bit in on_way)]
        m.d.comb += [self.came.eq(on_way[-1]), self.last.eq(last),
                     self.still.eq(~Cat(on_way).any()),
                     self.data.eq(self.pads.dq_i[1] if width == 1 else self.pads.dq_i)]
        self._command(m, count, reading)
        return m

    def _command(self, m, count, reading):
        """Opcode and address on the first wire, the highest bit first."""
        config = self.config
        words = [opcode << ADDRESS_BITS | config.address
                 for opcode in (READS[config.width], Opcode.RELEASE)]
        bits = [Const(int(f"{word:032b}"[::-1], 2), 1 << len(count)).bit_select(count, 1)
                for word in words]
        skip = self.skip & (count == OPCODE_BITS + SKIP_BIT)
        sends = Signal()
        m.d.sync += [sends.eq(self.on & ~reading & (count < OPCODE_BITS + ADDRESS_BITS)),
                     self.pads.dq_o[0].eq(Mux(self.wake, bits[1], bits[0]) | skip)]
        others = sends if config.width == 4 else 1
        m.d.comb += [self.pads.dq_o[2:].eq(0b11), self.pads.dq_oe.eq(Cat(sends, 0, others, others))]
