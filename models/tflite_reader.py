"""Read int8 TensorFlow Lite files into a Graph, whatever bytes the file holds."""

import struct
from pathlib import Path

import numpy as np
import tflite

from models.checks import require
from models.fold import fold
from models.graph import Graph, ModelError, Op, Tensor
from models.tflite_options import attributes
from models.validate import MAX_RANK, validate

IDENTIFIER = b"TFL3"
MAX_FILE_BYTES = 1 << 28
MAX_NAME_BYTES = 4096
AGAIN = "copy or export the file again"
QUANTIZE = "quantize it to int8 with one int8 input and one output"
# Python's flatbuffers verifies nothing: these are what it raises on a damaged file.
DAMAGE = (struct.error, ArithmeticError, AttributeError, LookupError, MemoryError, RecursionError,
          TypeError, ValueError)

DTYPES = {code: name.lower() for name, code in vars(tflite.TensorType).items()
          if isinstance(code, int)}
KINDS = {code: name for name, code in vars(tflite.BuiltinOperator).items()
         if isinstance(code, int)}


def load(path) -> Graph:
    """Read one .tflite file.

    Parameters
    ----------
    path : str or os.PathLike

    Returns
    -------
    Graph
        Folded (`models.fold`) and checked (`models.validate`). Operators this project does not
        implement stay in it under TFLite's name.

    Raises
    ------
    ModelError
        The file is unreadable, damaged, or no int8 network; always one line.
    """
    path = Path(path)
    source = path.name if path.name.isprintable() else repr(path.name)
    try:
        require(path.is_file(), "path", "a file", str(path), "check the path")
        size = path.stat().st_size
        require(size <= MAX_FILE_BYTES, "size", f"at most {MAX_FILE_BYTES} bytes", size,
                "check the path")
        data = path.read_bytes()
    except ModelError as error:
        raise ModelError(f"{source}: {error}") from None
    except (OSError, ValueError) as error:
        raise ModelError(f"{source}: path must be readable, not {str(error)!r}; "
                         f"check the path") from None
    return parse(data, path.stem, source=source)


def parse(data: bytes, name: str = "model", *, source: str | None = None) -> Graph:
    """Read a .tflite file held in memory.

    Parameters
    ----------
    data : bytes
        Contents of the file.
    name : str
        Becomes ``Graph.name``.
    source : str
        What errors call the file; defaults to name.

    Raises
    ------
    ModelError
        As `load`.
    """
    try:
        require(data[4:8] == IDENTIFIER, "identifier", f"{IDENTIFIER!r} at byte 4", data[4:8],
                "give a .tflite file")
        graph = fold(_read_graph(data, name))
        validate(graph)
        return graph
    except ModelError as error:
        reason = str(error)
    except DAMAGE as error:
        what = f"{type(error).__name__}: {error}"[:200]
        reason = f"flatbuffer must be well formed, not one that reads as {what!r}; {AGAIN}"
    raise ModelError(f"{source or name}: {reason}")


def _read_graph(data, name):
    """The only subgraph as a Graph, unfolded."""
    model = tflite.Model.GetRootAs(data, 0)
    count = model.SubgraphsLength()
    require(count == 1, "subgraphs", "one", count, "export a model without control flow")
    sub = model.Subgraphs(0)
    assert sub is not None  # the vector has one element
    tensors = tuple(_read_tensor(model, sub.Tensors(i), i)
                    for i in range(_count(data, "tensors", sub.TensorsLength())))
    ops = tuple(_read_op(model, sub.Operators(i), i, tensors)
                for i in range(_count(data, "operators", sub.OperatorsLength())))
    ends = []
    for field, length, values in (("inputs", sub.InputsLength(), sub.InputsAsNumpy),
                                  ("outputs", sub.OutputsLength(), sub.OutputsAsNumpy)):
        require(length == 1, field, "one", length, QUANTIZE)
        ends += _indices(values(), tensors, field)
    variables = {i for i in range(len(tensors))
                 if (tensor := sub.Tensors(i)) is not None and tensor.IsVariable()}
    _check_order(ops, tensors, ends[0], ends[1], variables)
    return Graph(name=name, tensors=tensors, ops=ops, input=ends[0], output=ends[1])


def _read_tensor(model, raw, index):
    """One tensor with its constant data, if it has any."""
    name = raw.Name() or b""
    field = f"tensor {index}"
    require(len(name) <= MAX_NAME_BYTES, f"{field} name", f"at most {MAX_NAME_BYTES} bytes",
            len(name), AGAIN)
    rank = raw.ShapeLength()
    require(rank <= MAX_RANK, f"{field} rank", f"at most {MAX_RANK}", rank, AGAIN)
    shape = tuple(1 if n == -1 else int(n) for n in raw.ShapeAsNumpy()) if rank else ()
    require(all(n >= 0 for n in shape), f"{field} shape", "non-negative", shape, AGAIN)
    require(raw.Type() in DTYPES, f"{field} dtype", "a TFLite type", raw.Type(), AGAIN)
    require(raw.Sparsity() is None, f"{field} sparsity", "absent", "sparse",
            "export the model with dense weights")
    dtype = DTYPES[raw.Type()]
    scale, zero_point = _read_quantization(raw.Quantization(), field)
    return Tensor(name=name.decode("utf-8"), shape=shape, dtype=dtype, scale=scale,
                  zero_point=zero_point, data=_read_data(model, raw.Buffer(), shape, dtype, field))


def _read_quantization(raw, field):
    """Scales as exact float32 values, and the one zero point."""
    if raw is None or not raw.ScaleLength():
        return (), 0
    scale = tuple(raw.ScaleAsNumpy().tolist())
    points = set(raw.ZeroPointAsNumpy().tolist()) if raw.ZeroPointLength() else {0}
    require(len(points) == 1, f"{field} zero point", "the same in every channel",
            sorted(points)[:4], "quantize weights symmetrically")
    return scale, points.pop()


def _read_data(model, buffer, shape, dtype, field):
    """The constant's array; None for an activation. Types numpy lacks stay raw bytes."""
    count = model.BuffersLength()
    require(0 <= buffer < count, f"{field} buffer", f"in 0..{count - 1}", buffer, AGAIN)
    raw = model.Buffers(buffer)
    if not raw.DataLength():
        return None
    data = raw.DataAsNumpy()
    if dtype not in np.sctypeDict:
        return data.copy()
    need = int(np.prod(shape, dtype=object)) * np.dtype(dtype).itemsize
    require(data.size == need, f"{field} buffer", f"{need} bytes for {dtype} {list(shape)}",
            data.size, AGAIN)
    return np.frombuffer(data.tobytes(), dtype=np.dtype(dtype).newbyteorder("<")).reshape(shape)


def _read_op(model, raw, index, tensors):
    """One operator with its attributes resolved."""
    codes = model.OperatorCodesLength()
    require(raw.OpcodeIndex() < codes, f"operator {index} opcode", f"in 0..{codes - 1}",
            raw.OpcodeIndex(), AGAIN)
    code = model.OperatorCodes(raw.OpcodeIndex())
    number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
    kind = KINDS.get(number, f"BUILTIN_{number}")
    inputs = _indices(raw.InputsAsNumpy() if raw.InputsLength() else (), tensors,
                      f"operator {index} input", lowest=-1)
    outputs = _indices(raw.OutputsAsNumpy() if raw.OutputsLength() else (), tensors,
                       f"operator {index} output")
    op = Op(index=index, kind=kind, inputs=inputs, outputs=outputs)
    return attributes(op, raw, tensors)


def _count(data, field, length):
    """A vector's length, if the file can hold that many 4-byte offsets."""
    require(length <= len(data) // 4, field, f"at most {len(data) // 4}", length, AGAIN)
    return length


def _indices(values, tensors, field, lowest=0):
    """Tensor indices as a tuple of int, each in range."""
    require(len(values) <= len(tensors), field, f"at most {len(tensors)} tensors", len(values),
            AGAIN)
    indices = tuple(int(value) for value in values)
    for value in indices:
        require(lowest <= value < len(tensors), field, f"in {lowest}..{len(tensors) - 1}", value,
                AGAIN)
    return indices


def _check_order(ops, tensors, first, last, variables):
    """Every tensor is written once and before it is read, so there are no cycles."""
    known = {-1, first} | variables | {i for i, t in enumerate(tensors) if t.data is not None}
    for op in ops:
        for i in op.inputs:
            optional = not tensors[i].size
            require(i in known or optional, f"{op.name} input tensor", "written before it is read",
                    i, AGAIN)
        for i in op.outputs:
            require(i not in known, f"{op.name} output tensor", "written once", i, AGAIN)
            known.add(i)
    require(last in known - {-1, first} and tensors[last].data is None, "output tensor",
            "written by an operator", last, AGAIN)
