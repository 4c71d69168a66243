"""Synthesised netlists: they compute what the RTL computes, in as many cycles."""

import json
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from gen.compile import compile_model
from gen.pnr import BuildError, flow
from gen.pnr.design import core_design
from gen.pnr.shell import SHELL
from gen.targets import PRESETS, Target
from gen.verilog import TOP
from models.graph import ModelError
from models.tflite_reader import parse
from sim.device import DeviceError
from sim.gates import GateError, Proof, build_netlist, prove
from sim.gates.netlist import to_verilog
from sim.verilated import build
from tb import small_core
from tb.tflite_builder import Net

SMALL = {    # the presets' cells, in less time
    "ice40": replace(PRESETS["up5k"], config=replace(
        PRESETS["up5k"].config, C=4, V=4, weight_rows=256, patch_lines=16, param_groups=8,
        dim_bits=8, column_bits=10, pages=0)),
    "ecp5": replace(PRESETS["ecp5-85k"], config=replace(
        PRESETS["ecp5-85k"].config, P=1, L=1, C=4, V=4, Q=Fraction(1, 2), act_lines=1024,
        weight_rows=512, patch_lines=16, patch_buffers=2, param_groups=16, dim_bits=8,
        column_bits=10, skip="off", mac_dsps=2)),
}
CELLS = {"ice40": {"SB_LUT4", "SB_CARRY", "SB_RAM40_4K", "SB_SPRAM256KA", "SB_MAC16"},
         "ecp5": {"LUT4", "CCU2C", "PFUMX", "TRELLIS_FF", "TRELLIS_DPR16X4", "DP16KD",
                  "MULT18X18D"}}


def network(target: Target):
    """A graph with most kinds of layers, its program and an input."""
    net = Net((1, 5, 5, 3), seed=1).conv(6, activation="RELU")
    net.prune_rows(0.3, 4)
    skip = net.here
    net.conv(6).add(skip).depthwise((3, 3)).max_pool().table("LOGISTIC").reshape()
    graph = parse(net.fully_connected(5).bytes())
    x = np.random.default_rng(1).integers(-128, 128, graph.tensors[graph.input].shape[1:], np.int8)
    x[::2] = graph.tensors[graph.input].zero_point
    return graph, compile_model(graph, target), x


def modules_cells(folder) -> list[dict]:
    """Cells of the netlist in a folder."""
    design = json.loads((folder / "design.json").read_text())
    return list(design["modules"][SHELL]["cells"].values())


def build_small(config, folder):
    """Build the simulator of the Verilog that was synthesised."""
    (folder / "rtl").mkdir()
    return small_core.build(config, folder / "rtl", (folder / "systolith.v").read_text())


@pytest.mark.parametrize("family", SMALL)
def test_netlist_of_a_small_core_equals_its_rtl(family, tmp_path):
    proof = check(SMALL[family], tmp_path)
    assert proof.size > 400
    cells = modules_cells(tmp_path)
    assert {cell["type"] for cell in cells} >= CELLS[family]
    resets = [cell["connections"][f"RST{side}"] for cell in cells for side in "AB"
              if cell["type"] == "DP16KD"]
    assert all(bits == ["0"] for bits in resets)      # see hw/cells/models/DP16KD.v


def check(target, folder, build_rtl=build_small, build_gates=small_core.build_netlist) -> Proof:
    """Synthesise, build both simulators, compare."""
    flow.synthesise(core_design(target), folder)
    graph, program, x = network(target)
    return prove(graph, program, x, build_rtl(target.config, folder), build_gates(target, folder))


@pytest.mark.long
@pytest.mark.parametrize("name", PRESETS)
def test_netlist_of_a_preset_equals_its_rtl(name, tmp_path):
    check(PRESETS[name], tmp_path, lambda config, folder: build(config), build_netlist)


@pytest.mark.long
@pytest.mark.parametrize("family, kind, parameter", [
    ("ice40", "SB_LUT4", "LUT_INIT"), ("ecp5", "LUT4", "INIT"), ("ecp5", "CCU2C", "INIT1")])
def test_netlist_with_one_wrong_lut_is_noticed(family, kind, parameter, tmp_path):
    def spoilt(target, folder):
        path = folder / "design.json"
        design = json.loads(path.read_text())
        cells = design["modules"][SHELL]["cells"]
        cell = next(cell for name, cell in sorted(cells.items())
                    if ".requant0." in name and cell["type"] == kind)
        values = cell["parameters"]
        values[parameter] = values[parameter].translate(str.maketrans("01", "10"))
        path.write_text(json.dumps(design))
        return small_core.build_netlist(target, folder)

    with pytest.raises((GateError, DeviceError)):
        check(SMALL[family], tmp_path, build_gates=spoilt)


def test_programs_with_pages_are_refused(tmp_path):
    target = replace(SMALL["ecp5"], config=replace(SMALL["ecp5"].config, param_groups=8))
    graph, program, x = network(target)
    with pytest.raises(ModelError, match="must fit the memories of .*not come as pages"):
        prove(graph, program, x, tmp_path, tmp_path)


def test_netlist_is_written_cell_by_cell():
    module = {
        "ports": {"clk": {"direction": "input", "bits": [2]},
                  "so": {"direction": "output", "bits": [3]}},
        "cells": {
            "a": {"type": "FF", "parameters": {"MODE": "1 ", "INIT": "01", "NAME": "CE"},
                  "connections": {"D": ["x"], "C": [2], "Q": [4], "OPEN": []}},
            "b": {"type": "$scopeinfo", "parameters": {"TYPE": "module"}, "connections": {}},
            "c": {"type": "LUT", "parameters": {}, "connections": {"I": [4, "1"], "O": [3]}}}}
    assert to_verilog(module, "top").splitlines() == [
        "module top (input clk, output so);", "wire n2;", "wire n3;", "wire n4;",
        "assign n2 = clk;", "assign so = n3;",
        """FF #(.MODE("1"), .INIT(2'b01), .NAME("CE")) c0 (.D({1'b0}), .C({n2}), .Q({n4}));""",
        "LUT #() c2 (.I({1'b1, n4}), .O({n3}));", "endmodule"]


@pytest.mark.parametrize("wrong, warning", [
    ("always @(posedge clk) irq <= bus__dat_w[1];", "multiple conflicting drivers"),
    ("assign bus__err = bus__err ^ bus__dat_w[2];", "found logic loop")])
def test_what_yosys_only_warns_of_stops_a_build(wrong, warning, monkeypatch, tmp_path):
    config = SMALL["ecp5"].config
    design = core_design(SMALL["ecp5"])
    core = (f"module {TOP} (input clk, rst, bus__cyc, bus__stb, bus__we, input [3:0] bus__sel,"
            f"input [{config.space_bits + 2}:0] bus__adr, input [31:0] bus__dat_w,"
            f"output [31:0] bus__dat_r, output bus__ack, bus__err, output reg irq,"
            f"input [31:0] pages__payload, input pages__valid, output pages__ready, rewind);"
            f"assign bus__dat_r = bus__adr; assign bus__ack = bus__stb;"
            f"always @(posedge clk) irq <= bus__dat_w[0]; {wrong} endmodule\n")
    monkeypatch.setattr(flow, "keep", lambda path: path)
    with pytest.raises(BuildError, match=f"one driver per net and no loops, not '{warning}"):
        flow.synthesise(replace(design, sources=design.sources | {"systolith.v": core}), tmp_path)
