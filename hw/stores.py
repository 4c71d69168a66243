"""Writes into the memories beside the activation memory, from host, loader or pager."""

from amaranth import Module, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import Out

from hw.config import CoreConfig, log2
from hw.layout import Space
from hw.masks import mask_address_bits
from hw.params import word_address_bits
from hw.weights import line_address_bits


def store_port(config: CoreConfig) -> wiring.Signature:
    """Weight lines; words of parameters, table and row masks; seen from who writes them."""
    return wiring.Signature({
        "weight_en": Out(config.line_words), "weight_addr": Out(line_address_bits(config)),
        "weight_data": Out(config.line_bits),
        "param_en": Out(1), "table_en": Out(1), "mask_en": Out(1),
        "word_addr": Out(max(word_address_bits(config), mask_address_bits(config), 8)),
        "word_data": Out(32)})


def space_words(config: CoreConfig) -> dict[Space, int]:
    """32-bit words of the memories that a core has."""
    words = {Space.ACT: config.act_lines * config.line_words,
             Space.WEIGHT: config.weight_rows * config.row_bytes // 4,
             Space.PARAM: config.param_groups * config.C * 4, Space.TABLE: 256}
    if config.row_masks:
        words[Space.MASK] = config.row_mask_words * config.L
    return words


def space_limits(config: CoreConfig) -> dict[Space, int]:
    """`space_words` of the address spaces that are written word by word."""
    return {space: words for space, words in space_words(config).items()
            if config.host_stores or space == Space.ACT}


def inside(m: Module, config: CoreConfig, space: Value, offset: Value) -> Signal:
    """Whether a word offset lies in its space, one of ``space_limits``."""
    found = Signal()
    with m.Switch(space):
        for name, limit in space_limits(config).items():
            with m.Case(name):
                m.d.comb += found.eq(offset < limit)
    return found


def write_word(m: Module, config: CoreConfig, store, space: Value, offset: Value, word: Value,
               enable: Value):
    """Drive a store port with one word; spaces that it does not reach are not written."""
    word_bits = log2(config.line_words)
    lane = offset[:word_bits] if word_bits else 0
    m.d.comb += [
        store.weight_en.eq((enable & (space == Space.WEIGHT)) << lane),
        store.param_en.eq(enable & (space == Space.PARAM)),
        store.table_en.eq(enable & (space == Space.TABLE)),
        store.mask_en.eq(enable & (space == Space.MASK)),
        store.weight_addr.eq(offset[word_bits:]), store.word_addr.eq(offset),
        store.weight_data.eq(word.replicate(config.line_words)), store.word_data.eq(word),
    ]
