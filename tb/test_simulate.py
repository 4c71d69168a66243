"""simulate: the shipped network on the smallest preset, what is measured, and what is caught."""

import json
from dataclasses import replace

import numpy as np
import pytest

import systolith
from gen.compile import compile_model
from gen.image import Section
from gen.targets import resolve
from hw.layout import MAGIC, REGISTERS, Space
from models.tflite_reader import load
from sim.compare import Comparison
from sim.device import Device, DeviceError
from sim.golden import run as golden_run
from sim.loaded import opcodes
from sim.run import Session
from sim.simulate import load_inputs
from sim.verilated import build, named_only, wrapper
from tb.tflite_builder import Net

TARGET = "up5k"
KEYS = ["model", "target", "config", "macs", "inputs", "mismatches", "cycles", "layers", "outputs"]
LAYER_KEYS = ["name", "op", "macs", "cycles", "utilization", "stalls", "macs_done",
              "lane_idle"]


@pytest.fixture(scope="module")
def graph(fashion):
    return load(fashion / "fashion.tflite")


@pytest.fixture(scope="module")
def inputs(fashion, graph):
    return load_inputs(fashion / "images.npy", graph)[:3]


@pytest.fixture(scope="module")
def program(graph):
    return compile_model(graph, resolve(TARGET))


@pytest.fixture(scope="module")
def binary(program):
    return build(program.core_config)


@pytest.fixture(scope="module")
def simulated(fashion, inputs, graph, tmp_path_factory):
    """Exit code and JSON of a run whose expected outputs are right but for one value."""
    folder = tmp_path_factory.mktemp("simulate")
    expected = golden_run(graph, inputs)[graph.output].copy()
    expected[1, 4] ^= 1
    np.save(folder / "x.npy", inputs)
    np.save(folder / "y.npy", expected)
    code = systolith.main([
        "simulate", str(fashion / "fashion.tflite"), "--target", TARGET, "--skip", "auto",
        "--input", str(folder / "x.npy"), "--expect", str(folder / "y.npy"),
        "--json", str(folder / "new" / "result.json")])
    return code, json.loads((folder / "new" / "result.json").read_text())


def test_simulate_counts_one_wrong_expectation_and_nothing_else(simulated):
    code, values = simulated
    assert (code, values["mismatches"]) == (1, 1)


def test_json_has_the_documented_keys(simulated, graph, inputs):
    _, values = simulated
    assert list(values) == KEYS
    assert all(list(layer) == LAYER_KEYS for layer in values["layers"])
    assert (values["model"], values["target"], values["inputs"]) == ("fashion", TARGET, 3)
    assert values["macs"] == sum(graph.macs(op) for op in graph.ops)
    assert values["config"] == resolve(TARGET).config.items()
    assert values["outputs"] == golden_run(graph, inputs)[graph.output].reshape(3, -1).tolist()


def test_layers_sum_to_the_cores_own_cycles(simulated):
    _, values = simulated
    for number, cycles in enumerate(values["cycles"]):
        assert sum(layer["cycles"][number] for layer in values["layers"]) == cycles > 0
        for layer in values["layers"]:
            assert layer["cycles"][number] > sum(layer["stalls"][number].values()) - 1
            assert layer["utilization"][number] == pytest.approx(
                layer["macs"] / layer["cycles"][number] / 16, abs=1e-4)


def test_trace_is_a_waveform_of_named_signals(tmp_path):
    (tmp_path / "tiny.tflite").write_bytes(Net((1, 4, 4, 2), seed=1).conv(3).bytes())
    np.save(tmp_path / "x.npy", np.arange(64, dtype=np.int8).reshape(2, 4, 4, 2))
    code = systolith.main([
        "simulate", str(tmp_path / "tiny.tflite"), "--target", TARGET,
        "--input", str(tmp_path / "x.npy"), "--trace", str(tmp_path / "waves.vcd")])
    head, _, changes = (tmp_path / "waves.vcd").read_text().partition("$enddefinitions")
    assert code == 0
    assert "$scope module sequencer $end" in head and "irq" in head
    assert "\n#" in changes
    assert sorted(path.name for path in tmp_path.iterdir()) == \
        ["tiny.tflite", "waves.vcd", "x.npy"]


def test_first_wrong_value_is_named():
    comparison = Comparison()
    expected = np.zeros((1, 2, 2, 3), np.int8)
    got = expected.copy()
    got[0, 1, 0, 2] = -7
    comparison.add("op00_CONV_2D", 4, expected, expected)
    comparison.add("op01_CONV_2D", 4, expected, got)
    comparison.add("op02_CONV_2D", 4, expected, got)
    assert comparison.mismatches == 2
    assert str(comparison.first) == \
        "op01_CONV_2D, input 4, index [0, 1, 0, 2]: expected 0, got -7"


def test_a_damaged_weight_is_found_in_its_layer(program, binary, graph, inputs):
    """Break the program once: the first convolution that uses the weights differs."""
    from sim.compare import compare_layers
    image = bytearray(program.sections[0].data)
    image[-1 - program.memory["activation"]["homes"] // 2] ^= 0x55
    sections = (replace(program.sections[0], data=bytes(image)), *program.sections[1:])
    broken = replace(program, sections=sections)
    comparison = Comparison()
    with Session(broken, binary) as session:
        golden = golden_run(graph, inputs[:1])
        compare_layers(comparison, broken, golden, 0, 0, session.infer(inputs[0]))
    assert comparison.mismatches > 0 and comparison.first is not None


def test_a_program_for_another_configuration_is_refused_by_the_core(program, binary, inputs):
    image = bytearray(program.sections[0].data)
    image[8] ^= 1  # configuration hash
    first = Section(space=Space.ACT, offset=0, data=bytes(image))
    broken = replace(program, sections=(first, *program.sections[1:]))
    with Session(broken, binary) as session, pytest.raises(DeviceError, match="CONFIG"):
        session.infer(inputs[0])


def test_host_port_refuses_what_is_not_there(program, binary):
    config = program.core_config
    with Device(binary) as device:
        assert device.read(Space.REGS, REGISTERS[0][1], 1)[0] == MAGIC
        with pytest.raises(DeviceError, match="not refuse 1 to read"):
            device.read(Space.WEIGHT, 0, 1)
        beyond = config.act_lines * config.V // 4
        if beyond < 1 << config.space_bits:
            with pytest.raises(DeviceError, match="ACT from word"):
                device.write(Space.ACT, beyond, [0])


def test_host_port_reads_back_what_it_wrote(program, binary):
    words = np.random.default_rng(1).integers(0, 1 << 32, 4 * program.core_config.V, np.uint32)
    with Device(binary) as device:
        device.write(Space.ACT, 0, words)
        assert (device.read(Space.ACT, 0, len(words)) == words).all()


def test_a_run_is_given_up_at_its_limit(program, binary, inputs):
    with Session(program, binary) as session:
        session.limit = 100
        with pytest.raises(DeviceError, match="within 100 cycles"):
            session.infer(inputs[0])


def test_opcodes_come_from_the_image(program):
    assert len(opcodes(program)) == program.descriptors


def test_wrapper_shows_both_ports_of_the_memory():
    config = resolve("ecp5-85k").config
    declared = "module \\systolith.act (x);\n input p0__we;\n input p1__we;\nendmodule"
    text = wrapper(config, declared)
    assert "core.act.p1__addr" in text
    assert "core.act.p1__addr" not in wrapper(config, declared.replace("p1__we", "x"))


def test_signals_without_names_stay_out_of_waveforms():
    named, unnamed = "  wire [3:0] \\act$3 ;", "  reg [1:0] \\$12  = 2'h0;"
    text = f"{named}\n{unnamed}\n"
    assert named_only(text).count("tracing_off") == 1
    assert named_only("  wire clk;\n  assign x = \\$1 ;\n").count("tracing_off") == 0
