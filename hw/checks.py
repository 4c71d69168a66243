"""What the sequencer refuses before it starts a descriptor."""

from amaranth import Cat, Module, Mux, Signal, Value

from hw.config import CoreConfig
from hw.layout import STRIP_ROWS, Error, Opcode, Space, group_bits


def first_error(m: Module, config: CoreConfig, d, oversize: Value) -> Value:
    """Error code of the descriptor of the cycle before: NONE, OPCODE or DESCRIPTOR.

    Zero counts, fields larger than the core implements (``oversize``) and bases beyond the small
    memories are refused; what an address becomes on the way is checked with every access
    (Error.ADDRESS).
    """
    no_load = Mux(d.zero_point == Space.WEIGHT, d.out_base >= config.weight_rows,
                  Mux(d.zero_point == Space.PARAM, d.out_base >= config.param_groups,
                      (d.zero_point != Space.TABLE) | (d.out_base != 0)))
    if config.row_masks:
        no_load = Mux(d.zero_point == Space.MASK, d.out_base >= config.row_mask_words, no_load)
    groups, too_many = d.groups[:group_bits(config)], d.groups[group_bits(config):]
    no_work = [too_many.any(), d.out_w == 0, d.out_h == 0,
               d.add_param >= config.param_groups,
               d.param_base + Mux(d.uniform, 1, groups) > config.param_groups]
    no_sum = d.in_start.as_unsigned()[len(d.a_base):].any()
    no_array = [d.kernel_h == 0, d.segments == 0, d.segment_bytes == 0,
                d.w_base >= config.weight_rows, d.group_rows > config.weight_rows]
    if config.strips:
        no_work.append(d.strip.any() & ((d.op != Opcode.CHANNEL) | (d.kernel_h > STRIP_ROWS)
                                        | d.hold | d.chunked))
    if config.skips:
        no_work.append((d.skip | d.packed) & (d.op != Opcode.CONV))
    if config.short_drains:
        no_work += [d.spare.any() & (d.op != Opcode.MAX) & (d.add | (d.op == Opcode.ADD)),
                    d.spare.all()]
    if config.twins:
        no_work.append(d.twin & ((d.op != Opcode.CONV) | d.add | d.spare.any()))
    if config.P > 1:
        no_work.append(~d.split & (d.out_w < config.P) & (d.out_h != 1))
    known = Opcode.WAIT if config.pages else Opcode.ADD
    is_array = (d.op == Opcode.CONV) | (d.op == Opcode.CHANNEL) | (d.op == Opcode.MAX)
    wrong = _registered(m, "wrong", (d.op != Opcode.END) & ((d.groups == 0) | oversize))
    return Mux(_registered(m, "unknown", d.op > known), Error.OPCODE, Mux(
        wrong | _registered(m, "no_load", (d.op == Opcode.LOAD) & no_load)
        | _registered(m, "no_sum", (d.op == Opcode.ADD) & no_sum)
        | (_registered(m, "is_array", is_array) & _registered(m, "no_array", *no_array).any())
        | (_registered(m, "is_work", is_array | (d.op == Opcode.ADD))
           & _registered(m, "no_work", *no_work).any()),
        Error.DESCRIPTOR, Error.NONE))


def _registered(m: Module, name: str, *bits) -> Signal:
    """The bits a cycle later."""
    register = Signal(len(bits), name=name)
    m.d.sync += register.eq(Cat(*bits))
    return register
