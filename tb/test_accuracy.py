"""sim.accuracy and the IDX reader: data, quantization, errors; and the shipped network."""

import gzip
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from models.fashion.idx import IdxError, read_idx
from models.tflite_reader import load
from sim import accuracy
from sim.golden import run

FASHION = Path(__file__).resolve().parents[1] / "models" / "fashion"
MODEL = FASHION / "fashion.tflite"
ALLOWED = {"CONV_2D", "FULLY_CONNECTED", "ADD", "AVERAGE_POOL_2D", "MAX_POOL_2D", "RESHAPE",
           "SOFTMAX"}


def write_idx(path: Path, array: np.ndarray,
              pack: Callable[[bytes], bytes] = bytes) -> Path:
    """Write a uint8 array as IDX, through pack (bytes or gzip.compress)."""
    header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    path.write_bytes(pack(header + array.tobytes()))
    return path


def as_pixels(images: np.ndarray) -> np.ndarray:
    """Return int8 images [N, H, W, 1] as the uint8 pixels [N, H, W] they were made from."""
    return (images[..., 0].astype(np.int16) + 128).astype(np.uint8)


def shipped() -> tuple[np.ndarray, np.ndarray]:
    """Return the shipped images, int8 [N, 28, 28, 1], and labels, uint8 [N]."""
    return np.load(FASHION / "images.npy"), np.load(FASHION / "labels.npy")


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
@pytest.mark.parametrize("shape", [(7,), (3, 4, 5), (0, 2, 2)])
def test_read_idx_returns_what_was_written(tmp_path, pack, shape):
    array = np.random.default_rng(1).integers(0, 256, shape, np.uint8)
    assert np.array_equal(read_idx(write_idx(tmp_path / "a", array, pack)), array)


@pytest.mark.parametrize("content, message", [
    (b"", "must start with 00 00 08 and the number of dimensions, not ''"),
    (b"\x89PNG and so on", "must start with 00 00 08"),
    (b"\0\0\x0d\x01\0\0\0\x01\0\0\0\0", "must start with 00 00 08"),
    (b"\0\0\x08\x03\0\0", "must hold exactly the bytes its header"),
    (b"\0\0\x08\x01\0\0\0\x02\x05", r"header \[2\] promises, not 9 in all; fetch"),
    (b"\0\0\x08\x01\0\0\0\x01\x05\x05", r"header \[1\] promises"),
    (gzip.compress(b"\0\0\x08\x01\0\0\0\x01\x05", mtime=0)[:-9], "must be a readable IDX file"),
    (b"\x1f\x8bnot gzip after all", "must be a readable IDX file"),
])
def test_read_idx_refuses_damaged_files_in_one_line(tmp_path, content, message):
    path = tmp_path / "bad"
    path.write_bytes(content)
    with pytest.raises(IdxError, match=message) as caught:
        read_idx(path)
    assert "\n" not in str(caught.value)


def test_read_idx_names_a_missing_file(tmp_path):
    with pytest.raises(IdxError, match="none must be a readable IDX file.*No such file"):
        read_idx(tmp_path / "none")


def test_read_samples_undoes_the_shipped_quantization(tmp_path):
    images, labels = shipped()
    got = accuracy.read_samples(load(MODEL), write_idx(tmp_path / "x", as_pixels(images)),
                                write_idx(tmp_path / "y", labels))
    assert np.array_equal(got[0], images)
    assert np.array_equal(got[1], labels)


def test_main_agrees_with_the_shipped_images(tmp_path, capsys):
    images, labels = (array[:-80] for array in shipped())
    graph = load(MODEL)
    right = sum(int(np.argmax(run(graph, image[None])[graph.output])) == label
                for image, label in zip(images, labels, strict=True))
    files = [str(MODEL), str(write_idx(tmp_path / "x.gz", as_pixels(images), gzip.compress)),
             str(write_idx(tmp_path / "y", labels))]
    assert accuracy.main(files) == 0
    assert capsys.readouterr().out == (f"fashion.tflite: {right / len(labels):.2%} of "
                                       f"{len(labels)} images (golden)\n")
    assert accuracy.main([*files, "-n", "3"]) == 0
    assert " of 3 images" in capsys.readouterr().out


@pytest.mark.parametrize("shape, count, message", [
    ((4, 27, 28), 4, r"must hold images of 784 values, as fashion wants, not \[4, 27, 28\]; give"),
    ((0, 28, 28), 0, r"must hold images of 784 values, as fashion wants, not \[0, 28, 28\]; give"),
    ((4, 28, 28), 3, r"must hold 4 labels, one per image, not \[3\]; give the labels"),
])
def test_main_refuses_data_that_does_not_fit(tmp_path, capsys, shape, count, message):
    images = write_idx(tmp_path / "x", np.zeros(shape, np.uint8))
    labels = write_idx(tmp_path / "y", np.zeros(count, np.uint8))
    assert accuracy.main([str(MODEL), str(images), str(labels)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    with pytest.raises(accuracy.AccuracyError, match=message):
        accuracy.read_samples(load(MODEL), images, labels)


def test_main_refuses_a_missing_model_and_a_limit_of_zero(tmp_path, capsys):
    assert accuracy.main([str(tmp_path / "none.tflite"), "x", "y"]) == 2
    assert "none.tflite must be readable, not 'No such file" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        accuracy.main([str(MODEL), "x", "y", "-n", "0"])
    assert "must be at least 1, not 0" in capsys.readouterr().err


def test_golden_equals_tflm_on_the_shipped_images():
    runtime = pytest.importorskip("tflite_micro").runtime
    interpreter = runtime.Interpreter.from_bytes(MODEL.read_bytes())
    graph = load(MODEL)
    images = shipped()[0]
    for image, golden in zip(images, run(graph, images)[graph.output], strict=True):
        interpreter.set_input(image[None], 0)
        interpreter.invoke()
        assert np.array_equal(golden, interpreter.get_output(0)[0])


def test_both_engines_classify_alike():
    pytest.importorskip("tflite_micro")
    images = shipped()[0][:32]
    assert np.array_equal(accuracy.golden_classifier(load(MODEL))(images),
                          accuracy.tflm_classifier(MODEL.read_bytes())(images))


def test_shipped_network_keeps_its_promises():
    """Small, only operators of the first hardware target, residual ADDs that can be fused."""
    graph = load(MODEL)
    assert {op.kind for op in graph.ops} <= ALLOWED
    assert {"ADD", "AVERAGE_POOL_2D", "MAX_POOL_2D"} <= {op.kind for op in graph.ops}
    weights = sum(tensor.size for tensor in graph.tensors
                  if tensor.data is not None and tensor.dtype == "int8")
    assert weights <= 24_576
    for add in (op for op in graph.ops if op.kind == "ADD"):
        convolved = [tensor for tensor in add.inputs if graph.consumers(tensor) == (add,)
                     and getattr(graph.producer(tensor), "kind", "") == "CONV_2D"]
        assert len(convolved) == 1
        (other,) = set(add.inputs) - set(convolved)
        assert graph.tensors[other].shape == graph.tensors[add.outputs[0]].shape
        assert max(op.index for op in graph.consumers(other)) == add.index


def test_shipped_samples_fit_the_network():
    images, labels = shipped()
    graph = load(MODEL)
    assert images.dtype == np.int8
    assert labels.dtype == np.uint8
    assert len(images) == len(labels) >= 128
    assert images.shape[1:] == graph.tensors[graph.input].shape[1:]
    assert len((FASHION / "classes.txt").read_text().splitlines()) == 10
    assert set(labels.tolist()) == set(range(10))
