"""Build small int8 .tflite files in memory: single operators or whole random networks.

    net = Net((1, 16, 16, 3), seed=1).conv(8, activation="RELU")
    skip = net.here
    net.conv(8).add(skip).max_pool().reshape().fully_connected(10).softmax()
    graph = parse(net.bytes())

Each method appends one operator that reads the tensor at `here`, moves `here` to its output
and returns the Net. Whatever is not given is drawn from the Net's random generator: weights,
biases, scales, zero points; output scales are chosen so that random inputs use most of int8.
"""

from dataclasses import dataclass
from math import prod

import flatbuffers
import numpy as np
import tflite

Pair = tuple[int, int]


@dataclass
class _Tensor:
    shape: tuple[int, ...]
    dtype: str
    scale: np.ndarray
    zero_point: int
    axis: int = 0
    data: np.ndarray | None = None


@dataclass
class _Operator:
    kind: str
    inputs: list[int]
    outputs: list[int]
    options: str | None
    fields: dict


class Net:
    """A network under construction.

    Parameters
    ----------
    shape : tuple of int
        Of the input, batch 1 first.
    scale, zero_point : float, int
        Of the input; random if None.
    dtype : str
        Of the input; "float32" and "uint8" want `quantize` next.
    seed : int or tuple of int
        Of the generator behind every value that is not given.

    Attributes
    ----------
    here : int
        Tensor the next operator reads; assign it to branch.
    output : int or None
        Tensor the file names as output; ``here`` if None.
    """

    def __init__(self, shape, scale=None, zero_point=None, *, dtype="int8",
                 seed: int | tuple[int, ...] = 0):
        self.rng = np.random.default_rng(seed)
        self.tensors: list[_Tensor] = []
        self.operators: list[_Operator] = []
        self.output: int | None = None
        self.input = self.here = self.tensor(shape, scale, zero_point, dtype=dtype)

    def conv(self, channels: int, kernel: Pair = (3, 3), *, stride: Pair = (1, 1),
             padding="SAME", dilation: Pair = (1, 1), activation="NONE", weights=None,
             weight_scale=None, bias=True, scale=None, zero_point=None):
        """CONV_2D. weights OHWI; weight_scale a float or one per channel; bias an array or bool."""
        depth = self.shape[3]
        weights = self._weights(weights, (channels, *kernel, depth), weight_scale, 0)
        return self._mac("CONV_2D", "Conv2DOptions", weights, bias, channels,
                         self._window(kernel, stride, padding, dilation), scale, zero_point,
                         activation, prod(kernel) * depth, Padding=_PADDING[padding],
                         StrideH=stride[0], StrideW=stride[1], DilationHFactor=dilation[0],
                         DilationWFactor=dilation[1])

    def depthwise(self, kernel: Pair = (3, 3), *, multiplier=1, stride: Pair = (1, 1),
                  padding="SAME", dilation: Pair = (1, 1), activation="NONE", weights=None,
                  weight_scale=None, bias=True, scale=None, zero_point=None):
        """DEPTHWISE_CONV_2D. weights [1, y, x, channels * multiplier]; the rest as `conv`."""
        channels = self.shape[3] * multiplier
        weights = self._weights(weights, (1, *kernel, channels), weight_scale, 3)
        return self._mac("DEPTHWISE_CONV_2D", "DepthwiseConv2DOptions", weights, bias, channels,
                         self._window(kernel, stride, padding, dilation), scale, zero_point,
                         activation, prod(kernel), Padding=_PADDING[padding],
                         StrideH=stride[0], StrideW=stride[1], DepthMultiplier=multiplier,
                         DilationHFactor=dilation[0], DilationWFactor=dilation[1])

    def fully_connected(self, channels: int, *, activation="NONE", weights=None,
                        weight_scale: float | None = None, bias=True, scale=None,
                        zero_point=None):
        """FULLY_CONNECTED of the flattened input. weights [channels, inputs], one scale."""
        depth = prod(self.shape)
        if weight_scale is None:
            weight_scale = self._random_scale()
        weights = self._weights(weights, (channels, depth), weight_scale, 0)
        return self._mac("FULLY_CONNECTED", "FullyConnectedOptions", weights, bias, channels,
                         (), scale, zero_point, activation, depth)

    def prune_rows(self, share: float, columns: int) -> "Net":
        """Zero a share of the taps of every convolution so far: of ``columns`` outputs together."""
        for op in self.operators:
            if op.kind in ("CONV_2D", "FULLY_CONNECTED"):
                data = self.tensors[op.inputs[1]].data
                assert data is not None
                for first in range(0, len(data), columns):
                    data[first:first + columns, self.rng.random(data.shape[1:]) < share] = 0
        return self

    def add(self, other: int, *, activation="NONE", scale=None, zero_point=None):
        """ADD of here and another tensor."""
        total = float(self.tensors[self.here].scale[0] + self.tensors[other].scale[0])
        return self._binary("ADD", "AddOptions", other, activation, scale or total, zero_point)

    def mul(self, other: int, *, activation="NONE", scale=None, zero_point=None):
        """MUL of here and another tensor."""
        product = 40 * float(self.tensors[self.here].scale[0] * self.tensors[other].scale[0])
        return self._binary("MUL", "MulOptions", other, activation, scale or product, zero_point)

    def concatenation(self, *others: int, axis=-1):
        """CONCATENATION of here and other tensors, quantized as here is."""
        shapes = [self.tensors[i].shape for i in (self.here, *others)]
        out = list(self.shape)
        out[axis] = sum(shape[axis] for shape in shapes)
        return self.operator("CONCATENATION", [self.here, *others], self._like(out),
                             "ConcatenationOptions", Axis=axis)

    def pad(self, rows: Pair = (1, 1), cols: Pair = (1, 1), channels: Pair = (0, 0), *,
            value: int | None = None):
        """PAD with the zero point, or PADV2 with a value."""
        pads = np.array([(0, 0), rows, cols, channels], np.int32)
        out = self._like([size + pair.sum() for size, pair in zip(self.shape, pads, strict=True)])
        inputs, like = [self.here, self.constant(pads)], self.tensors[out]
        if value is None:
            return self.operator("PAD", inputs, out, "PadOptions")
        fill = self.tensor((1,), like.scale, like.zero_point, data=np.array([value], np.int8))
        return self.operator("PADV2", [*inputs, fill], out, "PadV2Options")

    def mean(self, axes=(1, 2), *, keep=False, scale=None, zero_point=None):
        """MEAN over axes; keep says whether they stay, with size 1."""
        gone = {axis % len(self.shape) for axis in axes}
        shape = [1 if i in gone else size for i, size in enumerate(self.shape)
                 if keep or i not in gone]
        scale = self.tensors[self.here].scale / 2 if scale is None else scale
        out = self.tensor(shape, scale, zero_point)
        return self.operator("MEAN", [self.here, self.constant(np.array(axes, np.int32))], out,
                             "ReducerOptions", KeepDims=keep)

    def table(self, kind: str, scale=None, zero_point=None, *, alpha: float = 0.2):
        """LOGISTIC, TANH, HARD_SWISH, RELU ...; alpha of LEAKY_RELU."""
        fixed = {"LOGISTIC": (1 / 256, -128), "TANH": (1 / 128, 0),
                 "RELU6": (self.tensors[self.here].scale, self.tensors[self.here].zero_point)}
        scale, zero_point = fixed.get(kind, (scale, zero_point))
        if scale is None:
            scale = self.tensors[self.here].scale * 0.7
        leaky = {"options": "LeakyReluOptions", "Alpha": alpha}
        return self.operator(kind, [self.here], self.tensor(self.shape, scale, zero_point),
                             **(leaky if kind == "LEAKY_RELU" else {}))

    def average_pool(self, kernel: Pair = (2, 2), *, stride: Pair | None = None, padding="VALID",
                     activation="NONE"):
        """AVERAGE_POOL_2D; the stride defaults to the kernel."""
        return self._pool("AVERAGE_POOL_2D", kernel, stride or kernel, padding, activation)

    def max_pool(self, kernel: Pair = (2, 2), *, stride: Pair | None = None, padding="VALID",
                 activation="NONE"):
        """MAX_POOL_2D; the stride defaults to the kernel."""
        return self._pool("MAX_POOL_2D", kernel, stride or kernel, padding, activation)

    def reshape(self, shape=None):
        """RESHAPE, to [1, everything] by default."""
        shape = tuple(shape) if shape else (1, prod(self.shape))
        wanted = self.constant(np.array(shape, np.int32))
        return self.operator("RESHAPE", [self.here, wanted], self._like(shape), "ReshapeOptions")

    def softmax(self, *, beta=1.0):
        """SOFTMAX over the last axis."""
        out = self.tensor(self.shape, 1 / 256, -128)
        return self.operator("SOFTMAX", [self.here], out, "SoftmaxOptions", Beta=beta)

    def quantize(self, scale=None, zero_point=None):
        """QUANTIZE to int8."""
        return self.operator("QUANTIZE", [self.here], self.tensor(self.shape, scale, zero_point))

    def dequantize(self):
        """DEQUANTIZE to float32."""
        out = self.tensor(self.shape, dtype="float32")
        return self.operator("DEQUANTIZE", [self.here], out)

    def tensor(self, shape, scale=None, zero_point=None, *, dtype="int8", data=None, axis=0) -> int:
        """Append a tensor and return its index. float32 and int32 ones have no quantization."""
        if dtype in ("int8", "uint8"):
            scale = self._random_scale() * 10 if scale is None else scale
            zero_point = self.rng.integers(-128, 128) if zero_point is None else zero_point
        scales = np.array([] if scale is None else scale, np.float32).reshape(-1)
        self.tensors.append(_Tensor(tuple(shape), dtype, scales, int(zero_point or 0), axis, data))
        return len(self.tensors) - 1

    def constant(self, data, scale=None, *, axis=0) -> int:
        """Append a constant tensor with zero point 0 and return its index."""
        return self.tensor(data.shape, scale, 0, dtype=data.dtype.name, data=data, axis=axis)

    def operator(self, kind, inputs, output: int, options=None, **fields):
        """Append any operator; options names its table in the schema, fields its scalars."""
        self.operators.append(_Operator(kind, list(inputs), [output], options, fields))
        self.here = output
        return self

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the tensor at here."""
        return self.tensors[self.here].shape

    def bytes(self) -> bytes:
        """The .tflite file."""
        b = flatbuffers.Builder(4096)
        kinds = sorted({op.kind for op in self.operators})
        buffers = [_table(b, "Buffer")] + [
            _table(b, "Buffer", Data=_blob(b, t.data)) for t in self.tensors if t.data is not None]
        numbers = iter(range(1, len(buffers)))
        tensors = _offsets(b, [_tensor(b, f"t{i}", t, 0 if t.data is None else next(numbers))
                               for i, t in enumerate(self.tensors)])
        operators = _offsets(b, [_operator(b, op, kinds) for op in self.operators])
        output = self.here if self.output is None else self.output
        inputs, outputs = _array(b, [self.input]), _array(b, [output])
        subgraph = _table(b, "SubGraph", Tensors=tensors, Inputs=inputs, Outputs=outputs,
                          Operators=operators)
        codes = [getattr(tflite.BuiltinOperator, kind) for kind in kinds]
        codes = [_table(b, "OperatorCode", DeprecatedBuiltinCode=min(code, 127), Version=1,
                        BuiltinCode=code) for code in codes]
        model = {"OperatorCodes": _offsets(b, codes), "Subgraphs": _offsets(b, [subgraph]),
                 "Buffers": _offsets(b, buffers)}
        b.Finish(_table(b, "Model", Version=3, **model), b"TFL3")
        return bytes(b.Output())

    def _random_scale(self):
        return float(np.exp(self.rng.uniform(np.log(0.003), np.log(0.01))))

    def _weights(self, data, shape, scale, axis):
        if data is None:
            data = np.clip(self.rng.normal(0, 40, shape).round(), -127, 127)
        if scale is None:
            scale = [self._random_scale() for _ in range(shape[axis])]
        return self.constant(np.asarray(data, np.int8).reshape(shape), scale, axis=axis)

    def _window(self, kernel, stride, padding, dilation=(1, 1)):
        """Height and width after a sliding window."""
        reach = [(k - 1) * d for k, d in zip(kernel, dilation, strict=True)]
        valid = padding == "VALID"
        return tuple((size - valid * r + s - 1) // s
                     for size, r, s in zip(self.shape[1:3], reach, stride, strict=True))

    def _mac(self, kind, options, weights, bias, channels, size, scale, zero_point, activation,
             depth, **fields):
        """A layer with weights; its accumulators of random inputs have deviation spread."""
        source, w = self.tensors[self.here], self.tensors[weights]
        assert w.data is not None
        spread = np.sqrt(depth * (74.0**2 + source.zero_point**2)
                         * np.mean(np.square(w.data, dtype=np.float64)) + 1)
        if bias is True:
            bias = self.rng.normal(0, spread / 3, channels).round()
        inputs = [self.here, weights]
        products = (source.scale * w.scale).astype(np.float32)
        if bias is not False:
            inputs.append(self.constant(np.asarray(bias).astype(np.int32), products))
        if scale is None:
            scale = float(products.max() * spread / 50)
        out = self.tensor((1, *size, channels), scale, zero_point)
        return self.operator(kind, inputs, out, options,
                             FusedActivationFunction=_ACTIVATION[activation], **fields)

    def _binary(self, kind, options, other, activation, scale, zero_point):
        shape = np.broadcast_shapes(self.shape, self.tensors[other].shape)
        out = self.tensor(shape, scale, zero_point)
        return self.operator(kind, [self.here, other], out, options,
                             FusedActivationFunction=_ACTIVATION[activation])

    def _pool(self, kind, kernel, stride, padding, activation):
        out = self._like((1, *self._window(kernel, stride, padding), self.shape[3]))
        return self.operator(kind, [self.here], out, "Pool2DOptions", Padding=_PADDING[padding],
                             StrideH=stride[0], StrideW=stride[1], FilterHeight=kernel[0],
                             FilterWidth=kernel[1],
                             FusedActivationFunction=_ACTIVATION[activation])

    def _like(self, shape):
        source = self.tensors[self.here]
        return self.tensor(shape, source.scale, source.zero_point, dtype=source.dtype)


_PADDING = {"SAME": tflite.Padding.SAME, "VALID": tflite.Padding.VALID}
_ACTIVATION = {name: getattr(tflite.ActivationFunctionType, name)
               for name in ("NONE", "RELU", "RELU6", "RELU_N1_TO_1", "TANH")}


def _table(b, name, **fields):
    """A table of the schema from scalars and offsets."""
    getattr(tflite, f"{name}Start")(b)
    for field, value in fields.items():
        getattr(tflite, f"{name}Add{field}")(b, value)
    return getattr(tflite, f"{name}End")(b)


def _offsets(b, offsets):
    b.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        b.PrependUOffsetTRelative(offset)
    return b.EndVector()


def _array(b, values, dtype: type = np.int32):
    return b.CreateNumpyVector(np.array(values, dtype))


def _blob(b, data):
    """Constant bytes at the 16-byte alignment the schema asks for."""
    raw = data.astype(data.dtype.newbyteorder("<")).tobytes()
    b.StartVector(1, len(raw), 16)
    b.head -= len(raw)
    b.Bytes[b.head:b.head + len(raw)] = raw
    return b.EndVector()


def _tensor(b, name, tensor, buffer):
    fields = {"Shape": _array(b, tensor.shape), "Name": b.CreateString(name), "Buffer": buffer,
              "Type": getattr(tflite.TensorType, tensor.dtype.upper())}
    if tensor.scale.size:
        points = _array(b, [tensor.zero_point] * tensor.scale.size, np.int64)
        fields["Quantization"] = _table(
            b, "QuantizationParameters", Scale=_array(b, tensor.scale, np.float32),
            ZeroPoint=points, QuantizedDimension=tensor.axis)
    return _table(b, "Tensor", **fields)


def _operator(b, op, kinds):
    fields = {"OpcodeIndex": kinds.index(op.kind), "Inputs": _array(b, op.inputs),
              "Outputs": _array(b, op.outputs)}
    if op.options:
        fields["BuiltinOptionsType"] = getattr(tflite.BuiltinOptions, op.options)
        fields["BuiltinOptions"] = _table(b, op.options, **op.fields)
    return _table(b, "Operator", **fields)
