"""The example SoC of boards/litex_soc.py, where the extra litex is installed."""

import csv
import subprocess
import sys
from dataclasses import replace

import pytest

from gen.paths import ROOT
from tb.bench import run_cocotb
from tb.test_axi import CONFIGS

pytest.importorskip("litex")
pytest.importorskip("cocotbext.uart")

CLOCK, BAUD = 10_000_000, 2_500_000
TOP = """
module top(input clk, input rx, output tx);
  sim soc(.sys_clk(clk), .serial_rx(rx), .serial_tx(tx), .sim_trace(1'b0));
endmodule
"""


def test_network_runs_through_the_bus_of_a_litex_soc(tmp_path):
    config = replace(CONFIGS["plain"], pages=0)
    changes = [flag for name, value in config.items().items()
               for flag in ("--set", f"{name}={value}")]
    subprocess.run([sys.executable, "-m", "boards.litex_soc", "--target", "up5k", *changes,
                    "--clock", str(CLOCK), "--baud", str(BAUD), "-o", str(tmp_path / "soc")],
                   cwd=ROOT, check=True, capture_output=True)
    rows = {row[1]: row for row in csv.reader((tmp_path / "soc" / "csr.csv").open()) if row[1:]}
    text = (tmp_path / "soc" / "gateware" / "sim.v").read_text() + TOP
    run_cocotb(text, "tb.cocotb_litex", name="soc", work_dir=tmp_path,
               extra_sources=[tmp_path / "soc" / "systolith.v"],
               parameters={"config": config.items(), "clock": CLOCK, "baud": BAUD,
                           "origin": int(rows["systolith"][2], 16)})


def test_core_with_pages_is_refused(tmp_path):
    done = subprocess.run([sys.executable, "-m", "boards.litex_soc", "--target", "up5k", "--set",
                           "pages=1", "-o", str(tmp_path)], cwd=ROOT, check=False,
                          capture_output=True, text=True)
    assert done.returncode == 2
    assert "error: pages must be 0 in a SoC without a backing store, not 1" in done.stderr
    assert done.stderr.count("error: ") == 1
