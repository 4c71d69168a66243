"""The cycle model: cycles and stalls of a program from its descriptors and configuration alone."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from gen.activity import assumed_cycles, skips
from gen.image import Program
from gen.masks import stored_rows
from gen.patches import fillings, share
from gen.store import Arrivals, Store, contents
from gen.timing import Port, Run
from hw.config import CoreConfig, align_up, slot_bytes
from hw.drain import Drain
from hw.issue import PAUSE_PITCH
from hw.layout import DESCRIPTOR_WORDS, HEADER_WORDS, Opcode, Space, decode
from hw.ports import read_latency
from hw.sequencer import Sequencer

STORE = Store()
LATENCY = 60  # about: cycles without a row before a descriptor's first and behind its last
ROUNDS = 20   # clusters on one port delay each other: corrections of a first guess at most


@dataclass(frozen=True, kw_only=True)
class Cycles:
    """Predicted cycles of a descriptor or a layer, and stalls as ``hw.layout.COUNTERS`` has them.

    Parameters
    ----------
    total : int
    load, page : int
        Of these, cycles of LOADs, of WAITs.
    feed, drain : int
        Cycles in which cluster 0 waited for a patch (or for its last outputs), for a free shadow.
    """

    total: int
    load: int = 0
    page: int = 0
    feed: int = 0
    drain: int = 0

    @property
    def stalls(self) -> dict[str, int]:
        """The causes by name."""
        return {"load": self.load, "page": self.page, "feed": self.feed, "drain": self.drain}


@dataclass(frozen=True, kw_only=True)
class Left:
    """What a descriptor leaves to the next one, whose launch is cycle 0.

    Parameters
    ----------
    late : int
        Cycles that its counters take longer than without outputs that are written first.
    written : int
        Cycles from the first of its counters until its outputs are written.
    writes : tuple of int
        When outputs are still written on the port of the sequencer.
    """

    late: int = 0
    written: int = 0
    writes: tuple[int, ...] = ()


def predict(program: Program, store: Store = STORE,
            costs: Sequence[np.ndarray | None] | None = None,
            dense: bool = False) -> tuple[Cycles, ...]:
    """Cycles of every layer of a program, in the order of ``program.layers``.

    Parameters
    ----------
    program : Program
    store : Store
    costs : sequence of numpy.ndarray or None, optional
        Of every descriptor that passes over zeros, `gen.activity.visit_cycles`; without them
        `gen.activity.assumed_cycles`.
    dense : bool
        As if no descriptor passed over zeros.
    """
    config = program.core_config
    arrivals = Arrivals(store, contents(program.stream))
    steals = config.P == 2 and config.host_stores
    found: list[Cycles] = []
    first = _fetch_cycles(config, DESCRIPTOR_WORDS) - _exposed(config)      # nothing hides it
    begin, late, left = [_fetch_cycles(config, HEADER_WORDS) + first], 0, Left()
    for n, d in enumerate(descriptors(program)):
        d = d | {"skip": 0, "packed": 0} if dense else d
        if d["op"] == Opcode.WAIT:
            arrival = arrivals.until(d["groups"], begin) - begin[-1]
            cycles, left = _wait_cycles(config, arrival - late), Left()
        else:
            if d["op"] == Opcode.LOAD:
                late = max(late, left.written - Sequencer.counter_writes(config))
            cycles, left = descriptor_cycles(config, d, costs[n] if costs else None,
                                             program.masks, left.writes)
            cycles = _stolen(config, arrivals, begin, late, cycles, d) if steals else cycles
        waited = Cycles(total=late, load=late * (cycles.load > 0), page=late * (cycles.page > 0))
        found.append(_sum((cycles, waited)))
        begin.append(begin[-1] + found[-1].total)
        late = _late(config, cycles.total) + left.late
    header = begin[0] - Sequencer.counter_writes(config)    # the first one counts from start
    found[0] = _sum((found[0], Cycles(total=header, load=header * (found[0].load > 0))))
    layers = [_sum(found[layer.first:layer.first + layer.count]) for layer in program.layers]
    end = Sequencer.counter_writes(config) + _exposed(config) + 1
    late = max(late, left.written - Sequencer.counter_writes(config))
    layers[-1] = _sum((layers[-1], Cycles(total=end + late)))
    return tuple(layers)


def _stolen(config, arrivals, begin, late, cycles, d):
    """With the cycles that the pager takes from the lanes, where there are no others for it.

    What it takes from lanes that are ahead of drain or feeder, these wait less: the more of the two
    bounds it. Before the first patch and behind the last row there is nothing to take.
    """
    lines = d["kernel_h"] * d["segments"] * -(-d["segment_bytes"] // config.V)
    still = min(cycles.feed, LATENCY + lines)
    free, stolen = cycles.feed - still + cycles.drain, 0
    share = 1 - still / cycles.total             # of the words come while lanes are at work
    pitch = cycles.total / max(free, (cycles.total - free) / PAUSE_PITCH)
    while more := arrivals.during(begin, begin[-1] + late + cycles.total + stolen, pitch):
        taken = round(more * share)
        lost = max(0, taken - free)
        free, stolen = max(0, free - taken), stolen + lost
        if not lost:
            break
    return _sum((cycles, Cycles(total=stolen, drain=stolen)))


def utilization(program: Program, macs: int, cycles: int) -> float:
    """Part of the array's peak, 0..1."""
    return round(macs / (cycles * program.core_config.macs), 4)


def descriptors(program: Program) -> list[dict[str, int]]:
    """Fields of every descriptor, without END, from the program's bytes."""
    config = program.core_config
    for section in program.sections:
        start = program.program_line * config.V - section.offset * 4
        if section.space == Space.ACT and start >= 0:
            first = start + align_up(4 * HEADER_WORDS, config.V)
            slots = (first + index * slot_bytes(config) for index in range(program.descriptors))
            return [decode([int.from_bytes(section.data[word:word + 4], "little")
                            for word in range(slot, slot + 4 * DESCRIPTOR_WORDS, 4)])
                    for slot in slots]
    raise ValueError("the program has no descriptors")


def least_cycles(config: CoreConfig, fields: dict[str, int]) -> int:
    """Cycles that the lanes of the busiest cluster cannot do without."""
    if fields["op"] in (Opcode.LOAD, Opcode.WAIT):
        return fields["groups"] * (fields["op"] == Opcode.LOAD)
    pixels, groups = fields["out_w"] * fields["out_h"], fields["groups"]
    if fields.get("split"):
        groups = -(-groups // config.P)
    else:
        pixels = -(-pixels // config.P)
    lines = fields.get("kernel_h", 1) * fields.get("segments", 1)
    rows = lines
    if fields["op"] == Opcode.CONV:
        rows = -(-lines * fields["segment_bytes"] // config.L)
    if fields.get("strip"):       # but for the first window of a row
        rows = fields["kernel_h"] * fields["strip"]
    return pixels * groups * rows


def descriptor_cycles(config: CoreConfig, d: dict[str, int], costs: np.ndarray | None = None,
                      masks: bytes = b"", writes: Sequence[int] = ()) -> tuple[Cycles, Left]:
    """Cycles from the counters of the descriptor before to its own; what it leaves.

    ``costs``: see `predict`; ``masks``: what Space.MASK holds; ``writes``: see `Left`.
    """
    control = _control_cycles(config)
    if d["op"] == Opcode.LOAD:
        total = control + _load_cycles(config, d)
        return Cycles(total=total, load=total), Left()
    if skips(d) and costs is None:
        costs = assumed_cycles(config, d, stored_rows(config, d, masks) if d["packed"] else None)
    runs = _runs(config, d, costs, writes)
    idle = max(config.settle_cycles, *(run.idle for run in runs))
    written = runs[0].port.written
    first, rest = _kept(config, idle + 1, written)
    cycles = Cycles(total=control + idle + first,
                    feed=runs[0].idle - runs[0].start - 1 - runs[0].rows - runs[0].waits,
                    drain=runs[0].waits)
    left = Left(late=rest, written=Drain.ahead(config, runs[0].is_sum) - first,
                writes=tuple(write - cycles.total - rest for write in written
                             if write > cycles.total + rest))
    return cycles, left


def _control_cycles(config):
    """A descriptor is fetched, checked and launched; its counters are written."""
    return _exposed(config) + config.pipelined + Sequencer.counter_writes(config)


def _kept(config, first, writes):
    """Cycles that the first of the counters waits for outputs, which precede it, and the others."""
    count, taken = Sequencer.counter_writes(config), {cycle for cycle in writes if cycle >= first}
    cycles = [cycle for cycle in range(first, first + count + len(taken)) if cycle not in taken]
    return cycles[0] - first, cycles[count - 1] - cycles[0] - count + 1


def _exposed(config):
    """Cycles of a descriptor's fetch that the work of the one before does not hide."""
    return 0 if config.pipelined else _fetch_cycles(config, DESCRIPTOR_WORDS)


def _late(config, total):
    """Cycles that the next descriptor comes too late after one that takes so many."""
    return max(0, _fetch_cycles(config, DESCRIPTOR_WORDS) + 1 - total) if config.pipelined else 0


def _wait_cycles(config, arrival):
    """WAIT for pages that arrive so long after its begin."""
    launch = _exposed(config) + 1
    begin = 2 + config.pipelined
    total = _control_cycles(config) + max(config.settle_cycles, begin, arrival + 3 - launch)
    return Cycles(total=total, page=total)


def _runs(config, d, costs, before):
    """Each cluster's work; ``before``: cycles in which the outputs of the last one are written."""
    # The next descriptor is read before what feeders want, and after what sums want.
    ahead = config.pipelined and d["op"] != Opcode.ADD
    lines = ahead * _lines(config, DESCRIPTOR_WORDS)
    fetch = [cycle for cycle in range(1, 1 + lines + len(before)) if cycle not in before][:lines]
    if config.P <= config.F:
        return [_run(config, d, costs, cluster, Port(reads=() if cluster else fetch))
                for cluster in range(config.P)]
    # On one port the first cluster's feeder precedes the second's, but writers precede both.
    writes = []
    for _ in range(ROUNDS):
        first = Port(writes, fetch, shared=True)
        runs = [_run(config, d, costs, 0, first)]
        second = Port(first.taken, [*fetch, *first.granted], shared=True)
        runs.append(_run(config, d, costs, 1, second))
        if writes == second.taken:
            break
        writes = second.taken
    return runs


def _run(config, d, costs, cluster, port):
    run = Run(config, d, (cluster + 1) * config.pipelined, port)
    if d["op"] == Opcode.ADD:
        run.add(_passes(config, d, cluster))
    else:
        run.array(fillings(config, d, cluster, costs))
    return run


def _passes(config, d, cluster):
    """Passes of a cluster."""
    pixels = share(config, range(d["out_w"] * d["out_h"]), cluster, not d["split"])
    return len(pixels) * len(share(config, range(d["groups"]), cluster, d["split"]))


def _load_cycles(config, d):
    """From check to the last line."""
    words = 1 if d["zero_point"] == Space.WEIGHT else config.line_words
    before, latency = (d["groups"] - 1) * _load_pitch(config, d), read_latency(config)
    if not config.pipelined:
        return before + words * (latency + 1) + 1
    behind_fetch = _lines(config, DESCRIPTOR_WORDS) - 1
    return before + behind_fetch + words + latency + 2 + (words > 1)


def _load_pitch(config, d):
    """Cycles from line to line: one, or as many as its words take."""
    latency = read_latency(config)
    if d["zero_point"] == Space.WEIGHT:
        return 1
    return (max(config.line_words, latency + 1) if config.pipelined
            else config.line_words * (latency + 1))


def _fetch_cycles(config, words):
    """From the begin of a fetch until its lines are there."""
    return _lines(config, words) + read_latency(config) + 1 + config.pipelined


def _lines(config, words):
    """Lines that so many words take."""
    return max(1, words // config.line_words)


def _sum(parts: Iterable[Cycles]) -> Cycles:
    parts = tuple(parts)
    return Cycles(**{name: sum(getattr(part, name) for part in parts)
                     for name in ("total", "load", "page", "feed", "drain")})
