"""What ``make demo`` shows: our network on generated Verilog, real images, bit-exact."""

import sys
import time
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from gen.compile import compile_model
from gen.console import console, progress
from gen.image import to_bytes
from gen.paths import build_folder, write_files
from gen.stopping import stoppable
from gen.targets import resolve
from gen.verilog import emit
from models.arguments import os_error_text
from models.tflite_reader import load
from sim.device import DeviceError
from sim.routed import routed
from sim.simulate import Simulation, load_inputs, simulate
from sim.tables import layer_table
from sim.verilated import ToolError

TARGET = "ecp5-85k"
IMAGES = 16
WIDTH = 120  # of tables that go into a pipe
ROOT = Path(__file__).resolve().parents[1]
FASHION = ROOT / "models" / "fashion"


def class_table(result: Simulation, labels: np.ndarray, names: list[str]) -> tuple[Table, int]:
    """Return a row per image, and how many predictions are right."""
    table = Table(title="real test images of Fashion-MNIST")
    for name in ("image", "true class", "predicted", "score"):
        table.add_column(name, justify="right" if name in ("image", "score") else "left")
    scores, right = result.scores(), 0
    for number, (row, label) in enumerate(zip(scores, labels, strict=True)):
        best = int(row.argmax())
        right += best == label
        table.add_row(str(number), names[label], names[best], f"{row[best]:.3f}",
                      style=None if best == label else "yellow")
    return table, right


def closing_lines(result: Simulation, right: int, seconds: float) -> list[str]:
    """Return mismatches, cycles, utilisation and latency, a line each."""
    cycles = sum(result.cycles) / len(result.cycles)
    convolutions = [layer for layer in result.layers if "CONV_2D" in layer["op"]]
    peak = result.program.core_config.macs
    busy = sum(layer["macs"] for layer in convolutions)
    spent = sum(sum(layer["cycles"]) for layer in convolutions) / len(result.cycles)
    lines = [f"{right} of {len(result.cycles)} classes right, {result.mismatches} mismatches "
             f"with TensorFlow Lite Micro's arithmetic in all layers",
             f"{cycles:,.0f} cycles an image, {result.macs:,} MACs; convolutions at "
             f"{busy / (spent * peak):.0%} of {peak} MACs a cycle"]
    mhz = routed(TARGET).get("fmax_mhz")
    if mhz:
        lines.append(f"{cycles / mhz:,.0f} us an image at {mhz:.1f} MHz, the last routed clock of "
                     f"{TARGET} (not run on hardware)")
    lines.append(f"{seconds:.0f} s for all of this")
    return lines


def demo(out: Console) -> int:
    """Run it all; return 0 if nothing differs."""
    begin = time.monotonic()
    target = resolve(TARGET)
    graph = load(FASHION / "fashion.tflite")
    inputs = load_inputs(FASHION / "images.npy", graph)[:IMAGES]
    labels = np.load(FASHION / "labels.npy")[:IMAGES]
    names = (FASHION / "classes.txt").read_text().splitlines()
    output = build_folder() / "demo"
    with progress(out) as shown:
        task = shown.add_task("compiling models/fashion/fashion.tflite", total=1)
        program = compile_model(graph, target)
        shown.update(task, completed=1)
        task = shown.add_task(f"generating Verilog for {TARGET}", total=1)
        write_files(output, {"program.bin": to_bytes(program),
                             "systolith.v": emit(target.config)})
        shown.update(task, completed=1)
        task = shown.add_task("simulating", total=IMAGES)
        result = simulate(
            graph, program, inputs,
            stage=lambda text: shown.update(task, description=text),
            done=lambda count: shown.update(task, completed=count))
    out.print(layer_table(result))
    table, right = class_table(result, labels, names)
    out.print(table)
    for line in closing_lines(result, right, time.monotonic() - begin):
        out.print(line)
    out.print(f"program and Verilog: {output}")
    if result.first is not None:
        print(f"error: first wrong value: {result.first}", file=sys.stderr)
    return int(result.first is not None)


def main() -> int:
    """Run the demo; errors are one line."""
    try:
        with stoppable():
            return demo(console(width=WIDTH))
    except (ToolError, DeviceError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2 if isinstance(error, ToolError) else 1
    except OSError as error:
        print(f"error: {os_error_text(error)}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
