"""The core in a LiteX SoC: a Wishbone slave, and an example SoC without a CPU around it.

`python -m boards.litex_soc --target T -o DIR` writes the example's Verilog: a UART that is a bus
master (UARTBone), the bus, the core. Needs the extra `litex`.
"""

import sys
from pathlib import Path

from litex.build.generic_platform import Pins, Subsignal
from litex.build.sim import SimPlatform
from litex.gen import LiteXModule
from litex.soc.integration.builder import Builder
from litex.soc.integration.soc import SoCRegion
from litex.soc.integration.soc_core import SoCCore
from litex.soc.interconnect import wishbone
from migen import ClockDomain, ClockSignal, If, Instance, ResetSignal, Signal

from gen.exits import FINE, exit_code
from gen.paths import folder_argument, require_folder
from gen.targets import resolve
from gen.verilog import TOP, emit
from hw.config import ConfigError, CoreConfig
from models.arguments import Parser, positive

ORIGIN = 0x30000000
RESET_CYCLES = 15          # of the simulated board, which has no reset of its own
PINS = [("sys_clk", 0, Pins(1)),
        ("serial", 0, Subsignal("tx", Pins(1)), Subsignal("rx", Pins(1)))]


class Systolith(LiteXModule):
    """The core's Verilog as a module of a SoC.

    Parameters
    ----------
    platform : litex GenericPlatform
        Takes the source file.
    config : CoreConfig
    verilog : Path
        What `systolith generate` wrote for that configuration with pages=0.

    Attributes
    ----------
    bus : wishbone.Interface
        For ``soc.bus.add_slave`` with a region of ``size`` bytes, not cached.
    irq : Signal
    """

    def __init__(self, platform, config: CoreConfig, verilog: Path):
        if config.pages:
            raise ConfigError("pages must be 0 in a SoC without a backing store, not 1; "
                              "give --set pages=0")
        self.bus = bus = wishbone.Interface(data_width=32, adr_width=30, addressing="word")
        word_bits = config.space_bits + 3
        self.irq, self.size = Signal(name="irq"), 4 << word_bits
        self.specials += Instance(
            TOP, i_clk=ClockSignal(), i_rst=ResetSignal(), o_irq=self.irq,
            i_bus__cyc=bus.cyc, i_bus__stb=bus.stb, i_bus__we=bus.we,
            i_bus__adr=bus.adr[:word_bits], i_bus__sel=bus.sel, i_bus__dat_w=bus.dat_w,
            o_bus__dat_r=bus.dat_r, o_bus__ack=bus.ack, o_bus__err=bus.err)
        platform.add_source(str(verilog))


class PowerOnReset(LiteXModule):
    """Clock of the simulated board and a reset of RESET_CYCLES cycles."""

    def __init__(self, clk):
        self.cd_sys, self.cd_por = ClockDomain("sys"), ClockDomain("por", reset_less=True)
        self.rst = Signal()        # LiteX's own
        count = Signal(max=RESET_CYCLES + 1, reset=RESET_CYCLES)
        self.comb += [self.cd_sys.clk.eq(clk), self.cd_por.clk.eq(clk),
                      self.cd_sys.rst.eq((count != 0) | self.rst)]
        self.sync.por += If(count != 0, count.eq(count - 1))


class ExampleSoC(SoCCore):
    """No CPU: a UART reads and writes the bus, and the core is its slave.

    Parameters
    ----------
    platform : litex GenericPlatform
        With "sys_clk" and "serial"; a board brings its own clock and reset instead.
    clock_hz, baud : int
    config, verilog
        Of `Systolith`.
    """

    def __init__(self, platform, clock_hz: int, baud: int, config: CoreConfig, verilog: Path):
        super().__init__(platform, clock_hz, cpu_type=None, integrated_rom_size=0,
                         integrated_sram_size=0, with_uart=False, with_timer=False)
        self.crg = PowerOnReset(platform.request("sys_clk"))
        self.add_uartbone(baudrate=baud)
        self.systolith = Systolith(platform, config, verilog)
        self.bus.add_slave("systolith", self.systolith.bus, SoCRegion(
            origin=ORIGIN, size=self.systolith.size, cached=False))


def write_soc(folder: Path, config: CoreConfig, clock_hz: int, baud: int) -> list[Path]:
    """Write the example's Verilog into a folder; returns the files, the top module `sim` first.

    Raises
    ------
    ConfigError
        The core has pages.
    """
    folder.mkdir(parents=True, exist_ok=True)
    core = folder / f"{TOP}.v"
    platform = SimPlatform("SIM", [*PINS])
    soc = ExampleSoC(platform, clock_hz, baud, config, core)
    core.write_text(emit(config))
    builder = Builder(soc, output_dir=str(folder), compile_software=False,
                      csr_csv=str(folder / "csr.csv"))
    builder.build(run=False)
    return [folder / "gateware" / "sim.v", core]


def main(argv: list[str] | None = None) -> int:
    """Write the example's Verilog."""
    parser = Parser(prog="python -m boards.litex_soc", description=main.__doc__)
    parser.add_argument("--target", required=True, metavar="T")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--clock", type=positive, default=10_000_000, metavar="HZ")
    parser.add_argument("--baud", type=positive, default=1_000_000)
    parser.add_argument("-o", "--output", type=folder_argument, required=True, metavar="DIR")
    arguments = parser.parse_args(argv)

    def run() -> int:
        require_folder(arguments.output)
        config = resolve(arguments.target, ["pages=0", *arguments.set]).config
        files = write_soc(arguments.output, config, arguments.clock, arguments.baud)
        print(", ".join(str(path) for path in files))
        return FINE

    return exit_code(run, ConfigError)


if __name__ == "__main__":
    sys.exit(main())
