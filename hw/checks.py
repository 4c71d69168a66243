"""What the sequencer refuses before it starts a descriptor."""

from amaranth import Mux, Value

from hw.config import CoreConfig, bits_for
from hw.layout import Error, Opcode, Space
from hw.ports import line_address_bits


def _beyond(value: Value, bits: int) -> Value:
    """The value needs more than ``bits`` bits."""
    return value[bits:].any() if len(value) > bits else 0


def _any(*conditions) -> Value:
    """OR of the conditions."""
    result = Value.cast(0)
    for condition in conditions:
        result = result | condition
    return result.bool()


def first_error(config: CoreConfig, d) -> Value:
    """Error code of a descriptor: NONE, OPCODE or DESCRIPTOR.

    Zero counts, and addresses that do not fit the memories at all, are refused; what an address
    becomes on the way is checked with every access (Error.ADDRESS).
    """
    lines = line_address_bits(config)
    start_bits = min(24, lines + bits_for(config.V))
    start_high = d.in_start.as_unsigned()[start_bits - 1:]
    is_load = d.op == Opcode.LOAD
    load_wrong = is_load & _any(
        d.groups == 0, _beyond(d.res_base, lines),
        Mux(d.zero_point == Space.WEIGHT, d.out_base >= config.weight_rows,
            Mux(d.zero_point == Space.PARAM, d.out_base >= config.param_groups,
                (d.zero_point != Space.TABLE) | (d.out_base != 0))))
    used_groups = Mux(d.uniform, 1, d.groups)
    array_wrong = _any(
        d.kernel_h == 0, d.segments == 0, d.segment_bytes == 0, d.w_base >= config.weight_rows,
        _beyond(d.group_rows, config.weight_addr_bits + 1),
        ~(start_high.all() | ~start_high.any()))
    work_wrong = _any(
        d.out_w == 0, d.out_h == 0, d.groups == 0, _beyond(d.out_base, lines),
        _beyond(d.res_base, lines), _beyond(d.a_base, lines), _beyond(d.out_pitch, lines),
        _beyond(d.out_row, lines), d.param_base + used_groups > config.param_groups,
        d.add_param >= config.param_groups,
        ~d.split & (d.out_w < config.P) & (d.out_h != 1))
    wrong = Mux(is_load, load_wrong,
                (work_wrong | ((d.op != Opcode.ADD) & array_wrong)) & (d.op != Opcode.END))
    return Mux(d.op > Opcode.ADD, Error.OPCODE, Mux(wrong, Error.DESCRIPTOR, Error.NONE))
