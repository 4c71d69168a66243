"""Build the simulation of a board's top: the Verilog of its bitstream, with models of its cells."""

from collections.abc import Callable
from pathlib import Path

from boards.build import rim, system
from boards.catalog import Board
from gen.targets import Target
from sim.verilated import CELL_MODELS, cached, source_hash, verilate

HERE = Path(__file__).parent
HARNESS = HERE / "harness.cpp"
BOARDS = HERE.parent
WRAPPER = """\
module sim_top (
  input clk, rx, input [3:0] flash_oe, flash_o,
  output tx, flash_cs_n, flash_sck, output [3:0] flash_dq, output [2:0] leds
);
  wire [3:0] dq;
  wire clk_pin = clk, rx_pin = rx;
  top board (.{clock}__io(clk_pin), .uart_0__rx__io(rx_pin), .uart_0__tx__io(tx),
    {flash}{leds});
  genvar n;
  generate
    for (n = 0; n < 4; n = n + 1) begin : wire_
      assign dq[n] = flash_oe[n] ? flash_o[n] : 1'bz;
      assign flash_dq[n] = dq[n];
    end
  endgenerate{sck}
endmodule
"""
SCK = "\n  assign flash_sck = board.flash.mclk.pin;"


def wrapper(board: Board) -> str:
    """Verilog between a board's top and the harness."""
    name = f"{board.flash.resource}_0"
    verilog, _ = rim(board)
    wires = {"cs": "flash_cs_n", "clk": "flash_sck", "copi": "dq[0]", "cipo": "dq[1]",
             "wp": "dq[2]", "hold": "dq[3]", "dq": "dq[1:0]"}
    flash = [f".{name}__{pin}__io({wire})" for pin, wire in wires.items()
             if f" {name}__{pin}__io;" in verilog]
    leds = [f".{led.replace(':', '_').replace('.', '__')}__io(leds[{n}])"
            for n, led in enumerate(board.leds.values())]
    return WRAPPER.format(clock=f"{board.clock}_0", flash=", ".join(flash),
                          leds="".join(f", {led}" for led in leds),
                          sck="" if board.flash.clock_pin else SCK)


def build(board: Board, target: Target, baud: int,
          stage: Callable[[str], None] = lambda text: None) -> Path:
    """Return the path of the simulator of a board, building it unless it is cached.

    Parameters
    ----------
    board : Board
    target : Target
        Of the board, its core perhaps fitted to a model.
    baud : int
    stage : callable
        Told before a build begins.

    Raises
    ------
    ToolError
        A tool is missing or failed.
    """
    def make(folder):
        verilate(folder, {"sim_top.v": wrapper(board), "top.v": rim(board)[0],
                          "system.v": system(board, target, baud)},
                 [*CELL_MODELS.glob("*.v"), *HERE.glob("models/*.v")], HARNESS)

    sources = source_hash(*BOARDS.glob("rim/*.py"), *BOARDS.glob("*.py"), *HERE.glob("*.*"),
                          *HERE.glob("models/*.v"))
    name = "-".join((board.name, f"{board.flash.width}", f"{board.divisor(baud)}",
                     f"{target.config.hash:08x}", sources))
    return cached(name, make, lambda: stage(f"building the simulator of {board.name} (once)"))
