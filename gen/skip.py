"""Which layers pass over zeros: activations, weight rows, or both."""

from dataclasses import replace

from gen.lower.steps import Layer, Lowered
from gen.packing import packing
from hw.config import SKIPS, ConfigError, CoreConfig
from hw.layout import Opcode


def skipping(lowered: Lowered, config: CoreConfig, choice: str) -> Lowered:
    """The network with the layers marked that pass over zeros.

    Parameters
    ----------
    lowered : Lowered
    config : CoreConfig
    choice : str
        "auto": every convolution and fully connected layer passes over activations equal to their
        zero point if the core can, because none takes longer so: windows without zeros are issued
        row by row; and over weight rows where `gen.packing.packing` finds that it pays; "on": all
        that the core can in every layer, which must be something; "act", "weights": one of them,
        but the core must be able to; "off": none.

    Raises
    ------
    ConfigError
        The core cannot do what is asked for.
    """
    needed = {"act": "act", "on": "act", "weights": "both"}.get(choice, "off")
    if SKIPS.index(config.skip) < SKIPS.index(needed):
        raise ConfigError(f"--skip {choice} must meet a core with skip={needed}, not "
                          f"skip={config.skip}; give --set skip={needed} or --skip auto")
    if config.skips and choice in ("auto", "on", "act"):
        lowered = replace(lowered, layers=tuple(map(_passing, lowered.layers)))
    if config.row_masks and choice in ("auto", "on", "weights"):
        lowered = packing(lowered, config, always=choice != "auto")
    return lowered


def _passing(layer: Layer) -> Layer:
    """A layer whose convolutions pass over activations."""
    return replace(layer, steps=tuple(
        replace(step, fields=step.fields | {"skip": 1}) if step.op == Opcode.CONV else step
        for step in layer.steps))
