"""TensorFlow Lite Micro, the independent judge of everything that claims to be bit-exact."""

import numpy as np

from models.graph import Graph
from sim.golden import dequantize

ARENA_BYTES = 1 << 22


def run_tflm(runtime, model: bytes, x: np.ndarray) -> np.ndarray:
    """Output of a .tflite file for a batch of inputs, computed by TFLM one by one.

    Parameters
    ----------
    runtime : module
        The fixture ``tflite_micro``.
    model : bytes
    x : numpy.ndarray
        int8, [N, ...].

    Raises
    ------
    RuntimeError
        TFLM refuses the model.
    """
    interpreter = runtime.Interpreter.from_bytes(model, arena_size=ARENA_BYTES)
    out = []
    for each in x:
        interpreter.set_input(each[None], 0)
        interpreter.invoke()
        out.append(interpreter.get_output(0))
    return np.concatenate(out)


def layers_of_tflm(runtime, model: bytes, graph: Graph, x: np.ndarray) -> dict[int, np.ndarray]:
    """Every activation of a network by tensor index, as `sim.golden.run` returns them.

    A model with a float32 input gets the real values of x.
    """
    config = runtime.InterpreterConfig.kPreserveAllTensors
    interpreter = runtime.Interpreter.from_bytes(model, arena_size=ARENA_BYTES,
                                                 intrepreter_config=config)
    if interpreter.get_input_details(0)["dtype"] == np.float32:
        x = dequantize(graph.tensors[graph.input], x)
    found = {i: [] for i in (graph.input, *(op.outputs[0] for op in graph.ops))}
    for each in x:
        interpreter.set_input(each[None], 0)
        interpreter.invoke()
        for i, parts in found.items():
            parts.append(interpreter.GetTensor(i, 0)["tensor_data"])
    return {i: np.concatenate(parts) for i, parts in found.items()}
