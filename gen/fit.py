"""Fit: divide a device's RAM blocks between weights and activations for one network."""

from dataclasses import replace

from gen.draft import Draft, draft, require_fit
from gen.lower import lower
from gen.pages import Paging, groups_needed, rows_needed
from gen.skip import skipping
from gen.support import require_supported
from gen.targets import FitError, Target
from hw.cells.ram import blocks
from hw.config import CoreConfig, align_up
from models.graph import Graph

MOST_LINES = 65536
MOST_ROWS = 65536
MOST_GROUPS = 4096
PAGINGS = (None, Paging(share=1), Paging(share=1, tables=True))    # tried in turn


def core_blocks(config: CoreConfig) -> dict[str, int]:
    """RAM blocks of each memory of a core; the activations of an iCE40 are in SPRAM, 0 here."""
    shared = "1r1w" if config.P == 1 else "rw"
    beats = config.param_depth
    split, units, memory = config.shift_split, config.requant_units, config.memory
    lane = 8 * config.V // config.L
    spram = memory == "ice40"
    words = config.C // 4
    weights = (words * blocks(memory, 32, config.weight_rows, shared) if config.P == 1 else
               blocks(memory, 8 * config.C, config.weight_rows, shared, words))
    return {
        "activation": 0 if spram else blocks(memory, config.line_bits, config.act_lines, "rw",
                                             config.line_masks),
        "weights": config.L * weights,
        "patches": config.P * config.L * blocks(memory, lane,
                                                config.patch_depth, "1r1w"),
        "masks": _masks(config),
        "row masks": config.P * config.L * blocks(memory, 32, config.row_mask_words,
                                                  "1r1w") if config.row_masks else 0,
        "parameters": units * (blocks(memory, 32 + split, beats, shared)
                               + blocks(memory, 37 - split, beats, shared)),
        "table": config.P * units * blocks(memory, 32, config.table_depth, "1r1w"),
    }


def _masks(config):
    """Of what is not zero: read together by lanes that scan, each alone by those that seek."""
    if not config.skips:
        return 0
    parts, lanes = (config.L, 1) if config.seeks else (1, config.L)
    return config.P * parts * blocks(config.memory, lanes * config.window_rows, config.mask_depth,
                                     "1r1w")


def fit_memories(target: Target, graph: Graph, skip: str = "auto",
                 double: bool = False) -> Target:
    """The target with memory depths that suit a network, row masks left out if they take too much.

    First with every weight resident, if need be without row masks; then with smaller and smaller
    weight banks through which weights are paged from the activation memory, then with the largest
    banks through which they can be paged from the backing store. ``skip`` and ``double``: see
    `gen.compile.compile_model`.

    Raises
    ------
    FitError
        The device has too few RAM blocks; the text counts them.
    """
    require_supported(graph, target.config)
    resident = [(config, _resident_rows(graph, config, skip), None)
                for config in _kinds(target.config, skip)]
    config, most, _ = resident[-1]         # pages are dense: they need no masks
    paged = [(config, rows, paging) for paging in (PAGINGS if config.pages else PAGINGS[:1])
             for rows in range(most, 0, -config.weight_granule)]
    groups = _param_groups(config, groups_needed(lower(graph, config).layers, config))
    tried = []
    for config, rows, paging in resident + paged:
        for count in sorted({groups, config.param_groups}, reverse=True):
            found = _try(target, graph, replace(config, weight_rows=rows, param_groups=count),
                         paging, skip, double)
            if isinstance(found, Target):
                return found
            tried.append(found)
    raise FitError(f"{graph.name} does not fit {target.name} with any memory depths: with its "
                   f"weights resident {tried[0]}; use a larger device or a smaller network")


def _kinds(config, skip):
    """The configuration, and the same without row masks if nobody asked for them."""
    asked = skip in ("on", "weights")
    return [config, replace(config, skip="act")] if config.row_masks and not asked else [config]


def _resident_rows(graph, config, skip):
    """Weight rows that hold all weights, if banks can be that large."""
    ample = replace(config, weight_rows=MOST_ROWS)
    layers = skipping(lower(graph, ample), ample, skip).layers
    return min(align_up(max(rows_needed(layers, config), 1), config.weight_granule), MOST_ROWS)


def _try(target, graph, config, paging, skip, double):
    """A target of this configuration, or how many blocks it lacks and why it does not fit."""
    if config.memory != "ice40":
        config = replace(config, act_lines=config.act_granule)
    lack = _lack(target, config, "at least ")
    if lack:
        return lack
    if config.memory != "ice40":
        config = replace(config, act_lines=_deepest(config))
    try:
        lowered = skipping(lower(graph, config, double), config, skip)
        found: Draft = draft(graph, config, paging, lowered)
        if config.memory == "ice40":
            require_fit(graph, found, replace(target, config=config))
    except FitError as error:
        return str(error)
    if config.memory != "ice40":
        lines = align_up(found.lines, config.act_granule)
        if lines > MOST_LINES:
            return f"its activations need {found.lines * config.V} bytes"
        config = replace(config, act_lines=lines)
    return _lack(target, config) or replace(target, config=config)


def _lack(target, config, least=""):
    """How many blocks of the device are too few, in words; None if they suffice."""
    counts = core_blocks(config)
    total = sum(counts.values())
    if total <= target.ram_blocks:
        return None
    text = ", ".join(f"{name} {count}" for name, count in counts.items() if count)
    return f"it needs {least}{total} RAM blocks ({text}), not {target.ram_blocks}"


def _param_groups(config, needed):
    """At least ``needed`` and the configuration's groups, in whole RAM blocks where possible."""
    step = {"plain": 16, "dp16kd": 512 * config.P, "ice40": 256}[config.memory]
    depth = align_up(max(needed, config.param_groups) * config.beats, step)
    return min(depth // config.beats, MOST_GROUPS)


def _deepest(config: CoreConfig) -> int:
    """The largest activation memory of a configuration's kind."""
    if config.memory == "ice40":
        return config.act_lines
    return MOST_LINES // config.act_granule * config.act_granule
