"""Build all boards and put what came out into docs/boards.json and README.md: `make boards`."""

import argparse
import json
import sys
import time
from collections.abc import Sequence

from boards.build import build
from boards.catalog import BAUD, BOARDS, Board, find_board
from gen.console import stages
from gen.exits import FAILED, FINE, exit_code
from gen.paths import ROOT, build_folder, whole_file, write_files
from hw.config import ConfigError
from models.arguments import Parser, positive
from sim.bench.text import replace_quoted, table

RECORD = ROOT / "docs" / "boards.json"
README = ROOT / "README.md"
MARKS = ("<!-- boards:begin -->", "<!-- boards:end -->")
KEPT = ("seed", "lut", "ff", "dsp", "ebr", "spram", "fmax_mhz", "timing_met", "tools")


def measure(board: Board, seeds: Sequence[int]) -> list[dict]:
    """Build a board with its core, the fastest one into build/boards; what is kept of each seed.

    A seed that the router gave up is not among them: `build` has gone on to the next.
    """
    found, fastest = {}, 0.0
    for seed in seeds:
        if seed in found:
            continue
        begin = time.monotonic()
        with stages(board.name) as stage:
            result, files = build(board, board.target(), seed=seed, baud=BAUD, stage=stage)
        size = next(len(data) for name, data in files.items() if name.startswith("bitstream"))
        found[result.seed] = {name: getattr(result, name) for name in KEPT} | {
            "bitstream_bytes": size, "minutes": round((time.monotonic() - begin) / 60, 1)}
        if result.fmax_mhz > fastest:
            fastest = result.fmax_mhz
            write_files(build_folder() / "boards" / board.name, files)
    return list(found.values())


def quoted(record: dict[str, dict]) -> str:
    """The table of README.md, of boards whose builds are recorded."""
    rows, tools = [], {}
    for name, board in BOARDS.items():
        if name not in record:
            continue
        built, target = record[name], board.target()
        first, text = built[0], " ".join(f"{build['fmax_mhz']:.1f}" for build in built)
        clock = f"{text} of {target.min_mhz:g} MHz"
        if not all(build["timing_met"] for build in built):
            clock += ", too slow"
        rows.append([board.title, f"`{name}`", f"`{board.core}`",
                     f"{first['lut']:,} of {target.luts:,}",
                     f"{first['ebr']} of {target.ram_blocks}", clock,
                     " ".join(f"{build['seed']}" for build in built),
                     f"{first['bitstream_bytes']:,}"])
        tools |= first["tools"]
    versions = ", ".join(f"{tool} {version}" for tool, version in sorted(tools.items()))
    header = ("board", "`--board`", "core", "logic cells", "block RAMs", "clock reached", "seeds",
              "bitstream bytes")
    return "\n".join([*table(header, rows), "",
                      f"With {versions}. Not run on a board."])


def survey(boards: Sequence[Board], seeds: Sequence[int]) -> bool:
    """Build boards, record and quote what came out; whether all met their clocks."""
    record = json.loads(RECORD.read_text()) if RECORD.is_file() else {}
    for board in boards:
        record[board.name] = measure(board, seeds)
        clocks = ", ".join(f"{build['fmax_mhz']}" for build in record[board.name])
        print(f"{board.name}: {clocks} MHz")
        with whole_file(RECORD) as partial:
            lines = (f"  {json.dumps(name)}: {json.dumps(record[name])}"
                     for name in BOARDS if name in record)
            partial.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    with whole_file(README) as partial:
        partial.write_text(replace_quoted(README.read_text(), quoted(record), MARKS))
    return all(build["timing_met"] for board in boards for build in record[board.name])


def main(argv: list[str] | None = None) -> int:
    """Run the command line of ``python -m boards.survey``."""
    parser = Parser(prog="python -m boards.survey", description=__doc__,
                    formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("boards", nargs="*", metavar="BOARD", help="these only (default: all)")
    parser.add_argument("--seed", type=positive, nargs="+", default=[1], metavar="N",
                        help="of the placer; of several the fastest build is kept")
    arguments = parser.parse_args(argv)

    def run():
        chosen = [find_board(name) for name in arguments.boards] or list(BOARDS.values())
        return FINE if survey(chosen, arguments.seed) else FAILED
    return exit_code(run, ConfigError)


if __name__ == "__main__":
    sys.exit(main())
