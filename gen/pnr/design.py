"""What place and route is given: Verilog, where its pins are, and its clock."""

from dataclasses import dataclass, field

from gen.pnr.shell import SHELL, shell
from gen.targets import Target
from gen.verilog import emit

GOAL = 1.1        # the router is asked for this much more than the target needs
GOAL_MHZ = 50.0   # and for this where nothing is asked
CLOCK_PIN = "G2"  # of a CABGA381 that leads to the clock network; others may not reach it


@dataclass(frozen=True, kw_only=True)
class Design:
    """A design for a device.

    Parameters
    ----------
    target : Target
        Device, package and the clock that is wanted.
    top : str
        Module.
    sources : dict of str to str
        Verilog by file name.
    constraints : str
        Pins and oscillators, as PCF (iCE40) or LPF (ECP5).
    clock : str
        Net of the core's clock where there are others; the router is asked for its `goal_mhz`.
    bitstream : str
        File to pack; "" for none.
    pack : tuple of str
        Options of the packer.
    """

    target: Target
    top: str
    sources: dict[str, str]
    constraints: str = ""
    clock: str = ""
    bitstream: str = ""
    pack: tuple[str, ...] = field(default=())

    @property
    def all_constraints(self) -> str:
        """With the clock's goal."""
        if not self.clock:
            return self.constraints
        goal = goal_mhz(self.target)
        line = f"set_frequency {self.clock} {goal:g}" if self.target.family == "ice40" else \
            f'FREQUENCY NET "{self.clock}" {goal:g} MHZ;'
        return f"{self.constraints.rstrip()}\n{line}\n"


def goal_mhz(target: Target) -> float:
    """Return the clock that the router is asked for."""
    return target.min_mhz * GOAL or GOAL_MHZ


def core_design(target: Target) -> Design:
    """A core alone, its bus behind five pins."""
    pin = f'LOCATE COMP "clk" SITE "{CLOCK_PIN}";\n' if target.family == "ecp5" else ""
    return Design(target=target, top=SHELL, constraints=pin, sources={
        "systolith.v": emit(target.config), "shell.v": shell(target.config)})
