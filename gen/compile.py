"""From a graph to a program: folding, lowering, and of all ways that fit the fastest."""

from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from itertools import product

from gen.assemble import assemble
from gen.cycles import STORE, predict
from gen.draft import draft, require_fit
from gen.fit import fit_memories
from gen.fold import Folded, fold_channels
from gen.image import Program
from gen.lower import lower
from gen.lower.steps import Lowered
from gen.pages import Paging
from gen.skip import skipping
from gen.store import Store
from gen.stripes import striped_draft
from gen.support import require_supported
from gen.targets import FitError, Target
from models.graph import Graph

# What is tried in turn: parts of the memories that never rotate; 1/share of the rest for a page.
KEPT = (Fraction(0), Fraction(1, 2), Fraction(7, 8))
SHARES = (1, 2, 3, 4)


def compile_model(graph: Graph, target: Target, fit: bool = False, fold: bool = True,
                  store: Store = STORE, skip: str = "auto", double: bool = False) -> Program:
    """Compile a network for a target.

    Parameters
    ----------
    graph : Graph
        As `models.tflite_reader.load` returns it.
    target : Target
    fit : bool
        Take memory depths that suit the network (`gen.fit.fit_memories`).
    fold : bool
        Leave out channels that need not be computed (`gen.fold.fold_channels`).
    store : Store
        From which pages come if the core's memories are too small.
    skip : str
        See `gen.skip.skipping`.
    double : bool
        With second places for input and output, see `gen.image.Twin`.

    Raises
    ------
    ModelError
        An operator is not supported.
    ConfigError
        The core cannot skip as asked.
    FitError
        The network exceeds the target's memories.
    """
    folded = fold_channels(graph) if fold else Folded(graph=graph)
    graph = folded.graph
    if fit:
        target = fit_memories(target, graph, skip, double)
    program = best_program(graph, target, store, skip, double)
    return replace(program, folded=folded.tensors, folded_macs=folded.macs)


def best_program(graph: Graph, target: Target, store: Store, skip: str = "auto",
                 double: bool = False) -> Program:
    """Everything in the core's memories if it fits; else with pages; else in stripes.

    Of several ways that fit, the one of the fewest cycles.

    Raises
    ------
    FitError
        It does not fit in any way.
    """
    require_supported(graph, target.config)
    lowered = skipping(lower(graph, target.config, double), target.config, skip)
    try:
        return whole_program(graph, target, store, lowered)
    except FitError:
        fitting = []
        for paging in (None, *_pagings(target)):
            with suppress(FitError):
                found = striped_draft(graph, target, lowered, paging)
                fitting.append(assemble(graph, found, target))
        if not fitting:
            raise
    return _fastest(fitting, store)


def whole_program(graph: Graph, target: Target, store: Store, lowered: Lowered) -> Program:
    """Whole maps, with pages if need be.

    Raises
    ------
    FitError
        It does not fit either way.
    """
    try:
        found = draft(graph, target.config, lowered=lowered)
        require_fit(graph, found, target)
    except FitError:
        if not target.config.pages:
            raise
    else:
        return assemble(graph, found, target)
    fitting, direct = [], target.config.host_stores
    for tables in (False, True)[:1 + direct]:     # as pages only if their homes do not fit
        for kept, share in product(KEPT if direct else KEPT[:1], SHARES):
            with suppress(FitError):
                paging = Paging(share=share, kept=kept, tables=tables)
                fitting.append(paged_program(graph, target, paging, lowered))
        if fitting:
            return _fastest(fitting, store)
    return paged_program(graph, target, Paging(share=1, tables=direct), lowered)  # says why not


def _pagings(target):
    """Ways to page that are tried together with stripes."""
    if target.config.pages:
        direct = target.config.host_stores
        yield from (Paging(share=share, tables=tables)
                    for tables in (False, True)[:1 + direct] for share in SHARES[::2])


def _fastest(programs, store):
    """Of the fewest cycles: the mean of as many zeros as assumed and of none."""
    return min(programs, key=lambda program: sum(
        x.total for dense in {False, any(layer.skips != "off" for layer in program.layers)}
        for x in predict(program, store, dense=dense)))


def paged_program(graph: Graph, target: Target, paging: Paging,
                  lowered: Lowered | None = None) -> Program:
    """Weights and parameters as pages; see `gen.draft.draft`."""
    found = draft(graph, target.config, paging, lowered)
    require_fit(graph, found, target)
    return assemble(graph, found, target)
