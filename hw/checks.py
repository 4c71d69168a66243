"""What the sequencer refuses before it starts a descriptor."""

from amaranth import Mux, Value

from hw.config import CoreConfig
from hw.layout import STRIP_ROWS, Error, Opcode, Space, group_bits


def first_error(config: CoreConfig, d, oversize: Value) -> Value:
    """Error code of a descriptor: NONE, OPCODE or DESCRIPTOR.

    Zero counts, fields larger than the core implements (``oversize``) and bases beyond the small
    memories are refused; what an address becomes on the way is checked with every access
    (Error.ADDRESS).
    """
    is_load, is_wait = d.op == Opcode.LOAD, d.op == Opcode.WAIT
    load_wrong = Mux(d.zero_point == Space.WEIGHT, d.out_base >= config.weight_rows,
                     Mux(d.zero_point == Space.PARAM, d.out_base >= config.param_groups,
                         (d.zero_point != Space.TABLE) | (d.out_base != 0)))
    array_wrong = ((d.kernel_h == 0) | (d.segments == 0) | (d.segment_bytes == 0)
                   | (d.w_base >= config.weight_rows) | (d.group_rows > config.weight_rows))
    work_wrong = (d.groups[group_bits(config):].any() | (d.out_w == 0) | (d.out_h == 0)
                  | (d.add_param >= config.param_groups)
                  | (d.param_base + Mux(d.uniform, 1, d.groups) > config.param_groups)
                  | Mux(d.op == Opcode.ADD, d.in_start.as_unsigned()[len(d.a_base):].any(),
                        array_wrong))
    if config.strips:
        work_wrong |= d.strip.any() & ((d.op != Opcode.CHANNEL) | (d.kernel_h > STRIP_ROWS)
                                       | d.hold | d.chunked)
    if config.P > 1:
        work_wrong |= ~d.split & (d.out_w < config.P) & (d.out_h != 1)
    wrong = (d.groups == 0) | oversize | Mux(is_load, load_wrong, ~is_wait & work_wrong)
    known = Opcode.WAIT if config.pages else Opcode.ADD
    return Mux(d.op > known, Error.OPCODE,
               Mux(wrong & (d.op != Opcode.END), Error.DESCRIPTOR, Error.NONE))
