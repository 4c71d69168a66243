"""Registers of the streams beside the core's own: the contract of wrapper and software."""

from amaranth.lib import data

# In Space.REGS, behind the core's registers: name, word offset, access, meaning.
STREAM_REGISTERS = (
    ("STREAM_CONTROL", 16, "rw", "what the streams do, see below"),
    ("STREAM_STATUS", 17, "rw", "what they did; 1 clears the bits that stay set"),
    ("IN_LINE", 18, "rw", "line of the activation memory where the input begins"),
    ("IN_BYTES", 19, "rw", "bytes of the input as it lies there"),
    ("OUT_LINE", 20, "rw", "line where the output begins"),
    ("OUT_BYTES", 21, "rw", "bytes of the output as it lies there"),
)
BLOCK_BITS = 3     # word offset bits of a block that holds them all

CONTROL = data.StructLayout({"receive": 1, "start": 1, "send": 1})
CONTROL_DOCS = {
    "receive": "take inputs; they wait while the core is busy or `received` is set",
    "start": "a whole input starts the program",
    "send": "when a program is done, the output leaves",
}
EVENTS = data.StructLayout(
    {"received": 1, "sent": 1, "early": 1, "late": 1, "refused": 1, "failed": 1})
ERRORS = ("early", "late", "refused", "failed")
STATUS = data.StructLayout({"receiving": 1, "sending": 1, "events": EVENTS})
STATUS_DOCS = {
    "receiving": "an input is coming",
    "sending": "an output is leaving",
    "received": "stays set: a whole input is in memory. An output that was sent clears it, too",
    "sent": "stays set: an output has left",
    "early": "stays set: TLAST, or a byte that TKEEP leaves out, before the end of the tensor",
    "late": "stays set: no TLAST at the end of the tensor; the rest of the frame is dropped",
    "refused": "stays set: the core refused a word outside the memory; one of the output is sent "
               "as 0",
    "failed": "stays set: the program ended with an error; its output is not sent",
}


def bit_positions(layout: data.StructLayout) -> dict[str, int]:
    """Lowest bit of each field, fields of fields in their places."""
    found = {}
    for name, field in layout:
        inner = field.shape
        found |= ({key: field.offset + bit for key, bit in bit_positions(inner).items()}
                  if isinstance(inner, data.StructLayout) else {name: field.offset})
    return found
