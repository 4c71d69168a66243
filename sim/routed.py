"""What place and route said last about every preset: docs/routed.json, out of build.json."""

import json
from pathlib import Path

ROUTED = Path(__file__).resolve().parents[1] / "docs" / "routed.json"


def routed(preset: str) -> dict:
    """Fields of build.json (`gen.pnr.BuildResult`) as recorded; empty if nothing is."""
    return json.loads(ROUTED.read_text()).get(preset, {}) if ROUTED.is_file() else {}
