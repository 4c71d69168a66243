"""Fast simulators of whole presets, built once however many tests want them at the same time."""

import fcntl
from pathlib import Path

from hw.config import CoreConfig
from sim.verilated import build, cache_folder


def simulator(config: CoreConfig) -> Path:
    """Return the simulator of a core, from the cache or built into it."""
    cache_folder().mkdir(parents=True, exist_ok=True)
    with (cache_folder() / f".{config.hash:08x}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return build(config)
