"""Emitted Verilog: lints, is the same each time, and holds nothing of this machine."""

import re
import shutil
import subprocess
from dataclasses import replace
from functools import cache

import pytest

from gen.paths import ROOT
from gen.pnr.shell import shell
from gen.registers import ERROR_DOCS, OPCODE_DOCS, SPACE_DOCS, registers, stream_registers
from gen.targets import PRESETS
from gen.verilog import emit
from hw.axi.layout import (
    BLOCK_BITS,
    CONTROL,
    CONTROL_DOCS,
    STATUS,
    STATUS_DOCS,
    STREAM_REGISTERS,
    bit_positions,
)
from hw.layout import REGISTERS, Error, Opcode, Space
from sim.lint import WAIVERS, lint

MODELS = ROOT / "hw" / "cells" / "models"


@cache
def verilog(name: str) -> str:
    return emit(PRESETS[name].config)


@pytest.mark.parametrize("name", PRESETS)
def test_verilog_lints_without_warnings(name):
    assert lint(verilog(name)) == []


def test_lint_sees_what_is_wrong():
    broken = verilog("up5k").replace("module systolith(", "module systolith(nothing, ", 1)
    assert lint(broken)


def test_every_waiver_has_its_reason():
    lines = WAIVERS.read_text().splitlines()
    for above, line in zip(lines, lines[1:], strict=False):
        if line.startswith("lint_off"):
            assert above.startswith(("//", "lint_off"))


def test_verilog_is_the_same_again():
    assert emit(PRESETS["up5k"].config) == verilog("up5k")


@pytest.mark.parametrize("name", PRESETS)
def test_verilog_holds_no_paths_and_no_dates(name):
    text = verilog(name)
    assert str(ROOT) not in text
    assert not re.search(r"\.py|/home/|/usr/|/tmp/|/root/|\(\* *src", text)
    assert not re.search(r"\b20\d\d-\d\d-\d\d\b", text)


def test_header_names_configuration_and_reset():
    text = verilog("up5k")[:3000]
    assert f"0x{PRESETS['up5k'].config.hash:08x}" in text
    assert "P = 1" in text and "3 us" in text
    assert re.search(r"^module systolith\(", verilog("up5k"), re.M)


@pytest.mark.parametrize("name", ("up5k", "ecp5-25k"))
def test_verilog_passes_icarus(name, tmp_path):
    if shutil.which("iverilog") is None:
        pytest.skip("iverilog is not installed; on Debian: apt install iverilog")
    (tmp_path / "systolith.v").write_text(verilog(name))
    (tmp_path / "shell.v").write_text(shell(PRESETS[name].config))
    done = subprocess.run(["iverilog", "-g2012", "-o", "core", "-s", "shell", "systolith.v",
                           "shell.v", *map(str, MODELS.glob("*.v"))], cwd=tmp_path, check=False,
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_committed_register_map_is_the_generated_one():
    expected = registers(PRESETS["ecp5-85k"].config)
    assert (ROOT / "docs" / "registers.md").read_text() == expected, \
        "write registers.md of generate --target ecp5-85k to docs"


def test_committed_page_on_socs_has_the_generated_registers():
    text = (ROOT / "docs" / "soc.md").read_text()
    found = text.partition("<!-- streams:begin -->\n")[2].partition("\n<!-- streams:end -->")[0]
    assert found == stream_registers(), "put gen.registers.stream_registers() into docs/soc.md"


def test_axi_registers_follow_the_core_s():
    numbers = [number for _, number, *_ in (*REGISTERS, *STREAM_REGISTERS)]
    assert numbers == sorted(set(numbers))
    first, last = STREAM_REGISTERS[0][1], STREAM_REGISTERS[-1][1]
    assert first % (1 << BLOCK_BITS) == 0 and first >> BLOCK_BITS == last >> BLOCK_BITS
    assert REGISTERS[-1][1] < first
    assert set(bit_positions(CONTROL)) == set(CONTROL_DOCS)
    assert set(bit_positions(STATUS)) == set(STATUS_DOCS)
    assert f"0x{4 * last:02x}" in registers(PRESETS["up5k"].config, "axi")


@pytest.mark.parametrize("pages", (0, 1))
def test_axi_ports_have_the_names_that_tools_expect(pages):
    text = emit(replace(PRESETS["up5k"].config, pages=pages), "axi")
    if pages:
        assert lint(text) == []
    lite = {f"{channel}{name}" for channel, names in {
        "aw": ("addr", "prot"), "w": ("data", "strb"), "b": ("resp",), "ar": ("addr", "prot"),
        "r": ("data", "resp")}.items() for name in (*names, "valid", "ready")}
    beat = {"tdata", "tlast", "tvalid", "tready"}
    expected = ({"aclk", "aresetn", "irq"} | {f"s_axil_{name}" for name in lite}
                | {f"{side}_axis_{name}" for side in "sm" for name in beat | {"tkeep"}})
    if pages:
        expected |= {f"s_axis_pages_{name}" for name in beat} | {"rewind"}
    head = text.partition("module systolith(")[2].partition("endmodule")[0]
    assert set(re.findall(r"\b(?:in|out)put (?:\[\d+:0\] )?(\w+);", head)) == expected


def test_register_map_explains_every_code():
    assert set(ERROR_DOCS) == set(Error)
    assert set(OPCODE_DOCS) == set(Opcode)
    assert set(SPACE_DOCS) == set(Space)
