"""Descriptor, program header and register layouts: the contract of compiler, core and host."""

from dataclasses import dataclass
from enum import IntEnum

from hw.config import CoreConfig, bits_for

MAGIC = 0x48545359  # "YSTH" little endian: first word of a program
HEADER_WORDS = 4    # magic, version, configuration hash, number of descriptors (END not counted)
DESCRIPTOR_WORDS = 16
STRIP_ROWS = 16     # kernel rows of a strip at most: depth of the lanes' delays
PAGE_HEAD_WORDS = 3 # descriptor that must run; 32-bit words; Space << 29 | offset in words
PAGE_PACKED = 15    # bit of the second: masks follow, and only words that are not zero
PAGE_WORD_BITS = 14 # bits of the number of words of a page; a page of 0 words ends the stream
PAGE_MASK_WORDS = 32    # words that a packed page's mask is for: a bit each
COUNTER_WORDS = 4   # written back behind each descriptor, see COUNTERS
PATIENCE_BITS = 4   # of the register PATIENCE


class Opcode(IntEnum):
    """What a descriptor does."""

    END = 0
    LOAD = 1      # copy lines of the activation memory to weights, parameters or the table
    CONV = 2      # lanes walk the reduction dimension: convolution, fully connected
    CHANNEL = 3   # column c takes byte c of each patch line: average pooling
    MAX = 4       # running maximum of each byte over the patch: max pooling
    ADD = 5       # elementwise sum of two tensors that lie alike
    WAIT = 6      # until pages from the backing store have arrived


class Space(IntEnum):
    """Address spaces of the host port, destinations of LOAD and of pages; parts of an image."""

    REGS = 0
    ACT = 1
    WEIGHT = 2
    PARAM = 3
    TABLE = 4
    STORE = 5     # the backing store: not on the host port
    MASK = 6      # row masks, see hw.masks


class Error(IntEnum):
    """Code in the status register; everything but NONE stops the core until the next start."""

    NONE = 0
    MAGIC = 1        # no program at PROGRAM
    VERSION = 2      # made by another version of the compiler
    CONFIG = 3       # made for another configuration of the core
    OPCODE = 4       # unknown opcode
    DESCRIPTOR = 5   # a field is zero or larger than the core
    ADDRESS = 6      # an access would leave a memory
    TIMEOUT = 7      # no progress
    STORE = 8        # the backing store was silent for PATIENCE


@dataclass(frozen=True)
class Field:
    """Bits of a descriptor: word, lowest bit, width, signedness and meaning."""

    name: str
    word: int
    low: int
    width: int
    signed: bool
    doc: str


def _fields(*rows) -> dict[str, Field]:
    return {row[0]: Field(*row) for row in rows}


DESCRIPTOR = _fields(
    ("op", 0, 0, 4, False, "Opcode"),
    ("split", 0, 4, 1, False, "clusters share out 0: pixels, 1: groups"),
    ("chunked", 0, 5, 1, False, "the patch exceeds a buffer: refetched per group, psums kept"),
    ("add", 0, 6, 1, False, "CONV: add the residual tensor to the requantized outputs"),
    ("table_first", 0, 7, 1, False, "of an addition, the table rescales 0: the residual (or second "
     "tensor), 1: the convolution's output (or first tensor); the other is (x - z_other) << 19; "
     "MAX: 1: add the maximum's entry of the table"),
    ("uniform", 0, 8, 1, False, "all groups use the parameters of the first"),
    ("hold", 0, 9, 1, False, "CHANNEL: one weight row serves all rows of all groups"),
    ("strip", 0, 10, 2, False, "CHANNEL: columns that a window does not share with its left "
     "neighbour; only they are fetched, and lane l works on the column of lane l-1 before; 0: "
     "windows are fetched whole, for lane 0"),
    ("skip", 0, 12, 1, False, "CONV: lanes pass over bytes equal to offset, where config.skip"),
    ("packed", 0, 13, 1, False, "CONV: weight rows that are zero are not stored, where "
     "config.row_masks; w_base and group_rows then count words of row masks"),
    ("resume", 0, 14, 1, False, "CONV: the first pass adds to the psums of the descriptor before"),
    ("twin", 0, 15, 1, False, "CONV without add, where config.twins: a window is that of two "
     "output pixels, each of C/2 columns; their lines follow each other; out_w and out_pitch count "
     "pairs"),
    ("fill", 0, 16, 8, True, "byte that stands for what lies outside the tensor"),
    ("offset", 0, 24, 8, True, "subtracted from activations (wide multipliers): the zero point"),
    ("in_start", 1, 0, 24, True, "byte address of input row -pad_top, column 0"),
    ("kernel_h", 1, 24, 8, False, "kernel rows"),
    ("row_bytes", 2, 0, 16, False, "bytes of an input row"),
    ("segment_bytes", 2, 16, 16, False, "contiguous bytes of a kernel row taken as one segment"),
    ("y_step", 3, 0, 24, False, "bytes between the windows of two output rows"),
    ("segments", 3, 24, 8, False, "segments of a kernel row"),
    ("x_start", 4, 0, 16, True, "byte column of the first window: -pad_left * pixel bytes"),
    ("x_step", 4, 16, 16, False, "bytes between the windows of two output columns"),
    ("segment_pitch", 5, 0, 16, False, "bytes between two segments"),
    ("in_h", 5, 16, 16, False, "input rows"),
    ("out_w", 6, 0, 16, False, "output columns"),
    ("out_h", 6, 16, 16, False, "output rows"),
    ("y_start", 7, 0, 8, True, "first window's input row: -pad_top"),
    ("stride_h", 7, 8, 8, False, "input rows between two output rows"),
    ("w_base", 8, 0, 16, False, "first weight row; LOAD: not used"),
    ("group_rows", 8, 16, 16, False, "weight rows of a group"),
    ("groups", 9, 0, 16, False, "column groups; LOAD: lines to copy; WAIT: pages that "
     "must have arrived"),
    ("param_base", 9, 16, 16, False, "first parameter group"),
    ("out_base", 10, 0, 16, False, "first output line; LOAD: first destination address"),
    ("out_pitch", 10, 16, 16, False, "lines of an output pixel"),
    ("out_row", 11, 0, 16, False, "lines from one output row to the next"),
    ("res_base", 11, 16, 16, False, "first residual line (second tensor of ADD), laid out as the "
     "output; LOAD: first source line"),
    ("zero_point", 12, 0, 8, True, "of the (convolution's) output; LOAD: destination Space"),
    ("low", 12, 8, 8, True, "activation clamp"),
    ("high", 12, 16, 8, True, "activation clamp"),
    ("z_other", 12, 24, 8, True, "zero point of the operand that is shifted, not looked up"),
    ("add_zero_point", 13, 0, 8, True, "of the sum (and of MAX's output)"),
    ("add_low", 13, 8, 8, True, "activation clamp of the sum"),
    ("add_high", 13, 16, 8, True, "activation clamp of the sum"),
    ("add_param", 14, 0, 16, False, "parameter group of the sum (and of MAX)"),
    ("spare", 14, 16, 5, False, "CONV without add, CHANNEL, MAX, where config.short_drains: beats "
     "at the end of a pass that have no channels and are left out; at least two remain"),
    ("a_base", 1, 0, 16, False, "ADD, in the place of in_start: first line of the first tensor, "
     "laid out as the output"),
)

COUNTERS = (
    ("cycles", "core cycle counter when the descriptor ended; differences are its cycles"),
    ("feed", "cycles in which cluster 0 had room for a row but no patch"),
    ("drain", "cycles in which cluster 0 waited for the shadow psums to drain"),
    ("busy", "rows that the lanes issued: of each lane of each cluster"),
)

# Host registers in Space.REGS: name, word offset, access, meaning.
REGISTERS = (
    ("ID", 0, "r", "MAGIC"),
    ("VERSION", 1, "r", "program version that the core runs"),
    ("CONFIG", 2, "r", "configuration hash"),
    ("CONTROL", 3, "w", "bit 0: start; bit 1: stop, back to idle"),
    ("STATUS", 4, "r", "bit 0: busy, bit 1: done, bits 8..15: Error, 16..31: descriptor index"),
    ("PROGRAM", 5, "rw", "line address of the program header"),
    ("CYCLES", 6, "r", "cycles from start to done"),
    ("PATIENCE", 7, "rw", "4 bits: times 65,536 cycles that WAIT lasts without a word from the "
     "backing store; 0: for ever"),
)


def field_widths(config: CoreConfig) -> dict[str, int]:
    """Bits of each field that a core implements; a descriptor with others set is refused.

    Line addresses have a bit more than bases and steps: no step passes over what lies behind the
    memory, where an access is an error.
    """
    line, weight = config.act_addr_bits + 1, config.weight_addr_bits + 1
    byte, param = line + bits_for(config.V), bits_for(config.param_groups) + 1
    limits = {
        "in_start": byte, "y_step": byte, "in_h": config.dim_bits, "out_w": config.dim_bits,
        "out_h": config.dim_bits, "w_base": weight, "group_rows": weight, "groups": line,
        "param_base": param, "add_param": param, "out_base": line - 1,
        "strip": 2 if config.strips else 0, "skip": int(config.skips),
        "packed": int(config.row_masks), "twin": int(config.twins),
        "spare": bits_for(config.beats) if config.short_drains else 0,
        "row_bytes": config.column_bits,
        "segment_bytes": config.column_bits, "segment_pitch": config.column_bits,
        "x_start": config.column_bits, "x_step": config.column_bits,
        "out_pitch": line - 1, "out_row": line - 1, "res_base": line - 1, "a_base": line - 1,
    }
    return {name: min(field.width, limits.get(name, field.width))
            for name, field in DESCRIPTOR.items()}


def group_bits(config: CoreConfig) -> int:
    """Bits that number the column groups of a layer; LOAD counts lines in the same field."""
    return min(10, field_widths(config)["groups"])


def encode(config: CoreConfig | None = None, /, **values: int) -> list[int]:
    """The words of a descriptor; absent fields are zero.

    Parameters
    ----------
    config : CoreConfig, optional
        Whose fields may be narrower.

    Raises
    ------
    OverflowError
        A value does not fit its field; the text names field, range and value.
    """
    words = [0] * DESCRIPTOR_WORDS
    widths = field_widths(config) if config else {}
    if config and values.get("op") not in (Opcode.LOAD, Opcode.WAIT):
        widths["groups"] = group_bits(config)
    for name, value in values.items():
        field = DESCRIPTOR[name]
        width = widths.get(name, field.width)
        low = -(1 << width - 1) if field.signed else 0
        high = low + (1 << width) - 1
        if not low <= value <= high:
            raise OverflowError(f"{name} must be in {low}..{high}, not {value}")
        words[field.word] |= (value & (1 << field.width) - 1) << field.low
    return words


def decode(words: list[int]) -> dict[str, int]:
    """Field values of a descriptor, the inverse of ``encode``; what its opcode lacks is 0."""
    values = {}
    for name, field in DESCRIPTOR.items():
        raw = words[field.word] >> field.low & (1 << field.width) - 1
        values[name] = raw - (1 << field.width) if field.signed and raw >> field.width - 1 else raw
    values["in_start" if values["op"] == Opcode.ADD else "a_base"] = 0     # they share their bits
    return values
