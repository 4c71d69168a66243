"""The register map document: host port, descriptors and address map, from hw/layout.py."""

from collections.abc import Iterable

from hw.axi.layout import (
    CONTROL,
    CONTROL_DOCS,
    STATUS,
    STATUS_DOCS,
    STREAM_REGISTERS,
    bit_positions,
)
from hw.config import PROGRAM_VERSION, CoreConfig, slot_bytes
from hw.layout import (
    COUNTERS,
    DESCRIPTOR,
    DESCRIPTOR_WORDS,
    HEADER_WORDS,
    MAGIC,
    REGISTERS,
    Error,
    Opcode,
    Space,
)
from hw.stores import space_words

SPACE_DOCS = {
    Space.REGS: ("registers", "read and write"),
    Space.ACT: ("activation memory", "read and write, while idle"),
    Space.WEIGHT: ("weight banks", "write, while idle; not on the iCE40"),
    Space.PARAM: ("bias, multiplier and shift of each channel", "write"),
    Space.TABLE: ("rescaling table of additions", "write"),
    Space.MASK: ("row masks of packed layers", "write, where the core has them"),
    Space.STORE: ("the backing store: part of a program's image", "not on the bus"),
}
OPCODE_DOCS = {
    Opcode.END: "the program is done",
    Opcode.LOAD: "copy lines of the activation memory to weights, parameters or the table",
    Opcode.CONV: "convolution, fully connected: lanes walk the reduction dimension",
    Opcode.CHANNEL: "depthwise, average pooling: column c takes byte c of each patch line",
    Opcode.MAX: "max pooling: running maximum of each byte over the patch",
    Opcode.ADD: "elementwise sum of two tensors that lie alike",
    Opcode.WAIT: "until `groups` pages have arrived from the backing store since the start",
}
ERROR_DOCS = {
    Error.NONE: "no error",
    Error.MAGIC: "no program at PROGRAM",
    Error.VERSION: "made by another version of the compiler",
    Error.CONFIG: "made for another configuration of the core",
    Error.OPCODE: "unknown opcode",
    Error.DESCRIPTOR: "a field is zero or larger than the core",
    Error.ADDRESS: "an access would leave a memory",
    Error.TIMEOUT: "no progress",
    Error.STORE: "WAIT lasted PATIENCE times 65,536 cycles without a word from the backing store",
}


def table(head: Iterable[str], rows: Iterable[Iterable]) -> str:
    """Return a Markdown table."""
    head = list(head)
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def _address_map(config: CoreConfig, bus: str) -> str:
    rows = []
    last = (STREAM_REGISTERS if bus == "axi" else REGISTERS)[-1]
    for space, words in ({Space.REGS: last[1] + 1} | space_words(config)).items():
        base = space << config.space_bits
        name, access = SPACE_DOCS[space]
        rows.append((f"`{space.name}`", f"0x{4 * base:07x}", f"0x{4 * (base + words) - 1:07x}",
                     words, name, access))
    return table(("space", "first byte", "last byte", "words", "what", "access"), rows)


def _registers(config: CoreConfig) -> str:
    resets = {"ID": f"0x{MAGIC:08x}", "VERSION": PROGRAM_VERSION, "CONFIG": f"0x{config.hash:08x}"}
    rows = [(f"`{name}`", f"0x{4 * offset:02x}", access, resets.get(name, 0), doc)
            for name, offset, access, doc in REGISTERS]
    return table(("register", "byte offset", "access", "value after reset", "meaning"), rows)


def stream_registers() -> str:
    """Return the tables of the registers that AXI streams have, in Markdown."""
    registers = table(("register", "byte offset", "access", "meaning"), [
        (f"`{name}`", f"0x{4 * offset:02x}", access, doc)
        for name, offset, access, doc in STREAM_REGISTERS])
    return "\n\n".join((registers, _bits("STREAM_CONTROL", CONTROL, CONTROL_DOCS),
                        _bits("STREAM_STATUS", STATUS, STATUS_DOCS)))


def _bits(register: str, layout, docs) -> str:
    return table((f"bit of `{register}`", "name", "meaning"), [
        (bit, f"`{name}`", docs[name]) for name, bit in bit_positions(layout).items()])


def _port(config: CoreConfig, bus: str) -> str:
    """What the host's port is called and how it counts."""
    space, word = (f"{config.space_bits + 2}..{config.space_bits}", f"{config.space_bits - 1}..0")
    wishbone = (f"Wishbone B4 classic, 32-bit data. `bus__adr` counts words: bits {space} are the "
                f"space, bits {word} the word within it. `bus__ack` or `bus__err` answers every "
                f"access; memories but ACT answer `err` while the core is busy.")
    axi = ("AXI4-Lite, 32-bit data, byte addresses. SLVERR answers a write of a part of a word, an "
           "access beyond a memory, and one to another memory than ACT while the core is busy.")
    return {"wishbone": wishbone, "axi": axi}[bus]


def _descriptor() -> str:
    rows = [(field.word, f"{field.low + field.width - 1}..{field.low}", f"`{field.name}`",
             "signed" if field.signed else "unsigned", field.doc)
            for field in DESCRIPTOR.values()]
    return table(("word", "bits", "field", "kind", "meaning"), rows)


def _codes(members, docs) -> str:
    return table(("code", "name", "meaning"), [(int(m), m.name, docs[m]) for m in members])


def registers(config: CoreConfig, bus: str = "wishbone") -> str:
    """Return registers.md for a core, in Markdown."""
    settings = ", ".join(f"{name} = {value}" for name, value in config.items().items())
    counters = table(("word", "counter", "meaning"),
                     [(n, f"`{name}`", doc) for n, (name, doc) in enumerate(COUNTERS)])
    streams = f"## Streams\n{stream_registers()}\n\n" if bus == "axi" else ""
    return f"""\
# Host port, registers and descriptors
Generated from `hw/layout.py`; do not edit.

Configuration hash 0x{config.hash:08x}: {settings}.

## Host port
{_port(config, bus)}

{_address_map(config, bus)}

## Registers
{_registers(config)}

Status error codes:

{_codes(Error, ERROR_DOCS)}

{streams}## Program
A program starts on a line ({config.V} bytes) of the activation memory with a header of \
{HEADER_WORDS} words: magic 0x{MAGIC:08x}, version {PROGRAM_VERSION}, configuration hash, number \
of descriptors without END. Slots of {slot_bytes(config)} bytes follow: {DESCRIPTOR_WORDS} words \
of fields, then {len(COUNTERS)} counters that the core writes.

Opcodes:

{_codes(Opcode, OPCODE_DOCS)}

Fields of a descriptor:

{_descriptor()}

Counters behind a descriptor:

{counters}
"""
