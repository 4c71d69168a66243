"""What lowering produces: layers of steps, each a descriptor whose addresses are still open."""

from dataclasses import dataclass, field

import numpy as np

from hw.config import CoreConfig
from hw.layout import Opcode

WALKS = (Opcode.CONV, Opcode.CHANNEL, Opcode.MAX)   # walk through their input, window by window

@dataclass(frozen=True, kw_only=True)
class Storage:
    """A tensor in the activation memory: NHWC with a fixed number of bytes a pixel.

    Parameters
    ----------
    height, width, channels : int
        width: with the margin.
    pixel_bytes : int
        At least channels; a multiple of V everywhere but in the network's input.
    margin : (left, right)
        Of the network's input: columns of zero points that lie beside it, so that windows begin
        where the feeder can begin.
    """

    height: int
    width: int
    channels: int
    pixel_bytes: int
    margin: tuple[int, int] = (0, 0)

    @property
    def pixels(self) -> int:
        """Number of pixels."""
        return self.height * self.width

    @property
    def row_bytes(self) -> int:
        """Bytes of a row of pixels."""
        return self.width * self.pixel_bytes

    @property
    def size(self) -> int:
        """Bytes of the tensor."""
        return self.height * self.row_bytes

    @property
    def contiguous(self) -> bool:
        """Whether the tensor's values follow each other without padding."""
        return self.pixel_bytes == self.channels

    def lines(self, config: CoreConfig) -> int:
        """Lines of the activation memory it occupies."""
        return -(-self.size // config.V)


@dataclass(frozen=True, kw_only=True)
class Step:
    """One descriptor (or several, if its groups are paged) before placement.

    Parameters
    ----------
    op : Opcode
    fields : dict
        Descriptor fields except addresses, groups and the bases.
    groups : int
        Column groups.
    weights : numpy.ndarray
        uint8 [groups, group_rows * L * C], or [1, L * C] with ``hold``; [0, 0] without weights.
    masks : numpy.ndarray or None
        Of a packed step, uint32 [groups, group_rows, L]: its row masks, as `hw.masks` has them,
        bases counted from its first row. ``weights`` is then uint8 [1, rows * L * C], the stored
        rows of all groups.
    params : numpy.ndarray
        uint32 [groups, C, 4], or [1, C, 4] with ``uniform``; [0, C, 4] without parameters.
    add_params : numpy.ndarray or None
        uint32 [1, C, 4]: the parameters of the sum, or of MAX.
    table : numpy.ndarray or None
        int32 [256] of an addition or MAX.
    source, output, residual, second : int or None
        Root tensors: what the feeder reads; what is written; the residual of a fused ADD or
        second tensor of ADD; ADD's first tensor.
    written : int or None
        Tensor that holds the weights in their order when the step begins; ``weights`` is zeros.
    in_offset : int
        Bytes from the source tensor's start to ``in_start``.
    out_offset : int
        Lines from the output tensor's start to the step's first pixel.
    """

    op: Opcode
    fields: dict[str, int]
    groups: int
    weights: np.ndarray
    params: np.ndarray
    output: int
    masks: np.ndarray | None = None
    add_params: np.ndarray | None = None
    table: np.ndarray | None = None
    source: int | None = None
    residual: int | None = None
    first: int | None = None
    written: int | None = None
    in_offset: int = 0
    out_offset: int = 0

    def rows(self, config: CoreConfig) -> int:
        """Rows of the patch of a CONV."""
        f = self.fields
        return -(-f["kernel_h"] * f["segments"] * f["segment_bytes"] // config.L)

    @property
    def group_rows(self) -> int:
        """Rows of the patch, and of the weights unless one is held; words of its row masks."""
        return self.fields.get("group_rows", 0)

    @property
    def hold(self) -> bool:
        """One weight row serves all."""
        return bool(self.fields.get("hold", 0))

    @property
    def portion(self) -> bool:
        """It leaves psums to the next step, or resumes them: its groups stay together."""
        return "resume" in self.fields

    @property
    def uniform(self) -> bool:
        """One parameter group serves all."""
        return bool(self.fields.get("uniform", 0))


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One layer: the operators it computes and the steps that do it.

    Parameters
    ----------
    name : str
        Of its operators, joined by "+".
    ops : tuple of str
        Names of the operators.
    kind : str
        TFLite's names of the operators, joined by "+".
    output : int
        The tensor that the layer writes (its root).
    tensors : tuple of int
        Every tensor of the graph that lies in the layer's output: itself and its reshapes.
    fused : tuple of int
        Tensors that are never written because the layer computes past them.
    inputs : tuple of int
        Root tensors that the layer reads.
    scratch : int or None
        A tensor, not of the graph, that lives during the layer only.
    in_place : int or None
        The input over which the layer writes its output.
    macs : int
    steps : tuple of Step
    stripes : int
        In how many stripes of rows its output is computed; see `gen.lower.stripes`.
    macs_again : int
        MACs that the stripes compute a second time, besides ``macs``.
    """

    name: str
    ops: tuple[str, ...]
    kind: str
    output: int
    inputs: tuple[int, ...]
    macs: int
    steps: tuple[Step, ...]
    tensors: tuple[int, ...] = ()
    fused: tuple[int, ...] = ()
    scratch: int | None = None
    in_place: int | None = None
    stripes: int = 1
    macs_again: int = 0


@dataclass(frozen=True, kw_only=True)
class Lowered:
    """A lowered network.

    Parameters
    ----------
    layers : tuple of Layer
        In execution order.
    storages : dict of int to Storage
        Root tensors that the core reads or writes.
    roots : dict of int to int
        For each activation of the graph the tensor in whose memory it lies.
    output : int
        The last tensor that the core computes (not a root, perhaps).
    host : tuple of str
        Operators left to the host, behind the output.
    double : bool
        Input and output get their memory twice, see `gen.image.Twin`.
    """

    layers: tuple[Layer, ...]
    storages: dict[int, Storage]
    roots: dict[int, int]
    output: int
    host: tuple[str, ...] = field(default=())
    double: bool = False


def no_weights() -> np.ndarray:
    """The weights of a step without any."""
    return np.zeros((0, 0), np.uint8)


def no_params(config: CoreConfig) -> np.ndarray:
    """The parameters of a step without any."""
    return np.zeros((0, config.C, 4), np.uint32)


def param_words(config: CoreConfig, bias, multiplier, shift) -> np.ndarray:
    """Parameter groups [groups, C, 4] of channels; those missing in the last group are zero."""
    count = len(bias)
    groups = -(-count // config.C)
    words = np.zeros((groups * config.C, 4), np.uint32)
    words[:count, 0] = shift
    words[:count, 1] = (np.asarray(bias, np.int64) & 0xFFFFFFFF).astype(np.uint32)
    words[:count, 2] = multiplier
    return words.reshape(groups, config.C, 4)


def uniform_words(config: CoreConfig, bias: int, multiplier: int, shift: int) -> np.ndarray:
    """One parameter group with the same parameters in every channel."""
    return param_words(config, [bias] * config.C, [multiplier] * config.C, [shift] * config.C)


def spare_beats(config: CoreConfig, channels: int) -> int:
    """Beats at the end of a pass that have no channels, where one group has all, and may go."""
    unused = max(0, config.C - channels)
    return min(unused // config.requant_units, config.beats - 2) if config.short_drains else 0


def choose_split(config: CoreConfig, width: int, height: int, groups: int) -> int:
    """How two clusters share the work: 0 pixels, 1 groups, whichever leaves fewer passes."""
    if config.P == 1 or not (width >= config.P or height == 1):
        return 0 if config.P == 1 else 1
    pixels = width * height
    return int(pixels * -(-groups // config.P) < -(-pixels // config.P) * groups)


def busiest_share(config: CoreConfig, things: int, groups: int) -> int:
    """Things times groups of the busiest cluster, as the clusters share things or groups."""
    return min(things * -(-groups // config.P), -(-things // config.P) * groups)


def choose_turns(config: CoreConfig, height: int, groups: int) -> int:
    """How two clusters share strips: 0 rows, 1 groups, whichever leaves fewer strips."""
    if config.P == 1:
        return 0
    return int(height * -(-groups // config.P) < -(-height // config.P) * groups)
