"""Boots from an image in flash, then serves its pages."""

from amaranth import Cat, Module, Mux, Signal, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hw.flash.layout import MAGIC, PADS, POLYNOMIAL, BootState, FlashConfig
from hw.flash.reader import COMMAND_PULSES, FlashReader

WORD = 32


class Boot(wiring.Component):
    """Checks the pages of an image, sends its frames to the link, then serves the pages.

    Parameters
    ----------
    config : FlashConfig

    Members
    -------
    pads : Out(PADS)
    frames : Out(stream of bytes)
        Of the link while ``booting``.
    booting, failed : Out(1), state : Out(BootState)
        The link hears the flash, not the line; there was an image, but not a good one; how far
        the boot is, or how it ended.
    armed, idle, refused : In(1)
        The link has executed COMMIT; it has nothing to do; in this cycle: it refuses a frame.
    pages : Out(stream of 32-bit words), rewind : In(1)
        Of the core: the pages from the first one on, as soon as ``rewind`` falls. Without pages
        that have been checked nothing comes.

    Behaviour
    ---------
    An image is MAGIC, the pages, the CRC-32 of the pages, and the frames. The CRC begins with
    MAGIC and ends the pages where it is the next word: no length has to be right for that, and
    whoever writes an image sees to it that no earlier word is. The frames end with COMMIT.
    Pages come at ``width / 8 / pace`` bytes a cycle, the first `latency` cycles after ``rewind``
    has fallen.

    Source
    ------
    CRC-32/MPEG-2 of the catalogue of parametrised CRC algorithms (the highest bit first, as the
    flash sends them) but for its initial value.
    """

    def __init__(self, config: FlashConfig):
        self.config = config
        super().__init__({
            "pads": Out(PADS), "frames": Out(stream.Signature(8)), "booting": Out(1, init=1),
            "failed": Out(1), "state": Out(BootState), "armed": In(1), "idle": In(1),
            "refused": In(1),
            "pages": Out(stream.Signature(unsigned(WORD))), "rewind": In(1)})

    @staticmethod
    def latency(config: FlashConfig) -> int:
        """Cycles from the first one without ``rewind`` to the first one with a word."""
        pulses = COMMAND_PULSES - 1 + WORD // config.width - 1
        return pulses * config.pace + FlashReader.latency(config) + 2

    def elaborate(self, platform):
        m = Module()
        config, state, phase = self.config, self.state, self.state.as_value()
        serving, loads, full = Signal(), Signal(), Signal(reset_less=True)
        # Bits as they come, or their CRC-32; the word that waits for the core, or the time.
        bits, word = Signal(WORD, init=MAGIC, reset_less=True), Signal(WORD)
        m.submodules.reader = reader = FlashReader(config)
        wiring.connect(m, reader.pads, wiring.flipped(self.pads))
        match, blank = self._check(m, reader, bits)
        ends = reader.came & reader.last
        move = serving & full & (~self.pages.valid | self.pages.ready)
        later = (word + serving.replicate(WORD) + 1)[:WORD]    # the mux finds room in its cells
        with m.If(~serving | move):
            m.d.sync += word.eq(Mux(serving, bits, later))
        rest, late = word[config.rest_bits:config.rest_bits + 2], word[config.patience_bits]
        m.d.comb += [
            serving.eq(phase[3]),
            self.failed.eq(phase[2] & (phase != BootState.EMPTY.value)),
            reader.wake.eq(~phase[1] & ~serving), reader.skip.eq(serving),
            loads.eq(phase[0] & ~phase[1]), reader.bytewise.eq(loads),
            reader.on.eq(Mux(serving, ~self.rewind, ~phase[2] & ~(
                (state == BootState.WAKE) & rest.any()))),
            # Over the border of a group, if what is on its way finds its place.
            reader.more.eq(reader.still & ~full | serving & ~self.pages.valid),
            self.frames.valid.eq(full & loads), self.frames.payload.eq(bits),
            self.pages.payload.eq(Cat(word.word_select(n, 8) for n in (3, 2, 1, 0))),
        ]
        m.d.sync += full.eq(ends & (serving | loads)
                            | full & ~move & ~(loads & self.frames.ready))
        # The line would hear half a reply if the boot ended before the link's work.
        m.d.sync += self.booting.eq(self.booting & ~((phase[3] | phase[2]) & self.idle))
        m.d.sync += self.pages.valid.eq(move | self.pages.valid & ~self.pages.ready)
        with m.If(~reader.on):
            m.d.sync += [full.eq(0), self.pages.valid.eq(0)]
        with m.Switch(state):
            with m.Case(BootState.WAKE):
                with m.If(rest[1]):
                    m.d.sync += state.eq(BootState.MAGIC)
            with m.Case(BootState.MAGIC):
                with m.If(ends):
                    m.d.sync += state.eq(Mux(match, BootState.PAGES,
                                             Mux(blank, BootState.EMPTY, BootState.FOREIGN)))
            with m.Case(BootState.PAGES):
                with m.If(late):
                    m.d.sync += state.eq(BootState.DAMAGED)
                with m.Elif(ends & match):
                    m.d.sync += state.eq(BootState.FRAMES)
            with m.Case(BootState.FRAMES):
                with m.If(self.armed):
                    m.d.sync += state.eq(BootState.LOADED)
                with m.Elif(self.refused | late):
                    m.d.sync += state.eq(BootState.REFUSED)
        return m

    def _check(self, m, reader, bits):
        """Follow the CRC-32; whether the word that ends equals it, whether it is blank."""
        checks = self.state.as_value()[1]
        equal, blank = Signal(reset_less=True), Signal(reset_less=True)
        differs = bits[-self.config.width:] ^ reader.data
        match, ones = checks & equal & ~differs.any(), blank & reader.data.all()
        following = bits
        for feedback, bit in zip(reversed(differs), reversed(reader.data), strict=True):
            taps = (feedback & checks).replicate(WORD) & (POLYNOMIAL & ~1)
            following = Cat(Mux(checks, feedback, bit), following[:-1]) ^ taps
        with m.If(reader.came):
            m.d.sync += [bits.eq(following), equal.eq(match), blank.eq(ones)]
        with m.If(~reader.on | reader.came & reader.last):
            m.d.sync += [equal.eq(1), blank.eq(1)]
        with m.If(~reader.on | reader.came & reader.last & match):
            m.d.sync += bits.eq(bits.init)
        return match, ones
