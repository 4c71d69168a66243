"""Writes into the memories beside the activation memory, from host or loader."""

from amaranth.lib import wiring
from amaranth.lib.wiring import Out

from hw.config import CoreConfig
from hw.params import word_address_bits
from hw.weights import line_address_bits


def store_port(config: CoreConfig) -> wiring.Signature:
    """Weight lines, parameter words and table words, seen from who writes them."""
    return wiring.Signature({
        "weight_en": Out(config.line_words), "weight_addr": Out(line_address_bits(config)),
        "weight_data": Out(config.line_bits),
        "param_en": Out(1), "table_en": Out(1),
        "word_addr": Out(max(word_address_bits(config), 8)), "word_data": Out(32)})
