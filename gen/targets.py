"""Targets: a device, what it holds, and the core that is built for it."""

import re
import tomllib
from collections.abc import Sequence
from dataclasses import MISSING, asdict, dataclass, fields, replace
from difflib import get_close_matches
from fractions import Fraction
from pathlib import Path

from hw.config import MEMORIES, MULTIPLIERS, SKIPS, ConfigError, CoreConfig
from models.graph import ModelError


class FitError(ModelError):
    """A model exceeds a target's memories; the text says what is needed and what is there."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """A core configuration and the device it is meant for.

    Parameters
    ----------
    name : str
    family : str
        "ice40" or "ecp5": which place and route runs.
    device, package : str
    speed : str
        Speed grade; "" where there is none.
    min_mhz : float
        Clock that a build must reach; 0 where none is asked.
    ram_blocks, spram_blocks, dsps, luts : int
        What the device has: EBRs, SPRAMs, DSP cells, logic cells.
    lut_limit : int
        Logic cells that a build may use; 0 for all.
    config : CoreConfig
    """

    name: str
    family: str
    device: str
    package: str
    speed: str = ""
    min_mhz: float = 0
    ram_blocks: int
    spram_blocks: int = 0
    dsps: int
    luts: int
    lut_limit: int = 0
    config: CoreConfig


PRESETS = {
    "up5k": Target(
        name="up5k", family="ice40", device="up5k", package="sg48", min_mhz=20, ram_blocks=30,
        spram_blocks=4, dsps=8, luts=5280,
        config=CoreConfig(P=1, L=2, C=8, V=8, Q=Fraction(1, 4), F=1, align=2, act_lines=16384,
                          weight_rows=512, patch_lines=128, patch_buffers=2, param_groups=32,
                          dim_bits=12, column_bits=14, acc_width=24, skip="act",
                          multiplier="sb_mac16", memory="ice40")),
    "ecp5-25k": Target(
        name="ecp5-25k", family="ecp5", device="25k", package="CABGA381", speed="6", min_mhz=80,
        ram_blocks=56, dsps=28, luts=24288,
        config=CoreConfig(P=1, L=4, C=16, V=16, Q=Fraction(2), F=2, align=1, act_lines=3072,
                          weight_rows=512, patch_lines=64, patch_buffers=8, param_groups=64,
                          skip="act", multiplier="mult18x18d", mac_dsps=20, memory="dp16kd")),
    "ecp5-85k": Target(
        name="ecp5-85k", family="ecp5", device="85k", package="CABGA381", speed="6", min_mhz=85,
        ram_blocks=208, dsps=156, luts=83640, lut_limit=30000,
        config=CoreConfig(P=2, L=4, C=16, V=16, Q=Fraction(8), F=2, align=1, act_lines=8192,
                          weight_rows=2048, patch_lines=64, patch_buffers=8, param_groups=256,
                          skip="both", multiplier="mult18x18d", mac_dsps=124, memory="dp16kd")),
}

CHOICES = {
    "P": "1 or 2", "L": "1, 2, 4 or 8", "C": "4, 8, 16 or 32",
    "V": "power of two, C..min(L*C, 64)", "Q": "P times 1/4, 1/2, 1, 2 ... C/2", "F": "1 or 2",
    "align": "power of two, 1..V", "act_lines": "whole RAM blocks, up to 65536",
    "weight_rows": "whole RAM blocks, up to 65536", "patch_lines": "power of two, 16..4096",
    "patch_buffers": "2, 4 or 8", "dim_bits": "8..16", "column_bits": "10..16",
    "param_groups": "1..4096", "pages": "0 or 1", "act_width": "8", "weight_width": "8",
    "acc_width": "24..32",
    "skip": ", ".join(SKIPS), "multiplier": ", ".join(MULTIPLIERS), "mac_dsps": "even, 0..P*L*C",
    "memory": ", ".join(MEMORIES),
}
NUMBER = re.compile(r"\d{1,4}([./]\d{1,4})?")  # Fraction also takes 1e999999999, for hours
BASE = "base"  # the one key of a target's TOML file that is no field of CoreConfig


def resolve(target: str, overrides: Sequence[str] = ()) -> Target:
    """The target that a command line means.

    Parameters
    ----------
    target : str
        A preset's name, or the path of a TOML file: fields of CoreConfig and optionally
        ``base = "<preset>"`` (default ecp5-85k), which gives the device and all other fields.
    overrides : sequence of str
        "name=value", applied last.

    Raises
    ------
    ConfigError
        An unknown target, field or value; the text names the closest valid one.
    """
    base, written = (target, {}) if target in PRESETS else _read(target)
    found, values = PRESETS[base], {}
    try:
        config = _replaced(found.config, written)
    except ConfigError as error:
        raise ConfigError(f"{Path(target).name}: {error}") from None
    for text in overrides:
        name, equals, value = text.partition("=")
        if not equals:
            raise ConfigError(f"override must be name=value, not {text!r}; for example "
                              f"weight_rows=1024")
        values[name.strip()] = value.strip()
    custom = found.name if base == target else Path(target).stem
    return replace(found, name=custom, config=_replaced(config, values))


def _replaced(config, values):
    """The configuration with other values, in the types of TOML or as text."""
    return replace(config, **{name: _value(name, value) for name, value in values.items()})


def parameters() -> list[tuple[str, str, dict[str, str], str]]:
    """Every parameter: name, what it may be, its value in each preset, what it means."""
    docs = _docs()
    return [(f.name, CHOICES[f.name],
             {name: str(getattr(t.config, f.name)) for name, t in PRESETS.items()}, docs[f.name])
            for f in fields(CoreConfig)]


def to_toml(target: Target) -> str:
    """Text of a TOML file that resolves to this target's configuration."""
    base = next((name for name, preset in PRESETS.items() if preset.device == target.device), "")
    lines = [f'{BASE} = "{base}"'] if base else []
    for name, value in target.config.items().items():
        lines.append(f'{name} = "{value}"' if isinstance(value, str) else f"{name} = {value}")
    return "\n".join(lines) + "\n"


def summary(target: Target) -> dict:
    """The target as plain values, for reports."""
    values = asdict(replace(target))
    values["config"] = target.config.items()
    return values


def _read(target):
    """Base preset and field values of a TOML file."""
    path = Path(target)
    if not path.is_file():
        raise ConfigError(f"target must be one of {', '.join(PRESETS)} or a TOML file, not "
                          f"{target!r}; {_closest(target, PRESETS, 'check the path')}")
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"target must be readable TOML, not {path.name!r} ({reason}); "
                          f"correct the file") from None
    base = values.pop(BASE, "ecp5-85k")
    if not isinstance(base, str) or base not in PRESETS:
        raise ConfigError(f"base must be one of {', '.join(PRESETS)}, not {base!r}; "
                          f"{_closest(str(base), PRESETS, 'name a preset')}")
    return base, values


def _value(name, value):
    """A field's value with the field's type, from TOML or from text."""
    kinds = {f.name: Fraction if f.name == "Q" else type(f.default)
             for f in fields(CoreConfig) if f.default is not MISSING}
    if name not in kinds:
        raise ConfigError(f"parameter must be one of {', '.join(kinds)}, not {name!r}; "
                          f"{_closest(name, kinds, 'see generate --list')}")
    kind = kinds[name]
    rule = {int: "an integer", str: "text", Fraction: "a number or fraction"}[kind]
    wrong = ConfigError(f"{name} must be {rule} ({CHOICES[name]}), not {value!r}; "
                        f"correct the value")
    if isinstance(value, bool) or not isinstance(value, (int, str, float)):
        raise wrong
    if kind is str:
        if not isinstance(value, str):
            raise wrong
        return value
    if kind is int and isinstance(value, float):
        raise wrong
    if kind is Fraction and isinstance(value, str) and not NUMBER.fullmatch(value):
        raise wrong
    try:
        return kind(value)
    except (ValueError, ZeroDivisionError, OverflowError):
        raise wrong from None


def _closest(name, names, otherwise):
    lowered = {known.lower(): known for known in names}
    matches = get_close_matches(name.lower(), lowered, n=1, cutoff=0.5)
    return f"did you mean {lowered[matches[0]]!r}?" if matches else otherwise


def _docs():
    """What the docstring of CoreConfig says about each field, on one line."""
    docs, names = {}, []
    text = (CoreConfig.__doc__ or "").split("----------", 1)[-1]
    for line in text.splitlines():
        head = line.strip()
        if " : " in head and line.startswith("    ") and not line.startswith("     "):
            names = [name.strip() for name in head.split(" : ")[0].split(",")]
            docs.update(dict.fromkeys(names, ""))
        elif head:
            for name in names:
                docs[name] = f"{docs[name]} {head}".strip()
    return docs
