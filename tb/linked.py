"""A core behind its host link in Verilator, as a port that is two pins wide."""

import struct
import subprocess
from pathlib import Path

from amaranth import ClockSignal, DomainRenamer, Module, ResetSignal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from gen.verilog import convert
from hw.config import CoreConfig
from hw.core import Core
from hw.link.link import Link
from tb.small_core import compile_simulator

HARNESS = Path(__file__).with_name("line.cpp")
SEND, RUN, PAUSE, RESET, COUNT = 1, 2, 3, 4, 5
TOP = """\
module sim_top (input clk, rst, rx, output tx, started, armed, output [31:0] divisor);
  linked board (.clk(clk), .rst(rst), .rx(rx), .tx(tx), .started(started), .armed(armed));
  assign divisor = {divisor};
endmodule
"""


class Linked(wiring.Component):
    """Core and link, no flash."""

    def __init__(self, config: CoreConfig, divisor: int):
        self._config, self._divisor = config, divisor
        super().__init__({"rx": In(1), "tx": Out(1), "started": Out(1), "armed": Out(1)})

    def elaborate(self, platform):
        m = Module()
        core = Core(self._config)
        m.submodules.core = DomainRenamer("core")(core)     # it declares its own clock domain
        m.submodules.link = link = Link(self._config, self._divisor)
        wiring.connect(m, link.bus, core.bus)
        m.d.comb += [
            core.clk.eq(ClockSignal()), core.rst.eq(ResetSignal() | link.core_rst),
            link.rx.eq(self.rx), self.tx.eq(link.tx), self.started.eq(link.started),
            self.armed.eq(link.armed),
        ]
        return m


def build(config: CoreConfig, divisor: int, folder: Path) -> Path:
    """Return the simulator of core and link, built in a folder."""
    (folder / "linked.v").write_text(convert(Linked(config, divisor), "linked"))
    (folder / "sim_top.v").write_text(TOP.format(divisor=divisor))
    return compile_simulator(folder, ["sim_top.v", "linked.v"], config, HARNESS, "-O1")


class SimulatedPort:
    """The line to a simulated board, a `boards.host.ports.Port` whose seconds are clock cycles.

    Parameters
    ----------
    binary : Path
        What ``build`` returned.
    divisor : int
    """

    def __init__(self, binary: Path, divisor: int):
        self.baud, self.latency = 1 / divisor, 400.0
        self._process = subprocess.Popen([str(binary)], stdin=subprocess.PIPE,
                                         stdout=subprocess.PIPE)

    def _ask(self, *words: int) -> int:
        assert self._process.stdin
        self._process.stdin.write(struct.pack(f"<{len(words)}I", *words))
        self._process.stdin.flush()
        return self._word()

    def _word(self) -> int:
        assert self._process.stdout
        return struct.unpack("<I", self._process.stdout.read(4))[0]

    def send(self, data: bytes) -> None:
        self._ask(SEND, len(data), *data)

    def pause(self, cycles: int) -> None:
        self._ask(PAUSE, cycles)

    def reset(self) -> None:
        self._ask(RESET, 5)

    def receive(self, seconds: float) -> bytes:
        self._ask(RUN, int(seconds))
        return bytes(self._word() for _ in range(self._word()))

    def counts(self) -> tuple[int, int, int]:
        """Cycles so far, starts of the core, starts while it was not armed."""
        return self._ask(COUNT), self._word(), self._word()

    def seconds(self) -> float:
        return float(self.counts()[0])

    def close(self) -> None:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()
