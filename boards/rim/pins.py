"""Pins of a platform without buffers."""

from typing import Any

from amaranth.build import Subsignal


def parts(platform, name: str, number: int = 0) -> list[str]:
    """Names of a resource's parts; none if it is a pin by itself."""
    return [part.name for part in platform.lookup(name, number).ios
            if isinstance(part, Subsignal)]


def request(platform, name: str, number: int = 0) -> Any:
    """A resource's ports."""
    found = parts(platform, name, number)
    return platform.request(name, number, dir=dict.fromkeys(found, "-") if found else "-")
