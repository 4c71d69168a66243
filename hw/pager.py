"""Fetches pages from a backing store while the core computes; executes WAIT."""

from amaranth import Cat, Module, Mux, Signal, unsigned
from amaranth.lib import enum, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.config import CoreConfig, log2
from hw.layout import PAGE_MASK_WORDS, PAGE_PACKED, PAGE_WORD_BITS, PATIENCE_BITS, Space
from hw.ports import word_client
from hw.stores import inside, space_limits, store_port, write_word


class State(enum.Enum, shape=3):
    """Which word of the stream comes next."""

    AFTER = 0
    COUNT = 1
    TARGET = 2
    MASK = 3
    DATA = 4
    END = 5


class Pager(wiring.Component):
    """Writes the pages of a stream to where their headers say, in the order in which they come.

    Members
    -------
    running, index : In
        A program runs; the descriptor that it is at.
    wanted, start, clear : In
        WAIT begins: until so many pages have arrived since the program began; give up.
    idle : Out(1)
        No WAIT is left.
    pages : In(stream of 32-bit words), rewind : Out(1)
        The backing store. While ``rewind`` is high it goes back to its first word and offers none.
    w : Out(word_client)
        Where ``config.host_stores`` is false: pages go to the activation memory.
    store, free : Out(store_port), In(1)
        Elsewhere they go to the other memories, while nobody else writes those (``free``).
    quiet, pause : In(1), Out(1)
        Where P = 2: cluster 0 reads no weights, so that its port can write; it should leave a cycle
        for that. Parameters, whose port it shares too, cannot be paged.
    tick, patience : In(1), In(PATIENCE_BITS)
        From time to time; ticks that WAIT lasts without a word, 0 for ever.
    progress, late, error : Out(1)
        A word came, or WAIT waits for one; ``patience`` is exceeded; a page leaves its memory, or
        has none: it is not written.

    Behaviour
    ---------
    A page of n words takes n + 5 cycles at best: three words say which descriptor must run (those
    before it, which read what the page overwrites, have ended), n, and where the page goes. Of a
    packed page words of zero do not come, but a mask does, which takes a cycle, before each word
    that leaves a multiple of PAGE_MASK_WORDS to write, and before the first one. Its lowest bit is
    that word's. The fourth word of a channel's parameters, which nobody uses, never comes. On the
    iCE40 all words come.
    """

    def __init__(self, config: CoreConfig):
        self.config = config
        target = {"w": Out(word_client(config))} if not config.host_stores else {
            "store": Out(store_port(config)), "free": In(1), "quiet": In(1), "pause": Out(1)}
        super().__init__({
            "running": In(1), "index": In(config.index_bits), "wanted": In(config.index_bits),
            "start": In(1), "clear": In(1), "idle": Out(1, init=1),
            "pages": In(stream.Signature(unsigned(32))), "rewind": Out(1), "tick": In(1),
            "patience": In(PATIENCE_BITS), "progress": Out(1), "late": Out(1),
            "error": Out(1)} | target)

    def elaborate(self, platform):
        m = Module()
        word, state = self.pages.payload, Signal(State)
        count, due = Signal(PAGE_WORD_BITS), Signal()   # the descriptor, later the words left
        arrived = Signal(self.config.index_bits)
        hungry, taken, room, wrong = Signal(), Signal(), Signal(), Signal()
        packed, mask = Signal(), Signal(PAGE_MASK_WORDS, init=-1)
        comes = mask[0]                         # the word is part of the stream
        write, written = Signal(), Signal()
        m.d.comb += [
            self.rewind.eq(~self.running), taken.eq(self.pages.valid & self.pages.ready),
            hungry.eq((state == State.AFTER)
                      | due & (state != State.END) & ((state != State.DATA) | comes)),
            self.pages.ready.eq(hungry & ((state != State.DATA) | room)),
            write.eq((state == State.DATA) & due & (~comes | self.pages.valid)),
            written.eq(write & room),
        ]
        m.d.sync += due.eq((state != State.AFTER) & (due | (self.index >= count)))
        with m.If(taken):
            with m.Switch(state):
                with m.Case(State.AFTER):
                    m.d.sync += [state.eq(State.COUNT), count.eq(word)]
                with m.Case(State.COUNT):
                    m.d.sync += [state.eq(State.TARGET), count.eq(word)]
                    if self.config.host_stores:
                        m.d.sync += packed.eq(word[PAGE_PACKED])
                    with m.If(word[:PAGE_WORD_BITS] == 0):
                        m.d.sync += state.eq(State.END)
                with m.Case(State.TARGET):
                    m.d.sync += state.eq(Mux(packed, State.MASK, State.DATA))
                with m.Case(State.MASK):
                    m.d.sync += state.eq(State.DATA)
        if self.config.host_stores:             # a plain page is one whose words all come
            with m.If(taken | written):
                m.d.sync += mask.eq(Mux(state == State.DATA, Cat(mask[1:], 1),
                                        word | (state != State.MASK).replicate(len(mask))))
        with m.If(written):
            m.d.sync += count.eq(count - 1)
            with m.If(packed & (count[:log2(PAGE_MASK_WORDS)] == 1)):
                m.d.sync += state.eq(State.MASK)
            with m.If(count == 1):
                m.d.sync += [arrived.eq(arrived + 1), state.eq(State.AFTER), due.eq(0)]
        with m.If(wrong):
            m.d.sync += state.eq(State.END)
        with m.If(~self.running):
            m.d.sync += [state.eq(State.AFTER), arrived.eq(0), due.eq(0)]
        m.d.sync += self.error.eq(wrong)
        target = taken & (state == State.TARGET)
        self._write(m, word & comes.replicate(32), target, write, room, written, wrong)
        self._wait(m, arrived, hungry & ~self.pages.valid, taken | written)
        return m

    def _write(self, m, word, target, write, room, written, wrong):
        """Words of a page go to addresses that count."""
        config = self.config
        offset, unused = Signal(config.space_bits + 1), Signal()
        with m.If(target):
            m.d.sync += offset.eq(self.pages.payload)
        with m.Elif(written):
            m.d.sync += offset.eq(offset + 1 + unused)
        spaces = [space for space in space_limits(config)
                  if (space != Space.ACT) == config.host_stores
                  and (space, config.P) != (Space.PARAM, 2)]
        head = self.pages.payload
        astray = head[len(offset):29].any() | ~sum(head[29:] == space for space in spaces).any()
        if not config.host_stores:
            bits = log2(config.line_words)
            m.d.comb += [
                wrong.eq(target & astray), room.eq(self.w.ready), self.w.valid.eq(write),
                self.w.addr.eq(offset[bits:]), self.w.word.eq(offset[:bits]),
                self.w.data.eq(word)]
            return
        space, allowed = Signal(3), Signal()
        m.d.comb += unused.eq((space == Space.PARAM) & (offset[:2] == 2))
        with m.If(target):
            m.d.sync += space.eq(head[29:])
        m.d.comb += [
            allowed.eq(inside(m, config, space, offset)), room.eq(self.free),
            wrong.eq(target & astray | written & ~allowed)]
        if config.P == 2:
            is_weight = space == Space.WEIGHT
            m.d.comb += [self.pause.eq(write & is_weight),
                         room.eq(self.free & (~is_weight | self.quiet))]
        write_word(m, config, self.store, space, offset, word, written & allowed)

    def _wait(self, m, arrived, silent, taken):
        """WAIT, and what becomes of it when no word comes."""
        ticks = Signal(PATIENCE_BITS)
        with m.If(self.start):
            m.d.sync += self.idle.eq(0)
        with m.Elif(self.clear | (arrived >= self.wanted)):
            m.d.sync += self.idle.eq(1)
        starved = ~self.idle & silent
        m.d.comb += [self.progress.eq(taken | starved),
                     self.late.eq(starved & (ticks == self.patience) & self.patience.any())]
        with m.If(self.idle | taken):
            m.d.sync += ticks.eq(0)
        with m.Elif(self.tick):
            m.d.sync += ticks.eq(ticks + 1)
