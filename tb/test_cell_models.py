"""Our models of DP16KD and MULT18X18D: all that they claim to cover, not only what cores use."""

import random

from tb.bench import run_cocotb
from tb.cell_reference import Multiplier

WIDTHS = (1, 2, 4, 9, 18)
MODES = ("NORMAL", "WRITETHROUGH", "READBEFOREWRITE")
SIDES = ("A", "B")


def block_ram(rng: random.Random, width_a: int, width_b: int) -> dict:
    """Parameters of a block RAM of two widths, drawn but for these."""
    drawn = {f"{name}_{side}": rng.choice(choices) for side in SIDES for name, choices in {
        "REGMODE": ["NOREG", "OUTREG"], "WRITEMODE": MODES,
        "CSDECODE": ["0b000", "0b000", "0b101"]}.items()}
    return drawn | {"DATA_WIDTH_A": width_a, "DATA_WIDTH_B": width_b,
                    "RESETMODE": rng.choice(["SYNC", "SYNC", "ASYNC"]),
                    **{f"CLK{side}MUX": rng.choice([f"CLK{side}"] * 3 + ["INV"]) for side in SIDES}}


def text(parameters: dict) -> str:
    """Parameters as Verilog."""
    return ", ".join(f".{name}({value})" if isinstance(value, int) else f'.{name}("{value}")'
                     for name, value in parameters.items())


def bus(prefix: str, net: str, width: int) -> str:
    """Pins prefix0, prefix1 ... and the bits of a net."""
    return ", ".join(f".{prefix}{n}({net}[{n}])" for n in range(width))


def block_rams(cells: list[dict]) -> str:
    """Block RAMs side by side: the same pins drive all, each has its own bits of the outputs."""
    body = []
    for n, cell in enumerate(cells):
        pins = []
        for side in SIDES:
            we = "1'b0" if side == "B" and cell["DATA_WIDTH_A"] == 36 else f"we_{side}"
            pins += [bus(f"AD{side}", f"ad_{side}", 14), bus(f"DI{side}", f"di_{side}", 18),
                     bus(f"CS{side}", f"cs_{side}", 3), f".CLK{side}(clk_{side})",
                     f".CE{side}(ce_{side})", f".OCE{side}(oce_{side})", f".RST{side}(rst_{side})",
                     f".WE{side}({we})",
                     *(f".DO{side}{bit}(do_{side}[{18 * n + bit}])" for bit in range(18))]
        body.append(f"DP16KD #({text(cell)}) ram{n} ({', '.join(pins)});")
    ports = ", ".join(f"input clk_{s}, ce_{s}, oce_{s}, rst_{s}, we_{s}, input [2:0] cs_{s},"
                      f"input [13:0] ad_{s}, input [17:0] di_{s},"
                      f"output [{18 * len(cells) - 1}:0] do_{s}" for s in SIDES)
    return f"module top ({ports});\n" + "\n".join(body) + "\nendmodule\n"


def test_block_rams_of_all_widths_and_modes(tmp_path):
    rng = random.Random(1)
    widths = [(a, b) for a in WIDTHS for b in WIDTHS if a <= b] + [(36, b) for b in (*WIDTHS, 36)]
    cells = [block_ram(rng, *pair) for pair in widths]
    seen = {(cell[f"WRITEMODE_{side}"], cell[f"REGMODE_{side}"], cell["RESETMODE"])
            for cell in cells for side in SIDES if cell["DATA_WIDTH_A"] < 36}
    assert len(seen) == 3 * 2 * 2
    run_cocotb(block_rams(cells), "tb.cocotb_cell_models", name="rams", work_dir=tmp_path,
               parameters={"cells": cells}, testcase="block_rams_equal_the_reference")


def multiplier(rng: random.Random, registers: list[bool]) -> dict:
    """Parameters of a multiplier with some registers, their clocks, enables and resets drawn."""
    found = {"RESETMODE": rng.choice(["SYNC", "ASYNC"]), "GSR": "DISABLED"}
    for name, there in zip(Multiplier.NAMES, registers, strict=True):
        found |= {f"REG_{name}_CLK": f"CLK{rng.randrange(4)}" if there else "NONE",
                  f"REG_{name}_CE": f"CE{rng.randrange(4)}",
                  f"REG_{name}_RST": f"RST{rng.randrange(4)}"}
    return found


def multipliers(cells: list[dict]) -> str:
    """Multipliers side by side, as `block_rams`."""
    shared = [bus(name, name, 18) for name in ("A", "B", "SRIA", "SRIB")]
    shared += [bus(name, name, 4) for name in ("CLK", "CE", "RST")]
    shared += [f".{name}({name})" for name in ("SIGNEDA", "SIGNEDB", "SOURCEA", "SOURCEB")]
    body = [f"MULT18X18D #({text(cell)}) mult{n} ({', '.join(shared)}, "
            + ", ".join(f".P{bit}(P[{36 * n + bit}])" for bit in range(36)) + ");"
            for n, cell in enumerate(cells)]
    return ("module top (input [17:0] A, B, SRIA, SRIB, input [3:0] CLK, CE, RST,"
            "input SIGNEDA, SIGNEDB, SOURCEA, SOURCEB,"
            f"output [{36 * len(cells) - 1}:0] P);\n" + "\n".join(body) + "\nendmodule\n")


def test_multipliers_with_any_registers(tmp_path):
    rng = random.Random(1)
    cells = [multiplier(rng, [bool(mask >> n & 1) for n in range(4)]) for mask in range(16)]
    run_cocotb(multipliers(cells), "tb.cocotb_cell_models", name="multipliers", work_dir=tmp_path,
               parameters={"cells": cells}, testcase="multipliers_equal_the_reference")
