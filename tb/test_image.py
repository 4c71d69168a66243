"""Program images: files, damage, packing of tensors, reports."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gen.compile import compile_model
from gen.image import load, pack_input, to_bytes
from gen.report import markdown, summarize
from gen.targets import PRESETS
from hw.config import PROGRAM_VERSION, align_up, slot_bytes
from hw.layout import DESCRIPTOR, MAGIC, Opcode, Space, decode, encode
from models.graph import ModelError
from models.tflite_reader import parse
from tb.tflite_builder import Net


@pytest.fixture(scope="module", params=sorted(PRESETS))
def program(request):
    net = Net((1, 9, 9, 3), seed=6).conv(16, stride=(2, 2))
    start = net.here
    net.conv(16).add(start).max_pool().reshape().fully_connected(10).softmax()
    return compile_model(parse(net.bytes()), PRESETS[request.param])


def test_saved_program_loads_the_same(program, tmp_path):
    (tmp_path / "p.bin").write_bytes(to_bytes(program))
    assert load(tmp_path / "p.bin") == program
    assert load(tmp_path / "p.bin").core_config == PRESETS[program.target].config


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_damaged_program_is_one_line(program, tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "damaged.bin"
    raw = bytearray(to_bytes(program))
    if data.draw(st.booleans()):
        raw = raw[:data.draw(st.integers(0, len(raw) - 1))]
    else:
        position = data.draw(st.integers(0, 8 * len(raw) - 1))
        raw[position // 8] ^= 1 << position % 8
    path.write_bytes(raw)
    with pytest.raises(ModelError, match="must .*; (give|compile)") as error:
        load(path)
    assert "\n" not in str(error.value)


def test_missing_program_is_one_line(tmp_path):
    with pytest.raises(ModelError, match="'none.bin' must be a readable file.*check the path"):
        load(tmp_path / "none.bin")


def test_header_slots_and_end_lie_as_the_contract_says(program):
    config = program.core_config
    image = next(s.data for s in program.sections if s.space == Space.ACT)
    words = np.frombuffer(image, "<u4")
    assert words[:4].tolist() == [MAGIC, PROGRAM_VERSION, config.hash, program.descriptors]
    start, step = align_up(16, config.V), slot_bytes(config)
    ops = [decode(words[(start + i * step) // 4:][:16].tolist())["op"]
           for i in range(program.descriptors + 1)]
    assert ops[-1] == Opcode.END and Opcode.END not in ops[:-1]
    counted = [i for layer in program.layers for i in range(layer.first, layer.first + layer.count)]
    assert counted == list(range(program.descriptors))
    assert all(len(s.data) % 4 == 0 for s in program.sections)
    assert len(image) % config.V == 0


@given(data=st.data())
def test_encode_and_decode_are_inverse(data):
    values = {}
    for name, field in DESCRIPTOR.items():
        if name == ("in_start" if values.get("op") == Opcode.ADD else "a_base"):
            values[name] = 0    # the two share their bits
            continue
        low = -(1 << field.width - 1) if field.signed else 0
        values[name] = data.draw(st.integers(low, low + (1 << field.width) - 1))
    assert decode(encode(**values)) == values


def test_input_packs_pixels_and_unpacks(program):
    x = np.random.default_rng(0).integers(-128, 128, (1, 9, 9, 3), np.int8)
    line, data = pack_input(program, x)
    assert line == program.input.line and len(data) % program.config["V"] == 0
    assert np.array_equal(program.input.unpack(data), x)
    assert pack_input(program, x[0]) == (line, data)


@pytest.mark.parametrize("x", [np.zeros((1, 9, 9, 3)), np.zeros((1, 9, 3, 9), np.int8)])
def test_wrong_input_is_one_line(program, x):
    with pytest.raises(ModelError, match=r"input must be int8 of shape \[1, 9, 9, 3\], not"):
        pack_input(program, x)


def test_reports_name_every_layer_and_memory(program):
    values, text = summarize(program), markdown(program)
    assert json.loads(json.dumps(values)) == values
    assert [layer["name"] for layer in values["layers"]] == [x.name for x in program.layers]
    assert all(layer.name in text for layer in program.layers)
    assert all(f"| {name} |" in text for name in program.memory)
    assert values["macs"] == sum(layer.macs for layer in program.layers)
    assert values["host"] == list(program.host) and len(program.host) == 1


def test_memory_map_sums_to_what_is_used(program):
    use = program.memory["activation"]
    assert use["used"] == use["program"] + use["homes"] + use["activations"] <= use["there"]
