"""Reports of a compiled program: Markdown for people, plain values for JSON."""

from collections.abc import Sequence

from gen.activity import ASSUMED_DENSITY, skips
from gen.cycles import STORE, Cycles, descriptors, predict, utilization
from gen.fold import FoldedTensor
from gen.image import LayerInfo, Program
from gen.store import Store, contents

PASSES = {"off": "", "act": "activations", "weights": "weight rows",
          "both": "activations, weight rows"}
FOOTNOTE = ("Cycles are predicted; of these, load: constants copied, page: waited for the "
            "backing store, feed: cluster 0 waited for a patch, drain: for a free shadow. At "
            "least, unless zeros are passed over: weight rows (or lines) that the busiest cluster "
            "takes, loads at a line per cycle.")


def summarize(program: Program, store: Store = STORE) -> dict:
    """The report as plain values."""
    found = predict(program, store)
    pages = contents(program.stream)
    total, macs = sum(x.total for x in found), sum(x.macs for x in program.layers)
    return {
        "model": program.model, "target": program.target, "config": program.config,
        "config_hash": f"{program.config_hash:08x}", "macs": macs,
        "cycles": total, "utilization": utilization(program, macs, total),
        "cycles_bound": sum(x.rows for x in program.layers),
        "descriptors": program.descriptors, "memory": program.memory,
        "store": {"rate": str(store.rate), "latency": store.latency, "pages": len(pages),
                  "bytes": len(program.stream), "waiting": sum(x.page for x in found)},
        "skipping": _skipping(program, store, total),
        "host": list(program.host),
        "input": _place(program.input), "output": _place(program.output),
        "twin": program.twin and {
            "input": _place(program.twin.input), "output": _place(program.twin.output),
            "words": [list(word) for word in program.twin.words]},
        "folded": {"macs": program.folded_macs, "tensors": [
            {"tensor": x.tensor, "op": x.name, "kept": list(x.kept), "removed": list(x.removed),
             "constants": list(x.constants)} for x in program.folded]},
        "layers": [_layer(program, *pair) for pair in zip(program.layers, found, strict=True)],
    }


def markdown(program: Program, store: Store = STORE) -> str:
    """The report as Markdown."""
    values = summarize(program, store)
    lines = [f"# {program.model} on {program.target}", "",
             f"{values['macs']:,} MACs, {values['cycles']:,} cycles "
             f"({values['utilization']:.1%} of the peak), "
             f"{program.descriptors} descriptors, configuration {values['config_hash']}.", ""]
    if program.stream:
        lines += [f"{store_text(values['store'])}.", ""]
    if values["skipping"]["layers"] or values["skipping"]["packed"]:
        lines += [f"{skip_text(values)}.", ""]
    if program.folded:
        lines += [f"{fold_text(program.folded, program.folded_macs)}.", ""]
    lines += ["## Layers", "",
              "| layer | output | line | MACs | weights (bytes) | rows kept | parameters (bytes) "
              "| passes over | descriptors | cycles | of peak | load | page | feed | drain "
              "| at least |", "|---" * 16 + "|"]
    for layer, row in zip(program.layers, values["layers"], strict=True):
        shape = "x".join(map(str, layer.output.shape[1:]))
        lines.append(f"| {layer.name} | {shape} | {layer.output.line} | {layer.macs:,} | "
                     f"{layer.weight_bytes:,} | {_kept(layer)} | {layer.param_bytes:,} | "
                     f"{PASSES[layer.skips]} | {layer.count} | "
                     f"{row['cycles']:,} | {row['utilization']:.1%} | "
                     + "".join(f"{cycles:,} | " for cycles in row["stalls"].values())
                     + f"{layer.rows:,} |")
    lines += ["", FOOTNOTE]
    over = [layer.name for layer in program.layers if layer.over_input]
    if over:
        lines.append(f"Written over their inputs, behind what is still to be read: "
                     f"{', '.join(over)}.")
    lines += [f"{stripe_text(layer, row['stripes'])}."
              for layer, row in zip(program.layers, values["layers"], strict=True)
              if layer.stripes > 1]
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
              f"{program.input.line}, {program.input.pixel_bytes} bytes a pixel, "
              f"{program.input.size} in all; output at line {program.output.line}, "
              f"{program.output.pixel_bytes} bytes a pixel, {program.output.size} in all.", ""]
    if any(program.input.margin):
        left, right = program.input.margin
        lines += [f"In each row of the input {left} pixels lie before its own and {right} behind "
                  f"them, all of value {program.input.fill}.", ""]
    if program.twin:
        lines += [f"Second input at line {program.twin.input.line}, second output at line "
                  f"{program.twin.output.line}; what must be written to use them, or the first "
                  f"ones again:", "",
                  "| word of ACT | first places | second places |", "|---" * 3 + "|",
                  *(f"| {place} | {first:#010x} | {second:#010x} |"
                    for place, first, second in program.twin.words), ""]
    return "\n".join(lines)


def skip_text(values: dict) -> str:
    """What passing over zeros is expected to be worth, in words."""
    use = values["skipping"]
    return (f"zero activations are passed over in {use['layers']} layers, zero weight rows in "
            f"{use['packed']}, {use['kept']:.0%} of whose rows are kept: with "
            f"{use['density']:.0%} of the activations not zero behind a ReLU {values['cycles']:,} "
            f"cycles instead of {use['dense_cycles']:,}, "
            f"{use['dense_cycles'] / values['cycles']:.2f} times as fast")


def store_text(use: dict) -> str:
    """What comes from the backing store and what that costs, in words."""
    return (f"from the backing store: {use['pages']:,} pages, {use['bytes']:,} bytes for every "
            f"input; at {use['rate']} bytes a cycle and {use['latency']} cycles of latency they "
            f"cost {use['waiting']:,} cycles of waiting")


def stripe_text(layer: LayerInfo, use: dict) -> str:
    """Which layers run in stripes and what that costs, in words."""
    return (f"In {use['count']} stripes of rows, as whole maps do not fit: {layer.name}; "
            f"{use['macs_again']:,} MACs are computed twice, which costs {use['more_cycles']:,} "
            f"of its cycles, descriptors and constants copied again included")


def fold_text(tensors: Sequence[FoldedTensor], macs: int) -> str:
    """What folding left out, in words."""
    count = sum(len(tensor.constants) for tensor in tensors)
    return (f"folded: {count:,} constant or unread channels of {len(tensors)} tensors, "
            f"{macs:,} MACs less")


def _skipping(program: Program, store: Store, total: int) -> dict:
    """Layers that pass over zeros, and the cycles if they did not."""
    marked = [skips(d) for d in descriptors(program)]
    dense = sum(x.total for x in predict(program, store, dense=True)) if any(marked) else total
    packed = [x for x in program.layers if x.skips in ("weights", "both")]
    rows, kept = (sum(getattr(x, n) for x in packed) for n in ("weight_rows", "kept_rows"))
    return {"layers": sum(x.skips in ("act", "both") for x in program.layers),
            "packed": len(packed), "kept": kept / rows if rows else 1.0,
            "density": ASSUMED_DENSITY, "dense_cycles": dense}


def _place(place):
    return {"tensor": place.tensor, "shape": list(place.shape), "line": place.line,
            "pixel_bytes": place.pixel_bytes, "bytes": place.size, "margin": list(place.margin)}


def _layer(program: Program, layer: LayerInfo, cycles: Cycles):
    return {"name": layer.name, "op": layer.kind, "macs": layer.macs,
            "output": _place(layer.output), "fused": list(layer.fused),
            "weight_bytes": layer.weight_bytes, "param_bytes": layer.param_bytes,
            "descriptors": [layer.first, layer.count], "cycles": cycles.total,
            "utilization": utilization(program, layer.macs, cycles.total),
            "skips": layer.skips, "weight_rows": layer.weight_rows, "kept_rows": layer.kept_rows,
            "stalls": cycles.stalls, "cycles_bound": layer.rows, "over_input": layer.over_input,
            "stripes": {"count": layer.stripes, "macs_again": layer.macs_again,
                        "more_cycles": _more_cycles(layer, cycles)}}


def _kept(layer):
    """Part of a layer's weight rows that is stored."""
    return f"{layer.kept_rows / layer.weight_rows:.0%}" if layer.weight_rows else ""


def _more_cycles(layer, cycles):
    """Cycles that stripes cost, but for pages that come again."""
    return cycles.total - cycles.page - layer.whole_cycles if layer.stripes > 1 else 0
