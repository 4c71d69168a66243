"""When a cluster has done its share of a descriptor: feeder, lanes and drain, pass by pass.

Times are cycles from the descriptor's launch; latencies come from the components.
"""

from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Sequence

from gen.patches import Filling
from hw.columns import ColumnPair
from hw.config import CoreConfig
from hw.drain import Drain
from hw.issue import Issue
from hw.layout import Opcode
from hw.nonzero import Nonzero
from hw.operands import Operands
from hw.packer import Packer
from hw.ports import read_latency
from hw.prefetch import Prefetch
from hw.scanner import Scanner
from hw.seeker import Seeker


class Port:
    """A port of the activation memory; its reads take the cycles that nobody before them uses.

    Parameters
    ----------
    writes, reads : iterable of int
        Cycles of the other cluster's ``take``, of its reads if they precede this one's.
    shared : bool
        Whether there is another cluster, which must know of every read.

    Attributes
    ----------
    taken, written : list of int, set of int
        Cycles of ``take``; also those of the other cluster.
    granted : list of int
        Cycles of the feeder's reads, where the port is shared.
    """

    def __init__(self, writes: Iterable[int] = (), reads: Iterable[int] = (), shared: bool = False):
        self.taken: list[int] = []
        self.granted: list[int] = []
        self.written = set(writes)
        self._before, self._next, self._shared = sorted(self.written.union(reads)), 0, shared

    def grant(self, first: int, reads: bytes) -> int:
        """The cycle of the last of requests that begin at ``first``, see ``Filling.reads``."""
        before, n, late, last = self._before, self._next, first, first + len(reads) - 1
        while n < len(before) and before[n] <= last:
            if before[n] >= first and reads[before[n] - late]:
                late, last = late + 1, last + 1
            n += 1
        if self._shared:
            own, cycle = set(before[self._next:n]), first
            for read in reads:
                while read and cycle in own:
                    cycle += 1
                if read:
                    self.granted.append(cycle)
                cycle += 1
        self._next = n
        return last

    def take(self, cycle: int):
        """A client before all reads uses a cycle, or the next one without another such client."""
        while cycle in self.written:
            cycle += 1
        self.written.add(cycle)
        self.taken.append(cycle)
        n = bisect_left(self._before, cycle)
        if self._before[n:n + 1] != [cycle]:
            self._before.insert(n, cycle)


class Run:
    """A cluster at work on a descriptor.

    Parameters
    ----------
    config : CoreConfig
    d : dict
        Fields of a descriptor other than LOAD.
    start : int
        When the cluster learns of it.
    port : Port
        That of its writer, its residual reader and (but for P < F) its feeder.

    Attributes
    ----------
    idle : int
        When nothing is left to do.
    rows, waits : int
        Rows issued, cycles in which the issuer waited for the drain.
    """

    def __init__(self, config: CoreConfig, d: dict[str, int], start: int, port: Port):
        self.config, self.d, self.start, self.port = config, d, start, port
        self.idle, self.rows, self.waits = start + 1, 0, 0
        self.drain_cycles = Drain.cycles(config, d.get("spare", 0))  # too slow for each pass
        self.requant_cycles = Drain.behind(config)
        # From the start of a drain round to its last byte.
        self.round_cycles = 1 + self.drain_cycles - config.beat_cycles + self.requant_cycles
        count, beats = config.beats if config.byte_writes else 1, 1
        if d.get("twin"):
            count, beats = 2, config.beats // 2
        self.writes = [1 - n * beats * config.beat_cycles for n in reversed(range(count))]
        self.is_sum = d["op"] == Opcode.CONV and bool(d["add"])
        self._fetched = start                     # the last window that the lanes were given
        self._free = 0                            # when the drain has done all rounds so far
        self._pending: deque[int] = deque()       # when the operands of second rounds are there

    def array(self, work: Sequence[Filling]):
        """CONV, CHANNEL and MAX."""
        config, port = self.config, self.port
        spacing = Issue.apart(config, Drain.add_cycles(config) if self.is_sum
                              else self.drain_cycles)
        to_drain = (Operands.latency(config) + ColumnPair.latency(config) - Drain.lead(config)
                    if self.d["op"] != Opcode.MAX
                    else Operands.part_latency(config) + 1 + config.overlaps) + config.scans
        to_lanes = read_latency(config) + Packer.latency(config) + 2
        to_request = 3 + config.pipelined
        released = [self.start + 1 + config.pipelined] * config.patch_buffers
        requested, row_end, pass_end = self.start, self.start, self.start - spacing
        for n, filling in enumerate(work):
            buffer, rows = n % config.patch_buffers, filling.rows
            first = max(requested + 1, released[buffer] + to_request)
            requested = first + len(filling.reads) - 1
            if config.P >= config.F:              # else nobody else uses the feeder's port
                self._second_rounds(requested + to_lanes + to_drain)
                requested = port.grant(first, filling.reads)
            committed = requested + to_lanes - 2
            for cost in filling.costs:
                begin, windows_end = self._arrival(committed, rows)
                row_end = max(max(row_end, begin - 1) + cost + self._alone(rows, cost),
                              windows_end)
                self.rows += cost
                if filling.ends:
                    ready = row_end
                    row_end = pass_end = max(ready, pass_end + spacing)
                    self.waits += row_end - ready
                    self._drain(pass_end + to_drain)
            released[buffer] = row_end
        self._second_rounds(None)

    def _arrival(self, committed, rows):
        """When the first row of a visit to a buffer can be issued, and when the last, at least."""
        config = self.config
        if not config.scans:
            return committed + 2 + config.seeks, 0
        lead = config.ram_latency + 2 + Scanner.LATENCY
        begin = max(committed + Nonzero.LATENCY + Prefetch.LATENCY - 1,
                    self._fetched + Prefetch.OVERHEAD)
        self._fetched = begin + -(-rows // config.window_rows)
        return begin + lead, self._fetched + lead - 1

    def _alone(self, rows, cost):
        """Cycles that the last window takes longer than its rows, if none are passed over."""
        tail = (rows - 1) % self.config.window_rows + 1
        return max(0, Seeker.LEAST - tail) if self.config.seeks and cost == rows else 0

    def add(self, passes: int):
        """ADD: it reads two lines and adds them before it reads the next ones."""
        paired, one = self.start, b"\1"
        for _ in range(passes):
            second = self.port.grant(self.port.grant(paired + 5, one) + 1, one)
            written = second + read_latency(self.config) + 1 + self.round_cycles
            paired = written - self.requant_cycles
            self._write(written)

    def _drain(self, ready: int):
        """A pass comes to the drain."""
        self._second_rounds(ready)
        begin = max(ready, self._free)
        self._free = begin + self.drain_cycles
        if not self.is_sum:
            self._write(begin + self.round_cycles)
            return
        self.port.take(ready + 3)                 # its residual
        behind = self.round_cycles - Drain.pending(self.config) * self.config.beat_cycles
        self._pending.append(begin + behind + 1 + self.config.overlaps)

    def _second_rounds(self, until: int | None):
        """Those that begin before a first round comes, which would go first."""
        while self._pending:
            begin = max(self._pending[0], self._free)
            if self.config.overlaps and until is not None and begin >= until:
                return
            self._pending.popleft()
            self._free = begin + self.drain_cycles
            self._write(begin + self.round_cycles)

    def _write(self, last_byte: int):
        """A pass goes to the memory, as a line or byte by byte."""
        for write in self.writes:
            self.port.take(last_byte + write)
        self.idle = last_byte + 2 - Drain.ahead(self.config, self.is_sum)
