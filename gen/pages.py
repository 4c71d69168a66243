"""Which weights, parameters and tables stay in their memories, and how the others get there.

What does not fit rotates: LOAD copies it from the activation memory, or it comes as pages from the
backing store while the core computes. Part of a memory may keep what is used first.
"""

from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from gen.lower.steps import Layer, Step, choose_split
from gen.masks import mask_words
from gen.ring import Ring, Tenant
from gen.stream import Page, make_page
from gen.targets import FitError
from hw.config import CoreConfig
from hw.layout import PAGE_WORD_BITS, Opcode, Space
from models.graph import ModelError


@dataclass(frozen=True, kw_only=True)
class Command:
    """A descriptor whose activation memory addresses are open.

    Parameters
    ----------
    layer : int
        Index of the layer it belongs to.
    step : Step or None
        Whose tensors it touches; None for WAIT and for LOAD of constants.
    fields : dict
        All other fields.
    home : int or None
        Of LOAD of constants: their first line, counted from the start of the homes.
    """

    layer: int
    step: Step | None
    fields: dict[str, int]
    home: int | None = None


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Commands of a network and where its constants are.

    Parameters
    ----------
    commands : tuple of Command
    homes : bytes
        Whole lines of the activation memory that LOADs copy, but for those that are pages.
    home_lines : int
        Lines of the homes.
    sections : dict of Space to bytes
        What is written to weights, parameters and the table before the core starts.
    pages : tuple of Page
        In the order in which they come.
    """

    commands: tuple[Command, ...]
    homes: bytes
    home_lines: int
    sections: dict[Space, bytes]
    pages: tuple[Page, ...]


@dataclass(frozen=True, kw_only=True)
class Paging:
    """How a network uses the backing store.

    Parameters
    ----------
    share : int
        A page of weights takes at most 1/share of the banks that rotate, if it can be cut so.
    kept : Fraction
        Of weight banks and parameters that are too small, where the host writes them: what never
        rotates.
    tables : bool
        Whether tables come as pages too, where the host writes them; else they have homes.
    lines : int
        Lines of the activation memory for homes that rotate, where pages go there.
    """

    share: int
    kept: Fraction = Fraction(0)
    tables: bool = False
    lines: int = 0


def rows_needed(layers: tuple[Layer, ...], config: CoreConfig) -> int:
    """Weight rows that hold all weights of a network, each distinct block once."""
    blocks = {(step.written is None, step.weights.tobytes())
              for layer in layers for step in layer.steps}
    return sum(len(block) for _, block in blocks) // config.row_bytes


def groups_needed(layers: tuple[Layer, ...], config: CoreConfig) -> int:
    """Parameter groups that hold all parameters of a network, each distinct block once."""
    blocks = {block.tobytes() for layer in layers for step in layer.steps
              for block in (step.params, step.add_params) if block is not None}
    return sum(map(len, blocks)) // group_bytes(config)


def group_bytes(config: CoreConfig) -> int:
    """Bytes of a parameter group."""
    return 16 * config.C


def make_plan(layers: tuple[Layer, ...], config: CoreConfig, paging: Paging | None = None) -> Plan:
    """Keep resident what fits, one memory at a time; the rest rotates, layer by layer.

    Raises
    ------
    FitError
        One column group of a layer exceeds a memory.
    """
    plan = _Planner(layers, config, paging).run()
    most = (1 << config.index_bits) - 1
    if plan.pages and max(len(plan.pages), len(plan.commands)) > most:
        raise ModelError(f"the program must have at most {most} pages and descriptors, not "
                         f"{len(plan.pages)} and {len(plan.commands)}; use a larger target")
    return plan


class _Planner:
    """Collects commands in order, with what the memories hold at that point."""

    def __init__(self, layers, config, paging):
        self.layers, self.config, self.paging = layers, config, paging
        tables = {step.table.tobytes() for layer in layers for step in layer.steps
                  if step.table is not None}
        cached = not config.host_stores
        self.paged = {
            Space.WEIGHT: cached or rows_needed(layers, config) > config.weight_rows,
            Space.PARAM: cached or groups_needed(layers, config) > config.param_groups,
            Space.TABLE: cached or len(tables) > 1,
            Space.MASK: False}
        self.unit = {Space.WEIGHT: config.row_bytes, Space.PARAM: group_bytes(config),
                     Space.TABLE: 1024, Space.ACT: config.V, Space.MASK: 4 * config.L}
        sizes = {Space.WEIGHT: config.weight_rows, Space.PARAM: config.param_groups}
        kept = paging.kept if paging and config.host_stores else 0
        self.kept = dict.fromkeys(self.unit, 0) | {
            space: int(kept * size) for space, size in sizes.items() if self.paged[space]}
        self.room = {space: size - self.kept[space] for space, size in sizes.items()}
        self.images = {space: bytearray() for space in Space}
        self.places: dict[tuple[Space, bytes], int] = {}
        self.written: dict[int, int] = {}
        self.loaded: dict[Space, bytes] = {}
        self.commands: list[Command] = []
        self.rings = self._rings()
        self.pages: list[Page] = []
        self.awaited, self.touched = 0, []

    def _rings(self):
        """Memories into which pages come. With P = 2 parameters have no port for them."""
        config = self.config
        if self.paging is None:
            return {}
        if not config.host_stores:
            return {Space.ACT: Ring(self.paging.lines)}
        sizes = dict(self.room)
        if config.P > 1:
            sizes.pop(Space.PARAM)
        if self.paging.tables:
            sizes[Space.TABLE] = 1
        return {space: Ring(size) for space, size in sizes.items() if self.paged[space]}

    def run(self):
        for index, layer in enumerate(self.layers):
            for step in layer.steps:
                self._step(index, layer, step)
        homes = bytes(self.images.pop(Space.ACT))
        ring = self.rings.get(Space.ACT)
        commands, pages = tuple(self.commands), tuple(self.pages)
        if self.config.host_stores:      # LOADs need homes in the order of the commands
            commands, pages = _sorted(commands, pages)
        return Plan(commands=commands, homes=homes, pages=pages,
                    home_lines=ring.size if ring else len(homes) // self.config.V,
                    sections={space: bytes(image) for space, image in self.images.items() if image})

    def _step(self, index, layer, step):
        size = self._page_groups(layer, step)
        whole = len(step.params) + _extra(step) <= self.room[Space.PARAM]
        for start in range(0, step.groups, size):
            count = min(size, step.groups - start)
            fields = step.fields | {"op": step.op, "groups": count}
            if count < step.groups:
                fields["split"] = choose_split(self.config, fields["out_w"], fields["out_h"], count)
            if step.written is not None:
                fields["w_base"] = self._load_written(index, step, start, count)
            elif step.masks is not None:
                row = self._hold(index, Space.WEIGHT, step.weights.tobytes())
                words = mask_words(step.masks, row, self.config)
                first = self._hold(index, Space.MASK, words)
                fields["w_base"] = first + start * step.group_rows
            elif step.weights.size:
                rows = step.weights if step.hold else step.weights[start:start + count]
                fields["w_base"] = self._hold(index, Space.WEIGHT, rows.tobytes())
            whole_step = Space.PARAM not in self.rings and (whole or not self.paged[Space.PARAM])
            fields |= self._params(index, step, start, count, whole_step)
            if step.table is not None:      # last: its page waits for the table before
                self._hold(index, Space.TABLE, step.table.astype("<i4").tobytes())
            line = start // self.config.groups_per_line
            shift = 0 if step.op == Opcode.CONV else line * self.config.V   # its own channels
            part = replace(step, out_offset=step.out_offset + line,
                           in_offset=step.in_offset + shift)
            self._append(Command(layer=index, step=part, fields=fields), self.touched)
            self.touched = []

    def _append(self, command, tenants):
        """A command, after a WAIT for the pages that it needs."""
        if self.awaited < len(self.pages):
            self.awaited = len(self.pages)
            self.commands.append(Command(layer=command.layer, step=None, fields={
                "op": Opcode.WAIT, "groups": self.awaited}))
        for ring, tenant in tenants:
            ring.use(tenant, len(self.commands))
        self.commands.append(command)

    def _params(self, index, step, start, count, whole):
        """Parameter fields, after the LOAD that they need."""
        begin, end = (0, len(step.params)) if whole or step.uniform else (start, start + count)
        first = start - begin if not step.uniform else 0
        params = step.params[begin:end].astype("<u4").tobytes()
        extra = b"" if step.add_params is None else step.add_params.astype("<u4").tobytes()
        fields = {}
        if self.paged[Space.PARAM]:
            base = self._hold(index, Space.PARAM, params + extra) if params + extra else 0
            last = base + len(params) // self.unit[Space.PARAM]
        else:
            base = self._hold(index, Space.PARAM, params) if params else 0
            last = self._hold(index, Space.PARAM, extra) if extra else 0
        if params:
            fields["param_base"] = base + first
        if extra:
            fields["add_param"] = last
        return fields

    def _hold(self, index, space, block):
        """Address at which a memory holds a block from now on."""
        kept = self.kept[space]
        stays = len(self.images[space]) + len(block) <= kept * self.unit[space]
        if not self.paged[space] or stays or (space, block) in self.places:
            return self._place(space, block)
        if space in self.rings:
            tenant = self._fetch(space, block)
            self.touched.append((self.rings[space], tenant))
            return kept + tenant.begin
        if self.loaded.get(space) != block:
            self.loaded[space] = block
            ring, tenants = self.rings.get(Space.ACT), []
            if ring is None:
                home = self._place(Space.ACT, block)
            else:
                tenants = [(ring, self._fetch(Space.ACT, block))]
                home = tenants[0][1].begin
            fields = {"op": Opcode.LOAD, "groups": len(block) // self.config.V, "out_base": kept,
                      "zero_point": space}
            self._append(Command(layer=index, step=None, fields=fields, home=home), tenants)
        return kept

    def _place(self, space, block):
        """Address at which a memory always holds a block."""
        image = self.images[space]
        if (space, block) not in self.places:
            self.places[space, block] = len(image) // self.unit[space]
            image += block
        return self.places[space, block]

    def _fetch(self, space, block) -> Tenant:
        """Where a block is in a ring, as pages if it has to come."""
        ring, unit = self.rings[space], self.unit[space]
        tenant = ring.find(block)
        if tenant is None:
            try:
                tenant, parts = ring.take(block, len(block) // unit)
            except ValueError:
                raise FitError(f"pages must fit {ring.size * unit} bytes of the "
                               f"{space.name.lower()} memory, not need {len(block)}; use a larger "
                               f"target") from None
            most = ((1 << PAGE_WORD_BITS) - 1) // (unit // 4)
            for begin, end, after in parts:
                for first in range(begin, end, most):
                    last = min(end, first + most)
                    data = block[(first - tenant.begin) * unit:(last - tenant.begin) * unit]
                    self.pages.append(make_page(
                        self.config, space, (self.kept[space] + first) * unit, after, data))
        return tenant

    def _load_written(self, index, step, start, count):
        """Address of weights that the core computes, and their LOAD."""
        space, base, rows = Space.WEIGHT, 0, count * step.group_rows
        tenants = []
        if space in self.rings:
            ring = self.rings[space]
            tenants = [(ring, ring.take(None, rows)[0])]
            base = self.kept[space] + tenants[0][1].begin
            self.touched += tenants
        elif self.paged[space]:
            self.loaded.pop(space, None)
        else:
            image = self.images[space]
            base = self.written.setdefault(rows, len(image) // self.unit[space])
            image += bytes(max(0, (base + rows) * self.unit[space] - len(image)))
        lines = self.unit[space] // self.config.V
        fields = {"op": Opcode.LOAD, "groups": rows * lines, "out_base": base, "zero_point": space,
                  "res_base": start * step.group_rows * lines}
        self._append(Command(layer=index, step=step, fields=fields), tenants)
        return base

    def _page_groups(self, layer, step):
        """Column groups of a step that the memories hold together."""
        config, most = self.config, step.groups
        if self.paged[Space.WEIGHT] and step.weights.size:
            rows, there = 1 if step.hold else step.group_rows, self.room[Space.WEIGHT]
            fit = step.groups if step.hold and rows <= there else there // rows
            self._require(layer, "weight_rows", fit, there, rows, step)
            most = min(most, fit)
            if Space.WEIGHT in self.rings and not (step.hold or step.portion):
                least = min(self.config.groups_per_line, step.groups)
                most = min(most, max(least, fit // self.paging.share))
        if self.paged[Space.PARAM]:
            there = self.room[Space.PARAM]
            room = there - _extra(step)
            fit = min(step.groups, room) if not step.uniform else step.groups * (room > 0)
            if len(step.params) > 0:
                self._require(layer, "param_groups", fit, there, 1 + _extra(step), step)
                most = min(most, fit)
        if most >= step.groups:
            return step.groups
        for unit in (config.P * config.groups_per_line, config.groups_per_line):
            if most >= unit:
                return most // unit * unit
        raise AssertionError("pages hold whole lines")

    def _require(self, layer, name, fit, there, each, step):
        """At least the groups of one line must fit, or all of them."""
        least = step.groups if step.portion else min(self.config.groups_per_line, step.groups)
        if fit < least:
            remedy = "set V=C, " if self.config.groups_per_line > 1 else ""
            raise FitError(f"{layer.name} {name} must be at least {least * each} for its "
                           f"{least} column groups of a line, not {there}; {remedy}use --fit or a "
                           f"larger target")


def _sorted(commands, pages):
    """Commands and pages: none comes behind one that has to wait longer.

    Pages of one place stay in turn, and no WAIT is for a page behind one that waits for a later
    command: each page may be written before the command that needs it.
    """
    order = np.argsort([page.after for page in pages], kind="stable")
    arrived = np.maximum.accumulate(np.argsort(order)) + 1    # when so many were there before
    return (tuple(replace(command, fields=command.fields | {
        "groups": int(arrived[command.fields["groups"] - 1])})
        if command.fields["op"] == Opcode.WAIT else command for command in commands),
        tuple(pages[n] for n in order))


def _extra(step):
    return 0 if step.add_params is None else 1
