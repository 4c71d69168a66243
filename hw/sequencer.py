"""Fetches and checks the program, runs one descriptor after the other, keeps the counters."""

from amaranth import Module, Mux, Signal
from amaranth.lib import enum, wiring
from amaranth.lib.wiring import In, Out

from hw.checks import first_error
from hw.config import CoreConfig
from hw.counters import Counters, issued_shape
from hw.descriptor import descriptor_shape
from hw.fetch import Fetch
from hw.layout import COUNTER_WORDS, DESCRIPTOR_WORDS, HEADER_WORDS, Error, Opcode
from hw.ports import line_address_bits, read_client, word_client, write_client

FLUSH_CYCLES = 64         # after an error or stop: longer than every pipeline of the core
TIMEOUT_BITS = 16         # 2^16..2^17 cycles without a line read or written or a row issued


class State(enum.Enum, shape=3):
    """What the sequencer does."""

    IDLE = 0
    HEADER = 1
    FETCH = 2
    CHECK = 3     # and launch
    SETTLE = 4    # the units' idle follows launch after config.settle_cycles
    WORK = 5      # and write the counters when it is done
    FLUSH = 6
    RESET = 7     # as FLUSH, but nobody waits for it


class Sequencer(wiring.Component):
    """The core's control: header, descriptors, counters, errors.

    Members
    -------
    start, stop : In(1), program : In
        Run the program whose header is at line ``program``; give up.
    busy, done : Out(1), error : Out(8), index : Out(16), cycles : Out(32)
        Status: ``index`` is the descriptor that runs or failed.
    r : Out(read_client), w : Out(write_client or word_client)
    d : Out(descriptor_shape(config)), check, launch : Out(1), units_idle, written : In(1)
        The descriptor for clusters, loader and pager is there during ``check``; ``launch`` says
        then that it may run. Where ``config.pipelined`` the next one follows at once. LOAD,
        END and errors wait until all outputs are ``written``, others find them so when they read.
    clear : Out(1)
        Drop all work; held for FLUSH_CYCLES.
    issued : In(issued_shape), feed_stall, drain_stall, progress : In(1)
    error_address, error_descriptor, error_store : In(1)
        Raised by the units.
    tick : Out(1)
        Once in 2^TIMEOUT_BITS cycles.

    Behaviour
    ---------
    Per descriptor: 64/V line reads, a check, the work, ``counter_writes`` writes. The lines of
    the next one are read during the work where ``config.pipelined``; then units keep their copy.
    """

    def __init__(self, config: CoreConfig):
        self.config = config
        client = write_client if self.counter_writes(config) == 1 else word_client
        super().__init__({
            "start": In(1), "stop": In(1), "program": In(config.act_addr_bits), "busy": Out(1),
            "done": Out(1), "error": Out(8), "index": Out(16), "cycles": Out(32),
            "r": Out(read_client(config)), "w": Out(client(config)),
            "d": Out(descriptor_shape(config)), "check": Out(1), "launch": Out(1),
            "units_idle": In(1), "written": In(1),
            "clear": Out(1),
            "issued": In(issued_shape(config)), "feed_stall": In(1), "drain_stall": In(1),
            "progress": In(1),
            "error_address": In(1), "error_descriptor": In(1), "error_store": In(1),
            "tick": Out(1)})

    @staticmethod
    def counter_writes(config: CoreConfig) -> int:
        """Writes of a descriptor's counters: a line if it holds all, else word by word."""
        return 1 if config.line_words >= COUNTER_WORDS else COUNTER_WORDS

    def elaborate(self, platform):
        m = Module()
        config, state = self.config, Signal(State, init=State.RESET)
        per_line = config.V // 4
        header_lines = max(1, HEADER_WORDS // per_line)
        field_lines = max(1, DESCRIPTOR_WORDS // per_line)
        m.submodules.fetch = fetch = Fetch(config)
        m.submodules.counters = counters = Counters(config)
        wiring.connect(m, fetch.r, wiring.flipped(self.r))
        early = Signal()                      # a start that came during RESET
        writes, count_lines = self.counter_writes(config), max(1, COUNTER_WORDS // per_line)
        line, count = Signal(line_address_bits(config)), Signal(range(max(2, writes)))
        m.d.comb += [
            fetch.line.eq(line), fetch.clear.eq(self.clear),
            self.clear.eq((state == State.FLUSH) | (state == State.RESET)),
            fetch.lines.eq(Mux(state == State.HEADER, header_lines, field_lines)),
            counters.restart.eq((state == State.IDLE) & (self.start | early)),
            counters.running.eq(self.busy & ~self.clear), counters.launch.eq(self.launch),
            counters.working.eq((state == State.SETTLE)
                                | (state == State.WORK) & ~self.units_idle),
            counters.issued.eq(self.issued),
            counters.feed_stall.eq(self.feed_stall), counters.drain_stall.eq(self.drain_stall),
            self.cycles.eq(counters.cycles),
            self.w.valid.eq((state == State.WORK) & self.units_idle),
        ]
        self._counter_data(m, counters, count)
        m.d.comb += [self.d.eq(fetch.d), self.check.eq(state == State.CHECK)]
        written = self._lines(m, line, count)

        failure, verdict = Signal(8), Signal(8)
        m.d.comb += verdict.eq(first_error(m, config, self.d, fetch.oversize))
        flush, settle = Signal(range(FLUSH_CYCLES)), Signal(range(config.settle_cycles))
        with m.Switch(state):
            with m.Case(State.RESET):
                m.d.sync += [flush.eq(flush + 1), early.eq(early | self.start)]
                with m.If(flush == FLUSH_CYCLES - 1):
                    m.d.sync += state.eq(State.IDLE)
            with m.Case(State.IDLE):
                with m.If(self.start | early):
                    m.d.comb += fetch.begin.eq(1)
                    m.d.sync += [early.eq(0), self.busy.eq(1), self.done.eq(0), self.error.eq(0),
                                 self.index.eq(0), line.eq(self.program), state.eq(State.HEADER)]
            with m.Case(State.HEADER):
                with m.If(fetch.there):
                    m.d.comb += [fetch.begin.eq(1), failure.eq(fetch.header)]
                    m.d.sync += state.eq(State.FETCH)
            with m.Case(State.FETCH):
                with m.If(fetch.there):
                    m.d.sync += state.eq(State.CHECK)
            with m.Case(State.CHECK):
                waits = ((self.d.op == Opcode.END) | (self.d.op == Opcode.LOAD) | verdict.any()
                         ) & ~self.written & config.pipelined
                m.d.comb += failure.eq(Mux(waits, Error.NONE, verdict))
                m.d.sync += [state.eq(Mux(waits, State.CHECK, State.SETTLE)), settle.eq(0)]
                with m.If(waits):
                    pass
                with m.Elif(self.d.op == Opcode.END):
                    m.d.sync += [self.busy.eq(0), self.done.eq(1), state.eq(State.IDLE)]
                with m.Else():
                    m.d.comb += self.launch.eq(verdict == Error.NONE)
                    if config.pipelined:
                        m.d.comb += fetch.begin.eq(1)
                        m.d.sync += line.eq(line + count_lines)
            with m.Case(State.SETTLE):
                m.d.sync += settle.eq(settle + 1)
                with m.If(settle == config.settle_cycles - 1):
                    m.d.sync += state.eq(State.WORK)
            with m.Case(State.WORK):
                with m.If(written):
                    m.d.sync += count.eq(count + 1)
                    with m.If(count == writes - 1):
                        m.d.sync += [count.eq(0), self.index.eq(self.index + 1),
                                     state.eq(State.FETCH)]
                        if config.pipelined:
                            with m.If(fetch.there):
                                m.d.sync += state.eq(State.CHECK)
                        else:
                            m.d.comb += fetch.begin.eq(1)
            with m.Case(State.FLUSH):
                m.d.sync += flush.eq(flush + 1)
                with m.If(flush == FLUSH_CYCLES - 1):
                    m.d.sync += [self.busy.eq(0), self.done.eq(1), count.eq(0),
                                 state.eq(State.IDLE)]
        self._fail(m, state, failure)
        return m

    def _counter_data(self, m, counters, count):
        """What write ``count`` of the counters writes."""
        config = self.config
        if self.counter_writes(config) == 1:
            m.d.comb += [self.w.data.eq(counters.words),
                         self.w.mask.eq((1 << 4 * COUNTER_WORDS // config.mask_bytes) - 1)]
        else:
            m.d.comb += [self.w.data.eq(counters.words[count]),
                         self.w.word.eq(count % config.line_words)]

    def _lines(self, m, line, count):
        """Where the next line is read and write ``count`` goes; whether that is done.

        Header, descriptors and counters lie one behind the other.
        """
        config, per_line, writes = self.config, self.config.V // 4, self.counter_writes(self.config)
        reads, written = self.r.valid & self.r.ready, self.w.valid & self.w.ready
        full = written & (count % per_line == min(per_line, writes) - 1)
        if config.pipelined:                  # reads are ahead of writes
            m.d.sync += [self.w.addr.eq(Mux(self.launch, line, self.w.addr + full)),
                         line.eq(line + reads)]
        else:
            m.d.comb += self.w.addr.eq(line)
            m.d.sync += line.eq(line + (reads | full))
        return written

    def _fail(self, m, state, failure):
        """Whatever fails in the units, or a stop by the host, leads to FLUSH."""
        alive = Signal()                      # there was progress since the last look
        m.d.comb += self.tick.eq(self.cycles[:TIMEOUT_BITS] == 0)
        m.d.sync += alive.eq(self.progress | ~self.busy | (alive & ~self.tick))
        with m.If(self.error_address):
            m.d.comb += failure.eq(Error.ADDRESS)
        with m.Elif(self.error_descriptor):
            m.d.comb += failure.eq(Error.DESCRIPTOR)
        with m.Elif(self.error_store):
            m.d.comb += failure.eq(Error.STORE)
        with m.Elif(self.tick & ~alive):
            m.d.comb += failure.eq(Error.TIMEOUT)
        with m.If(self.busy & ~self.clear & ((failure != Error.NONE) | self.stop)):
            m.d.sync += [self.error.eq(failure), state.eq(State.FLUSH), self.busy.eq(1),
                         self.done.eq(0)]
