"""A whole system in Verilator: its serial line as a port, its flash as a file."""

import contextlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from amaranth import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from gen.verilog import convert
from hw.config import CoreConfig
from hw.flash.boot import Boot
from hw.flash.layout import PADS, FlashConfig
from hw.link.link import Link
from hw.system import join
from tb.linked import HARNESS, SimulatedPort
from tb.small_core import compile_simulator

DIVISOR = 8
FLASH = Path(__file__).with_name("flash_model.v")
TOP = """\
module sim_top (input clk, rst, rx, output tx, started, armed, output [31:0] divisor);
  wire cs_n, sck, busy, error;
  wire [3:0] dq_o, dq_oe, dq_i;
  reg was_busy = 0;
  always @(posedge clk) was_busy <= busy;
  system board (.clk(clk), .rst(rst), .rx(rx), .tx(tx), .ready(armed), .busy(busy),
                .error(error), .flash__cs_n(cs_n), .flash__sck(sck), .flash__dq_o(dq_o),
                .flash__dq_oe(dq_oe), .flash__dq_i(dq_i));
  flash_model #(.BASE({base})) flash (.clk(clk), .cs_n(cs_n), .sck(sck), .dq_o(dq_o),
                                      .dq_oe(dq_oe), .dq_i(dq_i));
  assign divisor = {divisor}, started = busy & ~was_busy;
endmodule
"""


class Listener(wiring.Component):
    """Link and boot without a core: whatever is written is forgotten."""

    def __init__(self, config: CoreConfig, *, divisor: int, flash: FlashConfig):
        self._link, self._boot = Link(config, divisor), Boot(flash)
        super().__init__({"rx": In(1), "tx": Out(1, init=1), "ready": Out(1), "busy": Out(1),
                          "error": Out(1), "flash": Out(PADS)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.link, m.submodules.boot = link, boot = self._link, self._boot
        join(m, link, boot)
        wiring.connect(m, boot.pads, wiring.flipped(self.flash))
        m.d.comb += [link.rx.eq(self.rx), self.tx.eq(link.tx), self.ready.eq(link.armed),
                     self.error.eq(boot.failed), boot.rewind.eq(1),
                     link.bus.ack.eq(link.bus.cyc & link.bus.stb)]
        return m


def build(board, flash: FlashConfig, config: CoreConfig, folder: Path) -> Path:
    """Return the simulator of a `System` or a `Listener`, built in a folder."""
    (folder / "system.v").write_text(convert(board, "system"))
    (folder / "sim_top.v").write_text(TOP.format(base=flash.address, divisor=DIVISOR))
    return compile_simulator(folder, ["sim_top.v", "system.v", str(FLASH)], config, HARNESS)


@contextmanager
def powered(binary: Path, image: bytes) -> Iterator[SimulatedPort]:
    """The line to a board that has just been switched on with an image in its flash."""
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        Path("flash.hex").write_text(image.hex("\n"))
        port = SimulatedPort(binary, DIVISOR)
        try:
            yield port
        finally:
            port.close()
