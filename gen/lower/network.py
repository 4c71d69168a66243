"""A whole graph as layers: reshapes vanish, additions move into convolutions, the rest in order."""

from dataclasses import replace

from gen.lower.add import addition, fuse, lower_add
from gen.lower.concatenation import lower_concatenation
from gen.lower.conv import aligned, lower_conv, patch_rows, window
from gen.lower.copies import lower_pad, lower_table
from gen.lower.depthwise import is_channelwise, lower_depthwise
from gen.lower.functions import FUNCTIONS
from gen.lower.mean import lower_mean
from gen.lower.mul import by_channel, lower_computed, lower_constant, scratch_storage
from gen.lower.pool import lower_average, lower_max
from gen.lower.split_k import exceeds_banks, split_k
from gen.lower.steps import WALKS, Layer, Lowered, Storage, spare_beats
from gen.lower.tensors import aliases, core_storage, find_roots, pixel_shape, view
from hw.config import CoreConfig, align_up
from models.graph import Graph, ModelError, Op

WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
BY_CHANNEL = {"AVERAGE_POOL_2D": lower_average, "MAX_POOL_2D": lower_max,
              "DEPTHWISE_CONV_2D": lower_depthwise, "MEAN": lower_mean,
              "PAD": lower_pad, "PADV2": lower_pad, **dict.fromkeys(FUNCTIONS, lower_table)}
CORE = (*dict.fromkeys((*WEIGHTED, *BY_CHANNEL)), "ADD", "CONCATENATION", "MUL")
FREE = ("RESHAPE",)
WINDOWED = ("CONV_2D", "DEPTHWISE_CONV_2D")


def is_dense(graph: Graph, op: Op) -> bool:
    """Whether every output channel may read every input channel."""
    return op.kind in WEIGHTED and not is_channelwise(graph, op)


def lower(graph: Graph, config: CoreConfig, double: bool = False) -> Lowered:
    """Layers of a network whose operators `gen.support` has accepted; ``double`` as in `Lowered`.

    Raises
    ------
    ModelError
        A layer's values do not fit the core's fields.
    """
    require_work(graph)
    graph, host = split_host(graph)
    roots = find_roots(graph)
    storages = {graph.input: input_storage(graph, roots, config)}
    for op in graph.ops:
        if op.kind in CORE:
            storages[op.outputs[0]] = core_storage(graph, op.outputs[0], config)
        if op.kind == "MUL" and all(graph.tensors[i].data is None for i in op.inputs):
            storages[_scratch(op)] = scratch_storage(graph, _ordered(graph, op), config)
    fused = fusions(graph, roots, storages, config)
    merged = {conv.index for conv in fused.values()}
    layers = [_layer(graph, op, fused.get(op.index), roots, storages, config)
              for op in graph.ops if op.kind in CORE and op.index not in merged]
    layers = [_short(layer, storages, config) for layer in _in_place(layers, graph, roots)]
    return Lowered(layers=tuple(layers), storages=storages, roots=roots,
                   output=graph.output, host=host, double=double)


def require_work(graph: Graph):
    """Raise ModelError for a network of which the core would compute nothing."""
    kinds = [op.kind for op in graph.ops]
    if not set(kinds) & set(CORE):
        raise ModelError(f"{graph.name} operators must include one that the core computes, such "
                         f"as {CORE[0]}, not only {', '.join(kinds) or 'none'}; run the network "
                         f"on the host")


def split_host(graph: Graph) -> tuple[Graph, tuple[str, ...]]:
    """The graph without the operators at its end that run on the host, and their names."""
    last = graph.producer(graph.output)
    trailing = []
    while last is not None and last.kind in ("SOFTMAX", "RESHAPE"):
        trailing.append(last)
        last = graph.producer(last.inputs[0])
    softmax = [i for i, op in enumerate(trailing) if op.kind == "SOFTMAX"]
    if not softmax:
        return graph, ()
    host = trailing[:softmax[-1] + 1]
    names = {op.index for op in host}
    rest = tuple(op for op in graph.ops if op.index not in names)
    return (replace(graph, ops=rest, output=host[-1].inputs[0]),
            tuple(op.name for op in reversed(host)))


def input_storage(graph: Graph, roots: dict[int, int], config: CoreConfig) -> Storage:
    """The input's layout: as dense as the alignment allows its readers, else whole lines.

    A margin goes beside it where windows, whose padding lies in it, then begin at multiples of
    ``align``.
    """
    names = aliases(roots, graph.input)
    shapes = [graph.tensors[i].shape for i in names]
    shape = next((shape for shape in shapes if len(shape) == 4), shapes[0])
    height, width, channels = pixel_shape(shape)
    readers = [op for op in graph.ops if op.kind in CORE and set(op.inputs) & set(names)]
    lines = align_up(channels, config.V)
    first = channels if all(is_dense(graph, op) for op in readers) else lines
    for pixel_bytes in range(first, lines):
        for margin in _margins(names, readers, width, pixel_bytes, config):
            storage = Storage(height=height, width=width + sum(margin), channels=channels,
                              pixel_bytes=pixel_bytes, margin=margin)
            if all(_suits(graph, op, storage, config) for op in readers):
                return storage
    return Storage(height=height, width=width, channels=channels, pixel_bytes=lines)


def _margins(names, readers, width, pixel_bytes, config):
    """None, then what lies left in every reader's padding and, right, ends rows at ``align``."""
    yield 0, 0
    if len(names) == 1 and all(op.kind in WINDOWED for op in readers):
        for left in range(1 + min(op.padding[1][0] for op in readers)):
            right = next((n for n in range(config.align)
                          if (width + left + n) * pixel_bytes % config.align == 0), None)
            if right is not None:
                yield left, right


def _suits(graph, op, storage, config):
    try:
        return aligned(window(graph, op, storage, config), config)
    except ModelError:
        return False


def fusions(graph: Graph, roots: dict[int, int], storages: dict[int, Storage],
            config: CoreConfig) -> dict[int, Op]:
    """Additions by index, and the convolution into whose drain each moves.

    Not one in portions (`gen.lower.split_k`): those that are unfinished would write over the sum.
    """
    found = {}
    order = {op.outputs[0]: i for i, op in enumerate(graph.ops)}
    for op in graph.ops:
        if op.kind != "ADD" or roots[op.inputs[0]] == roots[op.inputs[1]]:
            continue
        able = [conv for tensor in op.inputs
                if (conv := _able(graph, op, roots[tensor], roots, storages, config))]
        if able:
            conv = max(able, key=lambda conv: order[conv.outputs[0]])
            residual = ({roots[tensor] for tensor in op.inputs} - {roots[conv.outputs[0]]}).pop()
            if _alike(storages[residual], storages[op.outputs[0]]):
                found[op.index] = conv
    return found


def _able(graph, op, root, roots, storages, config):
    """The convolution that writes an operand of an addition, if its drain can add; else None."""
    conv = graph.producer(root)
    readers = [reader for i in aliases(roots, root) for reader in graph.consumers(i)
               if reader.kind not in FREE]
    if not conv or not is_dense(graph, conv) or readers != [op] or roots[graph.output] == root \
            or not _alike(storages[root], storages[op.outputs[0]]):
        return None
    found = window(graph, conv, storages[roots[conv.inputs[0]]], config)
    return None if exceeds_banks(patch_rows(found, config), config) else conv


def _alike(a: Storage, b: Storage) -> bool:
    """Whether two tensors lie alike, pixel by pixel."""
    return (a.pixels, a.channels, a.pixel_bytes) == (b.pixels, b.channels, b.pixel_bytes)


def _layer(graph, op, conv, roots, storages, config):
    """One operator, with the convolution that it takes in, as a layer."""
    op = _ordered(graph, op) if op.kind == "MUL" else op
    main = conv or op
    source, output = roots[main.inputs[0]], op.outputs[0]
    inputs, steps, ops, scratch = (source,), (), (op,), None
    if conv is not None:
        first = next(i for i in range(2) if roots[op.inputs[i]] == roots[conv.outputs[0]])
        residual = roots[op.inputs[1 - first]]
        total = addition(graph, op, first, config)
        step = lower_conv(graph, conv, storages[source], config, source,
                          roots[conv.outputs[0]], sums=True)
        steps, inputs, ops = (fuse(step, total, residual, output),), (source, residual), (conv, op)
    elif op.kind == "ADD":
        second = roots[op.inputs[1]]
        for tensor in (source, second):
            _require_lines(storages[tensor], storages[output], op)
        step = lower_add(addition(graph, op, 0, config), storages[output], config, source, second,
                         output)
        steps, inputs = (step,), (source, second)
    elif op.kind == "CONCATENATION":
        inputs = tuple(roots[tensor] for tensor in op.inputs)
        parts = [_lines(graph, op, tensor, roots, storages, config) for tensor in op.inputs]
        steps = lower_concatenation(graph, op, parts, storages[output], config, inputs, output)
    elif op.kind == "MUL":
        seen = _lines(graph, op, op.inputs[0], roots, storages, config)
        inputs = tuple(roots[tensor] for tensor in op.inputs if tensor in roots)
        if len(inputs) == 1:
            steps = lower_constant(graph, op, seen, config, inputs[0], output)
        else:
            scratch = _scratch(op)
            factors = _lines(graph, op, op.inputs[1], roots, storages, config)
            steps = lower_computed(graph, op, seen, factors, config, inputs, scratch, output)
    elif not is_dense(graph, op):
        seen = _lines(graph, op, op.inputs[0], roots, storages, config)
        steps = BY_CHANNEL[op.kind](graph, op, seen, config, source, output)
    else:
        step = lower_conv(graph, op, storages[source], config, source, output)
        steps = split_k(step, config)
    fused = aliases(roots, roots[conv.outputs[0]]) if conv is not None else ()
    return Layer(name="+".join(part.name for part in ops), ops=tuple(part.name for part in ops),
                 kind="+".join(part.kind for part in ops), output=output,
                 inputs=tuple(dict.fromkeys(inputs)), macs=graph.macs(main), steps=steps,
                 tensors=aliases(roots, output), fused=fused, scratch=scratch)


def _ordered(graph, op):
    found = by_channel(graph, op)
    assert found is not None  # gen.support has seen to it
    return found


def _scratch(op):
    """Number of the tensor that MUL needs and the graph does not have."""
    return -1 - op.index


def _lines(graph, op, tensor, roots, storages, config):
    """An operand whose pixels take whole lines."""
    seen = view(storages[roots[tensor]], graph.tensors[tensor].shape, op, config)
    if seen.pixel_bytes % config.V:
        raise ModelError(f"{op.name} input pixels must take whole lines of {config.V} bytes, "
                         f"not {seen.pixel_bytes}; use a multiple of {config.V} channels")
    return seen


def _require_lines(storage, output, op):
    if not _alike(storage, output):
        raise ModelError(
            f"{op.name} operands must lie like its output, {output.pixels} pixels of "
            f"{output.channels} channels, not {storage.pixels} of {storage.channels}; "
            f"remove the RESHAPE before it")


def _short(layer, storages, config):
    """A layer whose passes leave out the beats that have no channels, where one group has all."""
    steps = []
    for step in layer.steps:
        spare = spare_beats(config, storages[step.output].channels)
        whole = step.residual is not None or step.fields.get("twin")
        if spare and step.op in WALKS and not whole:
            step = replace(step, fields=step.fields | {"spare": spare})
        steps.append(step)
    return replace(layer, steps=tuple(steps))


def _in_place(layers, graph, roots):
    """Additions that overwrite an operand which nothing reads any more."""
    last = {tensor: i for i, layer in enumerate(layers) for tensor in layer.inputs}
    kept = roots[graph.output]
    for i, layer in enumerate(layers):
        step = layer.steps[0]
        over = [tensor for tensor in (step.residual, step.first)
                if tensor is not None and last[tensor] == i and tensor not in (kept, step.source)]
        if not over:
            yield layer
        elif over[0] == step.residual:
            yield replace(layer, in_place=over[0])
        else:
            yield replace(layer, in_place=over[0], steps=(_swapped(step),))


def _swapped(step):
    """An ADD with its operands exchanged: the output may lie over the second."""
    fields = step.fields | {"table_first": 1 - step.fields["table_first"]}
    return replace(step, fields=fields, first=step.residual, residual=step.first)
