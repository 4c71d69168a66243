"""Which layers pass over zeros."""

from dataclasses import replace

from gen.lower.steps import Lowered
from hw.config import ConfigError, CoreConfig
from hw.layout import Opcode


def skipping(lowered: Lowered, config: CoreConfig, choice: str) -> Lowered:
    """The network with the layers marked that pass over activations equal to their zero point.

    Parameters
    ----------
    lowered : Lowered
    config : CoreConfig
    choice : str
        "auto": every convolution and fully connected layer if the core can, because none takes
        longer so: windows without zeros are issued row by row; "on", "act": the same, but the core
        must be able to; "off": none.

    Raises
    ------
    ConfigError
        The core has no scanners.
    """
    if choice in ("on", "act") and not config.skips:
        raise ConfigError(f"--skip {choice} must meet a core with skip=act, not "
                          f"skip={config.skip}; give --set skip=act or --skip auto")
    if choice == "off" or not config.skips:
        return lowered
    layers = tuple(replace(layer, steps=tuple(
        replace(step, fields=step.fields | {"skip": 1}) if step.op == Opcode.CONV else step
        for step in layer.steps)) for layer in lowered.layers)
    return replace(lowered, layers=layers)
