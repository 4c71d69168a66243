"""Reports of a compiled program: Markdown for people, plain values for JSON."""

from collections.abc import Sequence

from gen.fold import FoldedTensor
from gen.image import LayerInfo, Program

FOOTNOTE = ("Cycles are a lower bound: weight rows (or lines) that the busiest cluster takes, "
            "loads at a line per cycle.")


def summarize(program: Program) -> dict:
    """The report as plain values."""
    return {
        "model": program.model, "target": program.target, "config": program.config,
        "config_hash": f"{program.config_hash:08x}", "macs": sum(x.macs for x in program.layers),
        "cycles_bound": sum(x.rows for x in program.layers),
        "descriptors": program.descriptors, "memory": program.memory, "host": list(program.host),
        "input": _place(program.input), "output": _place(program.output),
        "folded": {"macs": program.folded_macs, "tensors": [
            {"tensor": x.tensor, "op": x.name, "kept": list(x.kept), "removed": list(x.removed),
             "constants": list(x.constants)} for x in program.folded]},
        "layers": [_layer(layer) for layer in program.layers],
    }


def markdown(program: Program) -> str:
    """The report as Markdown."""
    values = summarize(program)
    lines = [f"# {program.model} on {program.target}", "",
             f"{values['macs']:,} MACs, at least {values['cycles_bound']:,} cycles, "
             f"{program.descriptors} descriptors, configuration {values['config_hash']}.", ""]
    if program.folded:
        lines += [f"{fold_text(program.folded, program.folded_macs)}.", ""]
    lines += ["## Layers", "",
              "| layer | output | line | MACs | weights (bytes) | parameters (bytes) "
              "| descriptors | cycles at least |", "|---|---|---|---|---|---|---|---|"]
    for layer in program.layers:
        shape = "x".join(map(str, layer.output.shape[1:]))
        lines.append(f"| {layer.name} | {shape} | {layer.output.line} | {layer.macs:,} | "
                     f"{layer.weight_bytes:,} | {layer.param_bytes:,} | {layer.count} | "
                     f"{layer.rows:,} |")
    lines += ["", FOOTNOTE]
    if program.host:
        lines.append(f"On the host: {', '.join(program.host)}.")
    lines += ["", "## Memory", "", "| memory | bytes there | bytes used | of these |",
              "|---|---|---|---|"]
    for name, use in program.memory.items():
        parts = ", ".join(f"{part} {count:,}" for part, count in use.items()
                          if part not in ("there", "used", "needed") and count)
        if use.get("needed", 0) > use["used"]:
            parts = f"paged: {use['needed']:,} bytes in all"
        lines.append(f"| {name} | {use['there']:,} | {use['used']:,} | {parts} |")
    lines += ["", f"Program header at line {program.program_line}; input at line "
              f"{program.input.line}, {program.input.pixel_bytes} bytes a pixel; output at line "
              f"{program.output.line}.", ""]
    return "\n".join(lines)


def fold_text(tensors: Sequence[FoldedTensor], macs: int) -> str:
    """What folding left out, in words."""
    count = sum(len(tensor.constants) for tensor in tensors)
    return (f"folded: {count:,} constant or unread channels of {len(tensors)} tensors, "
            f"{macs:,} MACs less")


def _place(place):
    return {"tensor": place.tensor, "shape": list(place.shape), "line": place.line,
            "pixel_bytes": place.pixel_bytes}


def _layer(layer: LayerInfo):
    return {"name": layer.name, "op": layer.kind, "macs": layer.macs,
            "output": _place(layer.output), "fused": list(layer.fused),
            "weight_bytes": layer.weight_bytes, "param_bytes": layer.param_bytes,
            "descriptors": [layer.first, layer.count], "cycles_bound": layer.rows}
