"""Program images: what is written to the core's memories, and what lies where afterwards."""

import json
import struct
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from gen.fold import FoldedTensor
from hw.config import PROGRAM_VERSION, CoreConfig, align_up
from hw.layout import Space
from models.graph import ModelError

MAGIC = b"SYSTPROG"
HEAD = struct.Struct("<8s4I")  # magic, version, configuration hash, CRC-32, metadata bytes
AGAIN = "compile the model again"


@dataclass(frozen=True, kw_only=True)
class Section:
    """Bytes for one address space of the host port, from a 32-bit word offset on."""

    space: int
    offset: int
    data: bytes


@dataclass(frozen=True, kw_only=True)
class Placement:
    """A tensor in the activation memory.

    Parameters
    ----------
    tensor : int
        Index in the graph.
    shape : tuple of int
        As in the graph, without folded channels.
    line : int
        First line.
    pixels, channels, pixel_bytes : int
        It lies as pixels of pixel_bytes bytes, of which the first channels count.
    margin : (left, right)
        Pixels that lie beside each of its rows ...
    fill : int
        ... and hold this value.
    """

    tensor: int
    shape: tuple[int, ...]
    line: int
    pixels: int
    channels: int
    pixel_bytes: int
    margin: tuple[int, int] = (0, 0)
    fill: int = 0

    @property
    def size(self) -> int:
        """Bytes from its first line on."""
        return self.pixels * self.pixel_bytes

    def pack(self, values: np.ndarray) -> np.ndarray:
        """How a tensor of this shape lies: int8 [pixels, pixel_bytes]."""
        pixels = np.zeros((self.pixels, self.pixel_bytes), np.int8)
        pixels[:, :self.channels] = self.fill
        inner = self._inner(pixels)
        inner[:] = values.reshape(inner.shape)
        return pixels

    def unpack(self, data: bytes) -> np.ndarray:
        """The tensor, int8 in its shape, from the memory's bytes at its first line."""
        pixels = np.frombuffer(data, np.int8, self.size).reshape(self.pixels, self.pixel_bytes)
        return self._inner(pixels).reshape(self.shape).copy()

    def _inner(self, pixels):
        """The tensor's own values among all that lies there."""
        left, right = self.margin
        width = self.shape[2] if left or right else self.pixels
        rows = pixels.reshape(-1, left + width + right, self.pixel_bytes)
        return rows[:, left:left + width, :self.channels]


@dataclass(frozen=True, kw_only=True)
class LayerInfo:
    """A layer as reports and checks see it.

    Parameters
    ----------
    name, kind : str
        Its operators' names and kinds, joined by "+".
    output : Placement
        Valid when the layer's last descriptor has ended.
    tensors : tuple of int
        All tensors of the graph that have these bytes (the output and its reshapes).
    fused : tuple of int
        Tensors that are computed but never written.
    macs : int
    first, count : int
        Its descriptors.
    weight_bytes, param_bytes : int
        Of its constants as the core holds them.
    rows : int
        Weight rows that the busiest cluster takes: a lower bound of the layer's cycles.
    skips : str
        Zeros that its lanes pass over, as `CoreConfig.skip` calls them, or "weights".
    weight_rows, kept_rows : int
        Of its convolutions: rows of C weights, those that are stored.
    over_input : bool
        The output lies partly over the input, behind the rows still needed.
    stripes : int
        In how many stripes of rows the output is computed.
    macs_again : int
        MACs that the stripes compute a second time, besides ``macs``.
    whole_cycles : int
        Predicted cycles with whole maps instead of stripes, without waiting for pages.
    """

    name: str
    kind: str
    output: Placement
    tensors: tuple[int, ...]
    fused: tuple[int, ...]
    macs: int
    first: int
    count: int
    weight_bytes: int
    param_bytes: int
    rows: int
    skips: str = "off"
    weight_rows: int = 0
    kept_rows: int = 0
    over_input: bool = False
    stripes: int = 1
    macs_again: int = 0
    whole_cycles: int = 0


@dataclass(frozen=True, kw_only=True)
class Twin:
    """Second places of input and output: they are used in turn, while a host has the others.

    Parameters
    ----------
    input, output : Placement
    words : tuple of (int, int, int)
        What must be written before a run: word offset in the activation memory, value for the first
        places, which the image has, and value for these.
    """

    input: Placement
    output: Placement
    words: tuple[tuple[int, int, int], ...]


@dataclass(frozen=True, kw_only=True)
class Program:
    """A compiled network.

    Parameters
    ----------
    model, target : str
    config : dict
        The core's configuration as `CoreConfig.items` gives it.
    config_hash : int
    program_line : int
        Line of the program header: what the register PROGRAM holds.
    descriptors : int
        Without END.
    sections : tuple of Section
    input, output : Placement
        output: the last tensor that the core computes.
    layers : tuple of LayerInfo
    memory : dict
        Bytes by memory and use, for reports.
    host : tuple of str
        Operators that the host computes from the output.
    folded : tuple of FoldedTensor
        Tensors that lost channels; input and output are none of them.
    folded_macs : int
        What they would have cost.
    twin : Twin or None
        Where it is double-buffered.
    """

    model: str
    target: str
    config: dict
    config_hash: int
    program_line: int
    descriptors: int
    sections: tuple[Section, ...]
    input: Placement
    output: Placement
    layers: tuple[LayerInfo, ...]
    memory: dict
    host: tuple[str, ...] = ()
    folded: tuple[FoldedTensor, ...] = ()
    folded_macs: int = 0
    twin: Twin | None = None

    @property
    def stream(self) -> bytes:
        """What the backing store holds."""
        return b"".join(s.data for s in self.sections if s.space == Space.STORE)

    @property
    def masks(self) -> bytes:
        """What the memory of row masks holds, from its first word on."""
        return b"".join(s.data for s in self.sections if s.space == Space.MASK)

    @property
    def core_config(self) -> CoreConfig:
        """The configuration it is made for."""
        return CoreConfig(**self.config)


def pack_input(program: Program, x: np.ndarray, place: Placement | None = None,
               ) -> tuple[int, bytes]:
    """First line of the input tensor and its bytes, padded to whole lines.

    Parameters
    ----------
    program : Program
    x : numpy.ndarray
    place : Placement, optional
        The input's second one.

    Raises
    ------
    ModelError
        x has another type or number of values.
    """
    place = place or program.input
    if x.dtype != np.int8 or x.shape not in (place.shape, place.shape[1:]):
        raise ModelError(f"input must be int8 of shape {list(place.shape)}, not {x.dtype} of "
                         f"shape {list(x.shape)}; convert the input file")
    data = place.pack(x).tobytes()
    return place.line, data.ljust(align_up(len(data), program.config["V"]), b"\0")


def to_bytes(program: Program) -> bytes:
    """The contents of a program's file."""
    values = asdict(program)
    values["sections"] = [[s.space, s.offset, len(s.data)] for s in program.sections]
    text = json.dumps(values, separators=(",", ":")).encode()
    body = text + b"".join(section.data for section in program.sections)
    head = (PROGRAM_VERSION, program.config_hash)
    crc = zlib.crc32(body, zlib.crc32(struct.pack("<3I", *head, len(text))))
    return HEAD.pack(MAGIC, *head, crc, len(text)) + body


def load(path) -> Program:
    """Read a program.

    Raises
    ------
    ModelError
        The file is unreadable, damaged or of another version.
    """
    path = Path(path)
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path.name!r} must be a readable file, not {error.strerror!r}; "
                         f"check the path") from None
    if len(raw) < HEAD.size or raw[:8] != MAGIC:
        raise ModelError(f"{path.name!r} must start with {MAGIC.decode()}, not {raw[:8]!r}; "
                         f"give a program that compile wrote")
    _, version, config_hash, crc, length = HEAD.unpack_from(raw)
    if version != PROGRAM_VERSION:
        raise ModelError(f"{path.name!r} version must be {PROGRAM_VERSION}, not {version}; {AGAIN}")
    body = raw[HEAD.size:]
    found = zlib.crc32(body, zlib.crc32(struct.pack("<3I", version, config_hash, length)))
    if found != crc:
        raise ModelError(f"{path.name!r} CRC-32 must be {crc:08x}, not {found:08x}; {AGAIN}")
    try:
        return _parse(body, length, config_hash)
    except (ValueError, TypeError, KeyError) as error:
        reason = " ".join(str(error).split())
        raise ModelError(f"{path.name!r} metadata must be complete, not {reason!r}; "
                         f"{AGAIN}") from None


def _parse(body, length, config_hash):
    values = json.loads(body[:length])
    sections, position = [], length
    for space, offset, size in values["sections"]:
        sections.append(Section(space=Space(space), offset=offset,
                                data=body[position:position + size]))
        position += size
    layers = tuple(_layer(layer) for layer in values["layers"])
    return Program(**values | {
        "sections": tuple(sections), "layers": layers, "config_hash": config_hash,
        "input": _placement(values["input"]), "output": _placement(values["output"]),
        "host": tuple(values["host"]), "twin": values["twin"] and _twin(values["twin"]),
        "folded": tuple(_folded(tensor) for tensor in values["folded"])})


def _placement(values):
    return Placement(**values | {"shape": tuple(values["shape"]),
                                 "margin": tuple(values["margin"])})


def _twin(values):
    return Twin(input=_placement(values["input"]), output=_placement(values["output"]),
                words=tuple(tuple(word) for word in values["words"]))


def _layer(values):
    return LayerInfo(**values | {
        "output": _placement(values["output"]), "tensors": tuple(values["tensors"]),
        "fused": tuple(values["fused"])})


def _folded(values):
    return FoldedTensor(**values | {
        "kept": tuple(values["kept"]), "constants": tuple(values["constants"])})
