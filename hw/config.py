"""One frozen configuration from which every width, depth and address of the core derives."""

import hashlib
from dataclasses import asdict, dataclass, fields
from fractions import Fraction

MULTIPLIERS = ("lut", "mult18x18d", "sb_mac16")
MEMORIES = ("plain", "dp16kd", "ice40")
SKIPS = ("off", "act", "both")
WINDOW_ROWS = 16         # rows that a lane searches at a time
SEEK_ROWS = 8            # the same where it has no queue
NARROW_ZERO = -128       # the byte that narrow multipliers, which add 128, take for zero
PROGRAM_VERSION = 6


class ConfigError(ValueError):
    """A parameter is out of range; the text names field, rule, value and remedy."""


def bits_for(count: int) -> int:
    """Bits that index ``count`` things, at least 1."""
    return max(1, (count - 1).bit_length())


def log2(value: int) -> int:
    """Exponent of a power of two."""
    return value.bit_length() - 1


def at_most(value, exponent: int):
    """Whether an unsigned value is at most ``2**exponent``, from its bits: no carry chain."""
    return ~(value[exponent + 1:].any() | (value[exponent] & value[:exponent].any()))


def _power_of_two(value: int) -> bool:
    return value > 0 and value & (value - 1) == 0


@dataclass(frozen=True, kw_only=True)
class CoreConfig:
    """Shape, memories and building blocks of one core.

    Parameters
    ----------
    P : int
        Clusters, each working on its own pixels or channel groups; they share the weight banks
        through one read port each; 1 or 2.
    L : int
        Lanes: slices of the reduction dimension, one activation each per cycle; 1, 2, 4 or 8.
    C : int
        Columns: output channels of a pass; 4, 8, 16 or 32. A cluster holds L x C multipliers.
    V : int
        Bytes of a line of the activation memory; a power of two, C..L*C and at most 64.
    Q : Fraction
        Requantized values per cycle, all clusters together; Q/P is 1/4, 1/2, 1, 2 ... C/2.
    F : int
        Ports of the activation memory: lines read or written per cycle; 1 or 2.
    align : int
        Bytes to which the feeder can align a kernel row: 1 = any byte (a full rotator),
        V = lines only; a power of two.
    act_lines : int
        Lines of the activation memory (activations, descriptors, and on small devices the
        home of weights and parameters).
    weight_rows : int
        Rows of C bytes in each of the L weight banks.
    patch_lines : int
        Lines of one patch buffer of a cluster; longer patches are split into chunks.
    patch_buffers : int
        Patch buffers of a cluster, 2, 4 or 8: more than 2 hide the way from the activation memory
        to the lanes where patches are short.
    param_groups : int
        Groups of C channels whose bias, multiplier and shift the parameter memory holds.
    pages : int
        1: a port to a backing store, from which a pager fetches weights (on the iCE40: whatever
        LOAD copies) while the core computes; 0: none.
    skip : str
        "act": lanes pass over activations that are zero; "both": also over rows of C weights that
        are; "off": they take every row. Not "both" with memory=ice40.
    dim_bits : int
        Bits that count input rows, output rows and output columns; 8..16.
    column_bits : int
        Bits that count the bytes of an input row; 10..16.
    act_width, weight_width, acc_width : int
        Bits of an activation, a weight, a psum (before the bias joins it); 8, 8 and 24..32.
        The compiler proves that no psum of a layer exceeds them.
    multiplier : str
        "lut", "mult18x18d" (ECP5) or "sb_mac16" (iCE40, two 8x8 products a cell).
    mac_dsps : int
        Multipliers of the array made of DSP cells, the rest of LUTs; only with mult18x18d.
    memory : str
        "plain" (inferred), "dp16kd" (ECP5) or "ice40" (EBR, and SPRAM for activations).
    """

    P: int = 1
    L: int = 4
    C: int = 16
    V: int = 16
    Q: Fraction = Fraction(2)
    F: int = 2
    align: int = 1
    act_lines: int = 2048
    weight_rows: int = 512
    patch_lines: int = 128
    patch_buffers: int = 4
    param_groups: int = 64
    pages: int = 1
    skip: str = "off"
    dim_bits: int = 16
    column_bits: int = 16
    act_width: int = 8
    weight_width: int = 8
    acc_width: int = 32
    multiplier: str = "lut"
    mac_dsps: int = 0
    memory: str = "plain"

    def __post_init__(self):
        object.__setattr__(self, "Q", Fraction(self.Q))
        self._check_choices()
        self._check_shape()
        self._check_depths()

    def _require(self, name: str, rule: str, holds: bool, remedy: str):
        if not holds:
            value = getattr(self, name)
            shown = str(value) if isinstance(value, Fraction) else repr(value)
            raise ConfigError(f"{name} must be {rule}, not {shown}; {remedy}")

    def _check_choices(self):
        choices = {
            "P": (1, 2), "L": (1, 2, 4, 8), "C": (4, 8, 16, 32), "F": (1, 2),
            "pages": (0, 1),
            "patch_buffers": (2, 4, 8), "act_width": (8,), "weight_width": (8,),
            "acc_width": tuple(range(24, 33)),
            "multiplier": MULTIPLIERS, "memory": MEMORIES, "skip": SKIPS,
        }
        for name, allowed in choices.items():
            value = getattr(self, name)
            self._require(name, "one of " + ", ".join(map(str, allowed)),
                          not isinstance(value, bool) and value in allowed,
                          "choose one of these")

    def _check_shape(self):
        most = min(self.row_bytes, 64)
        self._require("V", f"a power of two in C..min(L*C, 64) = {self.C}..{most}",
                      isinstance(self.V, int) and _power_of_two(self.V)
                      and self.C <= self.V <= most and self.V >= self.L,
                      "start from V = C, with C at least L")
        per_cluster = self.Q / self.P
        self._require("Q", f"P times 1/4, 1/2, 1, 2 ... C/2 (P = {self.P}, C = {self.C})",
                      per_cluster in [Fraction(1, 4), Fraction(1, 2)]
                      + [Fraction(2 ** n) for n in range(5) if 2 ** n < self.C],
                      f"for example Q={self.P}")
        self._require("dim_bits", "an integer in 8..16",
                      isinstance(self.dim_bits, int) and 8 <= self.dim_bits <= 16,
                      "16 suits every model")
        self._require("column_bits", "an integer in 10..16",
                      isinstance(self.column_bits, int) and 10 <= self.column_bits <= 16,
                      "16 suits every model")
        self._require("align", f"a power of two in 1..V = 1..{self.V}",
                      isinstance(self.align, int) and _power_of_two(self.align)
                      and self.align <= self.V, "1 suits every model")
        self._require("mac_dsps", f"an even number in 0..P*L*C = 0..{self.macs}, 0 unless "
                      "multiplier is mult18x18d",
                      isinstance(self.mac_dsps, int) and 0 <= self.mac_dsps <= self.macs
                      and self.mac_dsps % 2 == 0
                      and (self.multiplier == "mult18x18d" or self.mac_dsps == 0),
                      "leave it at 0 for other multipliers")

    def _check_depths(self):
        limits = {
            "act_lines": (self.act_granule, 65536),
            "weight_rows": (self.weight_granule, 65536),
        }
        for name, (step, most) in limits.items():
            value = getattr(self, name)
            self._require(name, f"a multiple of {step} in {step}..{most}",
                          isinstance(value, int) and step <= value <= most and value % step == 0,
                          "round it to whole RAM blocks")
        self._require("patch_lines", "a power of two in 16..4096",
                      isinstance(self.patch_lines, int) and 16 <= self.patch_lines <= 4096
                      and _power_of_two(self.patch_lines), "take 64, 128 or 256")
        self._require("param_groups", "an integer in 1..4096",
                      isinstance(self.param_groups, int) and 1 <= self.param_groups <= 4096,
                      "a group serves C output channels of a layer")
        if self.memory == "ice40":
            self._require("V", "at most 8 with memory=ice40 (four SPRAMs of 16 bits)", self.V <= 8,
                          "set V=8 and C=8")
            self._require("F", "1 with memory=ice40 (SPRAM has one port)", self.F == 1, "set F=1")
            self._require("P", "1 with memory=ice40 (EBR has one read port)", self.P == 1,
                          "set P=1")
            self._require("skip", "off or act with memory=ice40 (no memories in LUTs)",
                          self.skip != "both", "set skip=act")
        if self.row_masks:
            self._require("V", f"at most {WINDOW_ROWS} * L = {WINDOW_ROWS * self.L} with skip=both",
                          self.rows_per_line <= WINDOW_ROWS, "set skip=act")

    # --- shape ---------------------------------------------------------------------------------
    @property
    def macs(self) -> int:
        """Multipliers of the array: MACs per cycle at its peak."""
        return self.P * self.L * self.C

    @property
    def row_bytes(self) -> int:
        """Bytes of one weight row of all lanes together."""
        return self.L * self.C

    @property
    def line_bits(self) -> int:
        """Bits of a line of the activation memory."""
        return 8 * self.V

    @property
    def line_words(self) -> int:
        """32-bit words of a line; each can be written alone."""
        return self.V // 4

    @property
    def byte_writes(self) -> bool:
        """Output bytes are written one by one as they are requantized, not as a line.

        Where a value takes four cycles the memory has time for that, and a line of registers is
        saved; a pass's first byte must be there before its last one begins.
        """
        return self.memory == "ice40" and self.beat_cycles == 4 and self.C >= 8

    @property
    def mask_bytes(self) -> int:
        """Bytes of a line that are written together: a byte or a 32-bit word."""
        return 1 if self.byte_writes else 4

    @property
    def line_masks(self) -> int:
        """Separately written parts of a line."""
        return self.V // self.mask_bytes

    @property
    def rows_per_line(self) -> int:
        """Patch rows (one byte a lane) in a line."""
        return self.V // self.L

    @property
    def groups_per_line(self) -> int:
        """Column groups whose outputs share a line."""
        return self.V // self.C

    @property
    def narrow(self) -> bool:
        """True where PEs take unsigned 8-bit activations (x + 128); else x - offset in 9 bits."""
        return self.multiplier == "sb_mac16"

    @property
    def carry_gates(self) -> bool:
        """True where adders of gated terms are carry cells with the gates inside."""
        return self.multiplier == "mult18x18d"

    @property
    def operand_width(self) -> int:
        """Bits of the signed or unsigned activation that enters a PE."""
        return self.act_width if self.narrow else self.act_width + 1

    # --- requantizers --------------------------------------------------------------------------
    @property
    def cluster_q(self) -> Fraction:
        """Requantized values per cycle of one cluster."""
        return self.Q / self.P

    @property
    def requant_units(self) -> int:
        """Requantizers of one cluster: channels that leave it together, a beat."""
        return max(1, int(self.cluster_q))

    @property
    def beat_cycles(self) -> int:
        """Cycles between two beats."""
        return int(1 / min(Fraction(1), self.cluster_q))

    @property
    def beats(self) -> int:
        """Beats that drain the C psums of a pass."""
        return self.C // self.requant_units

    @property
    def short_drains(self) -> bool:
        """A descriptor of few channels leaves beats out; the iCE40 has no logic cells for it."""
        return self.memory != "ice40" and self.beats > 2

    @property
    def twins(self) -> bool:
        """A pass may compute two pixels, each in half of the columns, see the field ``twin``.

        Then a line is written every half pass: nobody else may use the writer's port before it,
        and a pass must have left the shadow before half of it is requantized.
        """
        return (self.memory != "ice40" and 1 < self.beats <= 16 and self.beat_cycles == 1
                and self.groups_per_line == 1 and self.P <= self.F)

    # --- memories ------------------------------------------------------------------------------
    @property
    def index_bits(self) -> int:
        """Bits that number the pages and descriptors of a program with pages."""
        return 10 if self.memory == "ice40" else 12

    @property
    def ram_latency(self) -> int:
        """Cycles from address to data of every RAM: 2 with output register, 1 on the iCE40."""
        return 1 if self.memory == "ice40" else 2

    @property
    def shift_split(self) -> int:
        """Bits of the shift stored beside the bias; the others stand beside the multiplier.

        A bias of 32 + 4 and a multiplier of 32 + 1 bits fill a 36-bit DP16KD slice each; on the
        iCE40 32 and 32 + 5 take 2 + 3 EBRs instead of 3 + 3.
        """
        return 0 if self.memory == "ice40" else 4

    @property
    def table_depth(self) -> int:
        """Words of a table memory: 256 in whole RAM blocks."""
        return align_up(256, 512 if self.memory == "dp16kd" else 256)

    @property
    def param_depth(self) -> int:
        """Beats of the parameter memory, in whole RAM blocks."""
        return align_up(self.param_groups * self.beats, self.weight_granule)

    @property
    def _block(self) -> int:
        """Words of the smallest memory with a write and a read port."""
        return {"plain": 16, "dp16kd": 512, "ice40": 256}[self.memory]

    @property
    def patch_depth(self) -> int:
        """Lines of the patch memory: all buffers, in whole RAM blocks."""
        return align_up(self.patch_buffers * self.patch_lines, self._block)

    @property
    def skips(self) -> bool:
        """Lanes pass over zeros, each at its own pace."""
        return self.skip != "off"

    @property
    def scans(self) -> bool:
        """They know the rows from windows that were read ahead and wait in queues of LUTs."""
        return self.skips and self.pipelined

    @property
    def seeks(self) -> bool:
        """They read a window when they come to it; an operand that multiplies to zero is zero."""
        return self.skips and not self.pipelined

    @property
    def row_masks(self) -> bool:
        """Weight rows that are zero need not be stored: masks say which are."""
        return self.skip == "both"

    @property
    def row_mask_words(self) -> int:
        """Words of the memory of row masks, in whole RAM blocks: a window of all lanes each.

        They describe at least as many weight rows as the banks hold.
        """
        return align_up(-(-self.weight_rows // WINDOW_ROWS), self._block)

    @property
    def window_rows(self) -> int:
        """Rows that a lane searches at a time for one that is not zero; whole lines."""
        return max(SEEK_ROWS if self.seeks else WINDOW_ROWS, self.rows_per_line)

    @property
    def window_lines(self) -> int:
        """Patch lines of a window."""
        return self.window_rows // self.rows_per_line

    @property
    def windows(self) -> int:
        """Windows of a patch buffer, a power of two."""
        return self.patch_lines // self.window_lines

    @property
    def window_bits(self) -> int:
        """Bits that number the windows of a patch buffer."""
        return bits_for(self.windows)

    @property
    def mark_addr_bits(self) -> int:
        """Bits that number the windows of all patch buffers."""
        return self.window_bits + self.buffer_bits

    @property
    def mask_depth(self) -> int:
        """Words of the memory of masks: a window each, all buffers, in whole RAM blocks."""
        return align_up(self.patch_buffers * self.windows, self._block)

    @property
    def act_granule(self) -> int:
        """Lines of the smallest activation memory; depths are multiples of it."""
        return {"plain": 16, "dp16kd": 1024, "ice40": 16384}[self.memory]

    @property
    def weight_granule(self) -> int:
        """Rows of the smallest weight bank; depths are multiples of it."""
        return 1024 if self.memory == "dp16kd" and self.P == 2 else self._block

    @property
    def act_addr_bits(self) -> int:
        """Bits of a line address."""
        return bits_for(self.act_lines)

    @property
    def byte_addr_bits(self) -> int:
        """Bits of a byte address in the activation memory."""
        return self.act_addr_bits + bits_for(self.V)

    @property
    def weight_addr_bits(self) -> int:
        """Bits of a row address in a weight bank."""
        return bits_for(self.weight_rows)

    @property
    def patch_addr_bits(self) -> int:
        """Bits of a line address within one patch buffer."""
        return bits_for(self.patch_lines)

    @property
    def buffer_bits(self) -> int:
        """Bits that number the patch buffers."""
        return bits_for(self.patch_buffers)

    @property
    def param_addr_bits(self) -> int:
        """Bits of a beat address in the parameter memory."""
        return bits_for(self.param_depth)

    @property
    def pipelined(self) -> bool:
        """Registers between address generation, memory and array for clock rate.

        The iCE40 goes without them: its logic cells are scarcer than its nanoseconds.
        """
        return self.memory != "ice40"

    @property
    def strips(self) -> bool:
        """Depthwise windows slide: lane l takes the column that lane l - 1 took a column ago.

        It needs small memories in LUTs; where a value takes four cycles it would gain nothing.
        """
        return self.memory != "ice40" and self.L > 1

    @property
    def overlaps(self) -> bool:
        """Passes with a residual enter the drain while others wait for their second round.

        The bytes of those wait in memories of LUTs.
        """
        return self.memory != "ice40"

    @property
    def settle_cycles(self) -> int:
        """Cycles after the launch of a descriptor in which the units may still seem idle."""
        return self.P + 1 if self.pipelined else 1

    @property
    def host_stores(self) -> bool:
        """The host can write weights, parameters and table itself.

        On the iCE40 they are caches of the activation memory, which LOAD fills.
        """
        return self.memory != "ice40"

    # --- host ----------------------------------------------------------------------------------
    @property
    def space_bits(self) -> int:
        """Bits of a 32-bit word offset within one address space of the host port."""
        return bits_for(max(self.act_lines * self.V // 4, self.weight_rows * self.row_bytes // 4,
                            self.param_groups * self.C * 4, 256))

    @property
    def hash(self) -> int:
        """32 bits of everything that a compiled program depends on."""
        text = ",".join(f"{f.name}={getattr(self, f.name)}" for f in fields(self))
        digest = hashlib.sha256(f"v{PROGRAM_VERSION},{text}".encode()).digest()
        return int.from_bytes(digest[:4], "little")

    def items(self) -> dict:
        """Field names and plain values (Q as text), as TOML and reports hold them."""
        return {k: str(v) if isinstance(v, Fraction) else v for k, v in asdict(self).items()}


def align_up(value: int, step: int) -> int:
    """The smallest multiple of ``step`` that is at least ``value``."""
    return -(-value // step) * step


def slot_bytes(config: CoreConfig) -> int:
    """Bytes from one descriptor to the next: its fields, then its counters, in whole lines."""
    return align_up(64, config.V) + align_up(16, config.V)
