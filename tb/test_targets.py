"""Targets: presets, TOML files, overrides, and memories fitted to a model."""

from dataclasses import fields, replace
from fractions import Fraction

import pytest

from gen.compile import compile_model
from gen.fit import core_blocks, fit_memories
from gen.targets import PRESETS, FitError, parameters, resolve, summary, to_toml
from hw.config import ConfigError, CoreConfig
from models.graph import ModelError
from models.tflite_reader import load, parse
from tb.tflite_builder import Net


@pytest.mark.parametrize("name", PRESETS)
def test_preset_resolves_to_itself_and_fits_its_device(name):
    target = resolve(name)
    assert target == PRESETS[name]
    assert sum(core_blocks(target.config).values()) <= target.ram_blocks
    assert target.config.mac_dsps <= target.dsps


@pytest.mark.parametrize("name, macs", [("up5k", 16), ("ecp5-25k", 64), ("ecp5-85k", 128)])
def test_preset_has_its_macs(name, macs):
    assert PRESETS[name].config.macs == macs


def test_overrides_take_the_type_of_their_field():
    config = resolve("up5k", ["Q=1/2", "weight_rows = 256", "multiplier=lut"]).config
    assert (config.Q, config.weight_rows, config.multiplier) == (Fraction(1, 2), 256, "lut")


def test_toml_file_gives_fields_and_base(tmp_path):
    path = tmp_path / "small.toml"
    path.write_text('base = "up5k"\npatch_lines = 64\nQ = 0.5\n')
    target = resolve(str(path), ["param_groups=64"])
    assert target.name == "small" and target.device == "up5k"
    assert target.config == replace(PRESETS["up5k"].config, patch_lines=64, Q=Fraction(1, 2),
                                    param_groups=64)


@pytest.mark.parametrize("name", PRESETS)
def test_written_toml_resolves_to_the_same_target(name, tmp_path):
    path = tmp_path / f"{name}.toml"
    target = resolve(name, ["patch_lines=64"])
    path.write_text(to_toml(target))
    assert resolve(str(path)) == target


@pytest.mark.parametrize("target, overrides, match", [
    ("ecp5-85", [], r"target must be one of up5k, .*not 'ecp5-85'; did you mean 'ecp5-85k'\?"),
    ("up5k", ["act_line=3"], r"not 'act_line'; did you mean 'act_lines'\?"),
    ("up5k", ["zzz=3"], "not 'zzz'; see generate --list"),
    ("up5k", ["P"], "override must be name=value, not 'P'"),
    ("up5k", ["P=two"], r"P must be an integer \(1 or 2\), not 'two'"),
    ("up5k", ["P=2"], "must be .*; "),
    ("up5k", ["Q=1/0"], "Q must be a number or fraction"),
    ("up5k", ["Q=1e999999999"], "Q must be a number or fraction"),
    ("up5k", ["act_width=4"], "act_width must be one of 8, not 4"),
    ("up5k", ["weight_rows=1.5"], "weight_rows must be an integer"),
    ("up5k", ["memory=dram"], "memory must be one of plain"),
])
def test_wrong_names_and_values_are_one_line(target, overrides, match):
    with pytest.raises(ConfigError, match=match) as error:
        resolve(target, overrides)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text, match", [
    ("P = [1]", "P must be an integer"), ("P = true", "P must be an integer"),
    ("P = 1.0", "P must be an integer"), ("multiplier = 3", "multiplier must be text"),
    ("base = 3", "base must be one of"), ('base = "up5"', "did you mean 'up5k'"),
    ("P = = 1", "target must be readable TOML"),
    (f"P = {'9' * 5000}", "target must be readable TOML"),
    ("P = " + "[" * 5000, "target must be readable TOML"),
    ("lanes = 2", "parameter must be one of"),
])
def test_wrong_toml_is_one_line(text, match, tmp_path):
    path = tmp_path / "bad.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=match) as error:
        resolve(str(path))
    assert "\n" not in str(error.value)


def test_parameters_list_every_field_with_text_and_presets():
    rows = parameters()
    assert [row[0] for row in rows] == [f.name for f in fields(CoreConfig)]
    assert all(choices and doc and set(values) == set(PRESETS)
               for _, choices, values, doc in rows)


def test_summary_holds_plain_values():
    assert summary(PRESETS["up5k"])["config"]["Q"] == "1/4"


def test_fit_changes_depths_only_and_fits_the_device():
    graph = parse(Net((1, 640), seed=1).fully_connected(128).fully_connected(640).bytes())
    target = PRESETS["ecp5-85k"]
    found = fit_memories(target, graph)
    same = {"act_lines", "weight_rows", "param_groups"}
    assert {k for k, v in found.config.items().items() if v != target.config.items()[k]} <= same
    assert sum(core_blocks(found.config).values()) <= found.ram_blocks
    assert compile_model(graph, target, fit=True).config == found.config.items()


def test_fit_pages_weights_where_the_banks_cannot_hold_them():
    graph = parse(Net((1, 8, 8, 16), seed=1).conv(64).conv(32).bytes())
    found = fit_memories(PRESETS["up5k"], graph)
    assert found.config.act_lines == PRESETS["up5k"].config.act_lines
    assert sum(core_blocks(found.config).values()) <= 30
    program = compile_model(graph, found)
    assert program.memory["weights"]["used"] == 0 < program.memory["activation"]["homes"]


def test_fit_says_how_many_blocks_it_lacks():
    graph = parse(Net((1, 4096), seed=4).fully_connected(64).bytes())
    with pytest.raises(FitError, match=r"not fit up5k .*needs at least \d+ RAM blocks .*not 30"):
        fit_memories(resolve("up5k", ["acc_width=32", "C=4"]), graph)


def test_psums_wider_than_the_accumulators_are_refused():
    graph = parse(Net((1, 4096), seed=4).fully_connected(64).bytes())
    with pytest.raises(ModelError, match=r"psums must stay below 2\^23, .*acc_width=32"):
        fit_memories(PRESETS["up5k"], graph)


def test_fit_of_the_autoencoder_takes_160_blocks_of_weights(mlperf):
    found = fit_memories(PRESETS["ecp5-85k"], load(mlperf / "ad_autoencoder.tflite"))
    counts = core_blocks(found.config)
    assert counts["weights"] == 160 and sum(counts.values()) <= 208


def test_autoencoder_without_fit_does_not_fit(mlperf):
    graph = load(mlperf / "ad_autoencoder.tflite")
    with pytest.raises(FitError, match="weights need 265216 bytes of the 131072"):
        compile_model(graph, resolve("ecp5-85k", ["pages=0"]))
