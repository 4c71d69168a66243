# amaranth: UnusedElaboratable=no
"""Passing over zeros: masks, scanners and the issue on their Verilog; the compiler's choice."""

import json
import random
from dataclasses import replace
from fractions import Fraction
from itertools import product

import numpy as np
import pytest

import systolith
from gen.activity import visit_cycles
from gen.lower import lower
from gen.lower.steps import Step, no_params
from gen.masks import kept_rows, mask_words, pack, stored_rows
from gen.pages import rows_needed
from gen.skip import skipping
from gen.targets import PRESETS, resolve
from hw.config import ConfigError, CoreConfig
from hw.layout import Opcode
from hw.marks import Marks
from hw.masks import RowMasks
from hw.nonzero import Nonzero
from hw.scanner import Scanner
from models.tflite_reader import load, parse
from sim.sparsity import break_even, sparsity
from tb.bench import run_cocotb
from tb.patch_model import buffers, patches, random_layer
from tb.test_cells import Bundle
from tb.test_cycles import FASHION
from tb.test_lanes import SPACING_BITS, issue_of
from tb.tflite_builder import Net

SKIPPING = resolve("ecp5-25k", ["skip=act"])
COMMON = {"act_lines": 160, "Q": 2, "param_groups": 16, "weight_rows": 2048, "skip": "act"}
SEEKS = {"F": 1, "memory": "ice40", "multiplier": "sb_mac16", "act_lines": 16384}
CONFIGS = {
    "two": CoreConfig(P=2, L=4, C=4, V=8, patch_lines=64, patch_buffers=8, **COMMON),
    "lines": CoreConfig(P=1, L=1, C=32, V=32, patch_lines=16, patch_buffers=2, **COMMON),
    "rows": CoreConfig(P=1, L=8, C=4, V=8, patch_lines=16, patch_buffers=8, **COMMON),
    "both": CoreConfig(P=2, L=4, C=4, V=8, patch_lines=64, patch_buffers=8, **COMMON
                       | {"skip": "both"}),
    "seek": CoreConfig(P=1, L=2, C=8, V=8, patch_lines=64, patch_buffers=2, **COMMON | SEEKS),
    "pairs": CoreConfig(P=1, L=4, C=4, V=8, patch_lines=16, patch_buffers=8, **COMMON | SEEKS
                        | {"multiplier": "lut"}),
    "line": CoreConfig(P=1, L=1, C=8, V=8, patch_lines=16, patch_buffers=4, **COMMON | SEEKS),
    "alone": CoreConfig(P=1, L=1, C=16, V=16, patch_lines=16, patch_buffers=4, **COMMON
                        | {"skip": "both", "weight_rows": 2032}),
}


def test_lanes_pass_over_zeros_only(tmp_path):
    parts = {}
    for name, config in CONFIGS.items():
        parts |= ({f"nonzero_{name}0": Nonzero(config), f"scanner_{name}0": Scanner(config)}
                  if config.scans else {f"marks_{name}0": Marks(config)})
        parts |= {f"issue_{name}{index}": issue_of(config)(config, index, SPACING_BITS)
                  for index in range(config.P)}
        if config.row_masks:
            parts[f"masks_{name}0"] = RowMasks(config)
    given = {"configs": {name: config.items() for name, config in CONFIGS.items()}}
    run_cocotb(Bundle(parts), "tb.cocotb_skip", name="skip", work_dir=tmp_path, parameters=given)


def test_skipping_needs_a_core_that_can():
    with pytest.raises(ConfigError, match="act must meet a core with skip=act, not skip=off"):
        skipping(None, CoreConfig(), "act")
    with pytest.raises(ConfigError, match="on must meet a core with skip=act, not skip=off"):
        skipping(None, CoreConfig(), "on")
    with pytest.raises(ConfigError, match="must meet a core with skip=both, not skip=act"):
        skipping(None, CONFIGS["two"], "weights")
    with pytest.raises(ConfigError, match="V must be at most 16 [*] L = 16 with skip=both"):
        replace(CONFIGS["lines"], skip="both")
    with pytest.raises(ConfigError, match="skip must be off or act with memory=ice40"):
        replace(CONFIGS["seek"], skip="both")


@pytest.mark.parametrize("name", CONFIGS)
def test_visits_take_the_busiest_lanes_rows(name):
    """The cycle model's counts against windows packed with plain loops."""
    config, rng = CONFIGS[name], random.Random(name)
    for _ in range(40):
        d = random_layer(rng, config, "conv") | {"split": 1, "op": int(Opcode.CONV)}
        d |= {"offset": d["fill"], "skip": int(not config.row_masks or rng.random() < 0.7)}
        rows = -(-d["kernel_h"] * d["segments"] * d["segment_bytes"] // config.L)
        stored, count = None, 1
        if config.row_masks and rng.random() < 0.8:
            count = d["groups"]
            stored = np.random.default_rng(rows).random((count, rows, config.L)) < rng.random()
        zero = d["fill"] & 255
        memory = bytes(zero if rng.random() < 0.6 else rng.randrange(256)
                       for _ in range(config.act_lines * config.V))
        wanted = []
        for patch in patches(d | {"chunked": 0, "groups": 1}, config, 0, memory):
            for (number, filled), g in product(enumerate(buffers(d, config, [patch])),
                                               range(count)):
                lanes, first = [], number * config.patch_lines * config.rows_per_line
                for lane in range(config.L):
                    rows = [(not d["skip"] or filled.data[at] != zero)
                            and (stored is None or stored[g, first + at // config.L, lane])
                            for at in range(lane, min(len(filled.data), len(patch)), config.L)]
                    windows = [sum(rows[at:at + config.window_rows])
                               for at in range(0, filled.rows, config.window_rows)]
                    lanes.append(sum(max(1, n) for n in windows[:-1]) + max(2, windows[-1])
                                 if config.seeks else sum(windows) + (not windows[-1]))
                wanted.append(max(lanes))
        found = visit_cycles(config, d, np.frombuffer(memory, np.int8), stored)
        assert found.reshape(-1).tolist() == wanted, d


@pytest.mark.parametrize("name", ["both", "alone"])
def test_packed_weights_are_the_dense_ones_without_zero_rows(name):
    """Masks and rows, wherever they lie in the banks, give back every weight."""
    config, rng = CONFIGS[name], np.random.default_rng(3)
    for trial in range(30):
        groups, rows, start = rng.integers(1, 5), rng.integers(1, 80), int(rng.integers(0, 99))
        weights = rng.integers(-128, 128, (groups, rows, config.L, config.C), np.int8)
        weights[rng.random(weights.shape[:3]) < rng.choice([0, 0.3, 0.9, 1])] = 0
        step = Step(op=Opcode.CONV, groups=groups, params=no_params(config), output=0, fields={
            "kernel_h": 1, "segments": 1, "segment_bytes": int(rows) * config.L},
            weights=weights.reshape(groups, -1).view(np.uint8))
        packed, stored = pack(step, config)
        assert np.array_equal(stored, weights.any(axis=3))
        bank = np.zeros((start + 400, config.L, config.C), np.uint8)
        kept = packed.weights.reshape(-1, config.L, config.C)
        assert len(kept) == stored.sum(axis=(0, 1)).max()
        bank[start:start + len(kept)] = kept
        words = mask_words(packed.masks, start, config)
        d = packed.fields | {"w_base": 0, "groups": groups}
        seen = stored_rows(config, d, words)
        assert np.array_equal(seen[:, :rows], stored) and not seen[:, rows:].any()
        assert kept_rows(packed.masks, config) == stored.sum()
        found, words = np.zeros_like(weights), np.frombuffer(words, "<u4")
        for g, row, lane in np.argwhere(stored):
            number = (g * packed.group_rows + row // config.window_rows) * config.L + lane
            base, mask = divmod(int(words[number]), 1 << config.window_rows)
            below = mask & (1 << row % config.window_rows) - 1
            found[g, row, lane] = bank[base + below.bit_count(), lane].view(np.int8)
        assert np.array_equal(found, weights), trial


def test_layers_that_gain_most_are_packed_until_the_masks_are_full():
    """Not all masks fit; where the weights do not fit even so, no layer is packed."""
    config = replace(CONFIGS["both"], weight_rows=112)        # 16 words of masks
    net = Net((1, 4, 4, 16), seed=2)
    for channels in (8, 4, 8):                                # 6, 2 and 2 words, then 3
        net.conv(channels, (3, 3), padding="SAME")
    net.conv(20, (1, 1)).conv(4, (3, 3))
    graph = parse(net.prune_rows(0.5, config.C).bytes())
    lowered = lower(graph, config)
    for choice in ("auto", "on"):
        found = [step for layer in skipping(lowered, config, choice).layers
                 for step in layer.steps]
        words = [step.masks.size // config.L for step in found if step.masks is not None]
        assert config.row_mask_words - 3 <= sum(words) <= config.row_mask_words
        assert 0 < len(words) < len(found) and found[0].masks is not None
    assert rows_needed(lowered.layers, config) > config.weight_rows, "dense ones do not fit"
    small = replace(config, weight_rows=64)
    assert all(step.masks is None for layer in skipping(lowered, small, "on").layers
               for step in layer.steps)


def test_sparsity_tells_zeros_and_their_worth(capsys):
    images = FASHION.parent / "images.npy"
    assert systolith.main(["sparsity", str(FASHION), "--input", str(images), "-n", "2"]) == 0
    printed = capsys.readouterr().out
    assert "zero activations" in printed and "up5k 9" in printed
    layers = sparsity(load(FASHION), SKIPPING, np.load(images)[:2])
    assert [layer.name for layer in layers if layer.activations is None] == [
        "op01_MAX_POOL_2D", "op06_MAX_POOL_2D", "op10_AVERAGE_POOL_2D"]
    for layer in layers:
        assert 1 - 1e-9 <= layer.expected <= layer.ideal + 0.02
    assert sum(layer.dense for layer in layers) > 1.4 * sum(layer.skipping for layer in layers)
    still = sparsity(load(FASHION), resolve("up5k", ["skip=off"]), np.load(images)[:1])
    assert all(layer.expected == 1 for layer in still)


def test_report_says_what_skipping_is_worth(capsys, tmp_path):
    arguments = ["compile", str(FASHION), "--target", "ecp5-25k", "--set", "skip=act",
                 "-o", str(tmp_path)]
    assert systolith.main(arguments) == 0
    report, printed = json.loads((tmp_path / "report.json").read_text()), capsys.readouterr().out
    assert report["skipping"]["layers"] == 7 and "7 layers" in printed
    assert report["skipping"]["dense_cycles"] > 1.3 * report["cycles"]
    text = (tmp_path / "report.md").read_text()
    assert f"instead of {report['skipping']['dense_cycles']:,}" in text
    assert systolith.main([*arguments, "--skip", "off"]) == 0
    off = json.loads((tmp_path / "report.json").read_text())
    assert off["cycles"] == off["skipping"]["dense_cycles"] == report["skipping"]["dense_cycles"]
    assert "passed over in" not in capsys.readouterr().out
    assert systolith.main(["compile", str(FASHION), "--target", "up5k", "--set",
                           "skip=off", "--skip", "on", "-o", str(tmp_path / "none")]) == 2
    assert "must meet a core with skip=act, not skip=off" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


def test_density_that_pays_depends_on_lanes_and_drain():
    even = {name: break_even(target.config) for name, target in PRESETS.items()}
    assert all(0.8 < density < 1 for density in even.values()), even
    slow = break_even(replace(SKIPPING.config, Q=Fraction(1, 4)))
    assert slow < 0.7, "a drain of 64 cycles hides 36 rows"
