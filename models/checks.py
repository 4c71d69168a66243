"""What the rules of all operators share: one wording of errors, and checks of operands."""

from math import inf

from models.graph import ModelError, Op, Tensor

MAX_ELEMENTS = 1 << 31
MAX_RATIO = 2.0**30  # a larger requantization ratio would shift a 32-bit sum out of its word
QUANTIZE = ("quantize it to int8 with a representative dataset "
            "(converter.target_spec.supported_ops = [TFLITE_BUILTINS_INT8])")
AGAIN = "export the model again"


def require(condition, field, rule, value, remedy):
    """Raise a ModelError in the project's wording unless condition holds."""
    if not condition:
        raise ModelError(f"{field} must be {rule}, not {value!r}; {remedy}")


def operands(graph, op, inputs) -> list[Tensor]:
    """The first input tensors and the output tensor, none of them absent."""
    require(len(op.inputs) >= inputs, f"{op.name} inputs", f"{inputs}", len(op.inputs), AGAIN)
    require(len(op.outputs) == 1, f"{op.name} outputs", "one", len(op.outputs), AGAIN)
    indices = (*op.inputs[:inputs], *op.outputs)
    require(min(indices) >= 0, f"{op.name} inputs", "present", indices, AGAIN)
    return [graph.tensors[i] for i in indices]


def activation(op: Op, role, tensor: Tensor, rank=None):
    """An int8 tensor with one scale and one zero point."""
    field = f"{op.name} {role}"
    require(tensor.dtype == "int8", f"{field} dtype", "int8", tensor.dtype, QUANTIZE)
    require(rank is None or len(tensor.shape) == rank, f"{field} rank", f"{rank}",
            len(tensor.shape), AGAIN)
    scalar = not tensor.shape and tensor.data is None
    require(not scalar and 0 < tensor.size < MAX_ELEMENTS, f"{field} size",
            f"in 1..{MAX_ELEMENTS - 1}", tensor.shape, AGAIN)
    require(len(tensor.scale) == 1, f"{field} scales", "one", len(tensor.scale), QUANTIZE)
    positive(f"{field} scale", tensor.scale)
    require(-128 <= tensor.zero_point <= 127, f"{field} zero point", "in -128..127",
            tensor.zero_point, AGAIN)


def positive(field, scales):
    """Every scale is a positive number."""
    for scale in scales:
        require(0 < scale < inf, field, "positive and finite", scale, AGAIN)


def below(op: Op, ratio, limit=MAX_RATIO):
    """The ratio of scales by which an operator requantizes does not shift a sum out of its word."""
    require(ratio < limit, f"{op.name} scale ratio", f"below {limit:.0f}", ratio,
            "quantize with a representative dataset")
