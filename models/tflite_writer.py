"""Other constants for a .tflite file: same operators, same shapes, same size, other numbers."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import tflite

from models.graph import ModelError
from models.tflite_reader import parse


@dataclass(frozen=True, kw_only=True)
class Constant:
    """New contents of a constant tensor.

    Parameters
    ----------
    tensor : int
        Its index.
    data : numpy.ndarray
        Of its type and size.
    scale : numpy.ndarray
        float32, as many as it has.
    """

    tensor: int
    data: np.ndarray
    scale: np.ndarray


def rewrite(content: bytes, constants: Sequence[Constant], name: str = "model") -> bytes:
    """Return a .tflite file with some of its constants replaced.

    Parameters
    ----------
    content : bytes
        A file that `models.tflite_reader.parse` accepts.
    constants : sequence of Constant
    name : str
        What errors call the file.

    Raises
    ------
    ModelError
        The file cannot be read, or a tensor shares with another one what is to differ.
    """
    before = parse(content, name).tensors
    out = bytearray(content)  # the arrays that flatbuffers returns are views, here writable ones
    model = tflite.Model.GetRootAs(out, 0)
    sub = model.Subgraphs(0)
    assert sub is not None  # as parse checked
    for constant in constants:
        _replace(model, sub.Tensors(constant.tensor), constant, name)
    after = parse(bytes(out), name).tensors
    replaced = {constant.tensor for constant in constants}
    others = [Constant(tensor=index, data=tensor.data, scale=_scale(tensor))
              for index, tensor in enumerate(before)
              if tensor.data is not None and index not in replaced]
    for want in (*constants, *others):
        found = after[want.tensor]
        _own(found.data is not None and np.array_equal(found.data.ravel(), want.data.ravel())
             and np.array_equal(_scale(found), want.scale), want.tensor, name)
    return bytes(out)


def _scale(tensor):
    return np.array(tensor.scale, np.float32)


def _replace(model, tensor, constant, name):
    buffer, quantization = model.Buffers(tensor.Buffer()), tensor.Quantization()
    _own(buffer.DataLength() == constant.data.nbytes, constant.tensor, name)
    quantization.ScaleAsNumpy()[:] = constant.scale
    little = constant.data.astype(constant.data.dtype.newbyteorder("<"))
    buffer.DataAsNumpy()[:] = np.frombuffer(little.tobytes(), np.uint8)


def _own(condition, tensor, name):
    if not condition:
        raise ModelError(f"{name}: tensor {tensor} must have bytes and scales of its own, not "
                         f"those of another tensor; export the model without sharing them")
