"""Reader of IDX files, the format of MNIST and Fashion-MNIST, plain or gzipped.

Source
------
Format: http://yann.lecun.com/exdb/mnist, "the IDX file format".
"""

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np

UNSIGNED_BYTE = 0x08  # element type code: the only one these datasets use


class IdxError(ValueError):
    """A file is missing or is not IDX of unsigned bytes; the text names file, rule and remedy."""


def read_idx(path: str | Path) -> np.ndarray:
    """Return the array of an IDX file: images [N, H, W] or labels [N], uint8.

    Parameters
    ----------
    path : str or Path
        A file that starts with the IDX magic number, or a gzip of one, whatever its name.

    Raises
    ------
    IdxError
        The file cannot be read, is cut short, or holds something else.
    """
    try:
        raw = Path(path).read_bytes()
        if raw[:2] == b"\x1f\x8b":
            raw = gzip.decompress(raw)
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise IdxError(f"{path} must be a readable IDX file, plain or gzipped: {reason}; "
                       f"check the path or fetch the file again") from error
    if len(raw) < 4 or raw[:2] != b"\0\0" or raw[2] != UNSIGNED_BYTE or not raw[3]:
        raise IdxError(f"{path} must start with 00 00 08 and the number of dimensions, "
                       f"not {raw[:4].hex(' ')!r}; give an IDX file of unsigned bytes")
    start = 4 + 4 * raw[3]
    shape = struct.unpack(f">{raw[3]}I", raw[4:start]) if len(raw) >= start else ()
    if not shape or len(raw) - start != math.prod(shape):
        raise IdxError(f"{path} must hold exactly the bytes its header {list(shape)} promises, "
                       f"not {len(raw)} in all; fetch the file again")
    return np.frombuffer(raw, np.uint8, offset=start).reshape(shape)
