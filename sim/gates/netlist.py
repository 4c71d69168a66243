"""A synthesised netlist as Verilog: the cells that place and route takes, under short names."""

from collections.abc import Mapping

NO_CELLS = ("$scopeinfo",)  # names of the hierarchy that was


def to_verilog(module: Mapping, name: str) -> str:
    """Return the Verilog of one module of a netlist.

    Parameters
    ----------
    module : mapping
        Yosys' JSON of it, with ports of one bit.
    name : str
        Of the module.
    """
    ports, lines, bits = [], [], set()
    for port, pin in module["ports"].items():
        (bit,) = pin["bits"]
        ports.append(f"{pin['direction']} {port}")
        sides = (port, _bit(bit)) if pin["direction"] == "output" else (_bit(bit), port)
        lines.append(f"assign {sides[0]} = {sides[1]};")
        bits.add(bit)
    for number, cell in enumerate(module["cells"].values()):
        if cell["type"] in NO_CELLS:
            continue
        parameters = ", ".join(f".{key}({_parameter(value)})"
                               for key, value in cell["parameters"].items())
        pins = ", ".join(f".{pin}({{{', '.join(map(_bit, reversed(wires)))}}})"
                         for pin, wires in cell["connections"].items() if wires)
        lines.append(f"{cell['type']} #({parameters}) c{number} ({pins});")
        bits.update(bit for wires in cell["connections"].values() for bit in wires)
    wires = [f"wire {_bit(bit)};" for bit in sorted(bit for bit in bits if isinstance(bit, int))]
    return "\n".join([f"module {name} ({', '.join(ports)});", *wires, *lines, "endmodule", ""])


def _bit(bit: int | str) -> str:
    """A net's name, or a constant; undefined ones are 0, as the tools make them."""
    if isinstance(bit, int):
        return f"n{bit}"
    return "1'b1" if bit == "1" else "1'b0"


def _parameter(value: str) -> str:
    """Bits, or text; text that could be bits has a space more."""
    if value and not value.strip("01xz"):
        return f"{len(value)}'b{value}"
    return f'"{value.removesuffix(" ")}"'
