"""A network laid out for a configuration, before anyone knows whether it fits."""

from dataclasses import dataclass, replace

from gen.allocate import Placed, find_buffers, place
from gen.lower import lower
from gen.lower.steps import Lowered
from gen.overlap import find_skews
from gen.pages import Paging, Plan, groups_needed, make_plan, rows_needed
from gen.support import require_supported
from gen.targets import FitError, Target
from hw.config import CoreConfig, align_up, slot_bytes
from models.graph import Graph


@dataclass(frozen=True, kw_only=True)
class Draft:
    """A network laid out for a configuration, whether or not it fits.

    Parameters
    ----------
    lowered : Lowered
    plan : Plan
    placed : Placed
    program_lines : int
        Lines of the header and descriptors.
    whole_cycles : int
        What the layer in stripes would take with whole maps, without waiting for pages.
    """

    lowered: Lowered
    plan: Plan
    placed: Placed
    program_lines: int
    whole_cycles: int = 0

    @property
    def lines(self) -> int:
        """Lines of the activation memory that all of it takes."""
        return self.program_lines + self.plan.home_lines + self.placed.lines


def draft(graph: Graph, config: CoreConfig, paging: Paging | None = None,
          lowered: Lowered | None = None) -> Draft:
    """Lay a network out; the activation memory may be too small for it.

    Parameters
    ----------
    paging : Paging or None
        How weights and parameters come as pages; None: everything is in the core's memories from
        the start. Its ``lines`` are found here.
    lowered : Lowered or None
        Of an earlier draft of the same.
    """
    if lowered is None:
        require_supported(graph, config)
        lowered = lower(graph, config)
    return lay_out(lowered, graph.input, config, paging)


def lay_out(lowered: Lowered, graph_input: int, config: CoreConfig,
            paging: Paging | None = None) -> Draft:
    """Lay a lowered network out; ``paging`` as in `draft`."""
    paging = first_paging(config, paging)
    plan = make_plan(lowered.layers, config, paging)
    skews = find_skews(lowered.layers, plan, config)
    placed = place(find_buffers(lowered, graph_input, config, skews))
    if paging and not config.host_stores:
        plan = _rotating(lowered, placed, config, paging, plan)
    return Draft(lowered=lowered, plan=plan, placed=placed,
                 program_lines=program_lines(config, len(plan.commands)))


def first_paging(config: CoreConfig, paging: Paging | None) -> Paging | None:
    """The same before anyone knows how many lines are left for pages."""
    return paging and replace(paging, lines=config.act_lines)


def _rotating(lowered, placed, config, paging, plan):
    """The plan whose homes, through which pages rotate, take the lines that nothing else takes.

    Where they are too few the plan asks for the least, so the draft does not fit.
    """
    least = least_homes(plan)
    while True:
        lines = max(0, config.act_lines - placed.lines
                    - program_lines(config, len(plan.commands)))
        if lines >= paging.lines:
            return plan
        if lines < least:
            return replace(plan, home_lines=least)
        paging = replace(paging, lines=lines)
        plan = make_plan(lowered.layers, config, paging)


def least_homes(plan: Plan) -> int:
    """Lines of the largest home, without which pages cannot rotate."""
    return max((command.fields["groups"] for command in plan.commands
                if command.home is not None), default=0)


def program_lines(config: CoreConfig, commands: int) -> int:
    """Lines of the header and of descriptors with END."""
    return (align_up(16, config.V) + (commands + 1) * slot_bytes(config)) // config.V


def require_fit(graph: Graph, found: Draft, target: Target):
    """Raise FitError unless the activation memory holds a draft."""
    config, v = target.config, target.config.V
    if found.lines <= config.act_lines:
        return
    layers = found.lowered.layers
    rows, groups = rows_needed(layers, config), groups_needed(layers, config)
    text = (f"{graph.name} does not fit {target.name}: the activation memory must hold "
            f"{found.lines * v} bytes (activations {found.placed.lines * v}, descriptors "
            f"{found.program_lines * v}")
    if found.plan.home_lines:
        text += f", paged weights, parameters and tables {found.plan.home_lines * v}"
    text += f"), not {config.act_lines * v}"
    if rows > config.weight_rows:
        text += (f", as weights need {rows * config.row_bytes} bytes of the "
                 f"{config.weight_rows * config.row_bytes} in the weight banks")
    if groups > config.param_groups:
        text += f" and parameters {groups} of {config.param_groups} groups"
    raise FitError(f"{text}; use --fit or a larger target")
