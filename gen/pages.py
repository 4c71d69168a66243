"""Which weights, parameters and tables stay in their memories, and the LOADs of the others."""

from dataclasses import dataclass, replace

from gen.lower.steps import Layer, Step, choose_split
from gen.targets import FitError
from hw.config import CoreConfig
from hw.layout import Opcode, Space


@dataclass(frozen=True, kw_only=True)
class Command:
    """A descriptor whose activation memory addresses are open.

    Parameters
    ----------
    layer : int
        Index of the layer it belongs to.
    step : Step or None
        Whose tensors it touches; None for LOAD of constants.
    fields : dict
        All other fields.
    home : int or None
        Of LOAD: index of the block of bytes that it copies, if they are constants.
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
    homes : tuple of bytes
        Blocks of whole lines in the activation memory that LOADs copy.
    sections : dict of Space to bytes
        What is written to weights, parameters and the table before the core starts.
    """

    commands: tuple[Command, ...]
    homes: tuple[bytes, ...]
    sections: dict[Space, bytes]


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


def make_plan(layers: tuple[Layer, ...], config: CoreConfig) -> Plan:
    """Keep resident what fits, one memory at a time; the rest is loaded layer by layer.

    Raises
    ------
    FitError
        One column group of a layer exceeds a memory.
    """
    return _Planner(layers, config).run()


class _Planner:
    """Collects commands in order, with what the memories hold at that point."""

    def __init__(self, layers, config):
        self.layers, self.config = layers, config
        tables = {step.table.tobytes() for layer in layers for step in layer.steps
                  if step.table is not None}
        cached = not config.host_stores
        self.paged = {
            Space.WEIGHT: cached or rows_needed(layers, config) > config.weight_rows,
            Space.PARAM: cached or groups_needed(layers, config) > config.param_groups,
            Space.TABLE: cached or len(tables) > 1}
        self.unit = {Space.WEIGHT: config.row_bytes, Space.PARAM: group_bytes(config),
                     Space.TABLE: 1024}
        self.images = {space: bytearray() for space in self.paged}
        self.places: dict[tuple[Space, bytes], int] = {}
        self.written: dict[int, int] = {}
        self.homes: dict[bytes, int] = {}
        self.loaded: dict[Space, bytes] = {}
        self.commands: list[Command] = []

    def run(self):
        for index, layer in enumerate(self.layers):
            for step in layer.steps:
                self._step(index, layer, step)
        sections = {space: bytes(image) for space, image in self.images.items() if image}
        return Plan(commands=tuple(self.commands), homes=tuple(self.homes), sections=sections)

    def _step(self, index, layer, step):
        if step.table is not None:
            self._hold(index, Space.TABLE, step.table.astype("<i4").tobytes())
        size = self._page_groups(layer, step)
        whole = len(step.params) + _extra(step) <= self.config.param_groups
        for start in range(0, step.groups, size):
            count = min(size, step.groups - start)
            fields = step.fields | {"op": step.op, "groups": count}
            if count < step.groups:
                fields["split"] = choose_split(self.config, fields["out_w"], fields["out_h"], count)
            if step.written is not None:
                fields["w_base"] = self._load_written(index, step, start, count)
            elif step.weights.size:
                rows = step.weights if step.hold else step.weights[start:start + count]
                fields["w_base"] = self._hold(index, Space.WEIGHT, rows.tobytes())
            whole_step = whole or not self.paged[Space.PARAM]
            fields |= self._params(index, step, start, count, whole_step)
            line = start // self.config.groups_per_line
            shift = 0 if step.op == Opcode.CONV else line * self.config.V   # its own channels
            part = replace(step, out_offset=step.out_offset + line,
                           in_offset=step.in_offset + shift)
            self.commands.append(Command(layer=index, step=part, fields=fields))

    def _params(self, index, step, start, count, whole):
        """Parameter fields, after the LOAD that they need."""
        begin, end = (0, len(step.params)) if whole or step.uniform else (start, start + count)
        first = start - begin if not step.uniform else 0
        params = step.params[begin:end].astype("<u4").tobytes()
        extra = b"" if step.add_params is None else step.add_params.astype("<u4").tobytes()
        fields = {}
        if self.paged[Space.PARAM]:
            base = self._hold(index, Space.PARAM, params + extra)
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
        if not self.paged[space]:
            image = self.images[space]
            if (space, block) not in self.places:
                self.places[space, block] = len(image) // self.unit[space]
                image += block
            return self.places[space, block]
        if self.loaded.get(space) != block:
            self.loaded[space] = block
            home = self.homes.setdefault(block, len(self.homes))
            fields = {"op": Opcode.LOAD, "groups": len(block) // self.config.V, "out_base": 0,
                      "zero_point": space}
            self.commands.append(Command(layer=index, step=None, fields=fields, home=home))
        return 0

    def _load_written(self, index, step, start, count):
        """Address of weights that the core computes, and their LOAD."""
        space, base, rows = Space.WEIGHT, 0, count * step.group_rows
        if self.paged[space]:
            self.loaded.pop(space, None)
        else:
            image = self.images[space]
            base = self.written.setdefault(rows, len(image) // self.unit[space])
            image += bytes(max(0, (base + rows) * self.unit[space] - len(image)))
        lines = self.unit[space] // self.config.V
        fields = {"op": Opcode.LOAD, "groups": rows * lines, "out_base": base, "zero_point": space,
                  "res_base": start * step.group_rows * lines}
        self.commands.append(Command(layer=index, step=step, fields=fields))
        return base

    def _page_groups(self, layer, step):
        """Column groups of a step that the memories hold together."""
        config, most = self.config, step.groups
        if self.paged[Space.WEIGHT] and step.weights.size:
            rows = 1 if step.hold else step.group_rows
            fit = step.groups if step.hold and rows <= config.weight_rows \
                else config.weight_rows // rows
            self._require(layer, "weight_rows", fit, config.weight_rows, rows, step.groups)
            most = min(most, fit)
        if self.paged[Space.PARAM]:
            room = config.param_groups - _extra(step)
            fit = min(step.groups, room) if not step.uniform else step.groups * (room > 0)
            if len(step.params) > 0:
                self._require(layer, "param_groups", fit, config.param_groups, 1 + _extra(step),
                              step.groups)
                most = min(most, fit)
        if most >= step.groups:
            return step.groups
        for unit in (config.P * config.groups_per_line, config.groups_per_line):
            if most >= unit:
                return most // unit * unit
        raise AssertionError("pages hold whole lines")

    def _require(self, layer, name, fit, there, each, groups):
        """At least the groups of one line must fit, or all of them."""
        least = min(self.config.groups_per_line, groups)
        if fit < least:
            raise FitError(f"{layer.name} {name} must be at least {least * each} for its "
                           f"{least} column groups of a line, not {there}; use --fit or a "
                           f"larger target")


def _extra(step):
    return 0 if step.add_params is None else 1

