"""What a complete core does with bad programs: it stops with the right code and stays inside."""

import random
from contextlib import suppress
from fractions import Fraction

import numpy as np
import pytest

from gen.store import Store
from hw.config import PROGRAM_VERSION, CoreConfig
from hw.layout import DESCRIPTOR, MAGIC, PAGE_PACKED, Error, Opcode, Space, field_widths
from sim.device import Device, DeviceError
from tb.programs import BUSY, DONE, REGISTER, Host, Programs
from tb.small_core import build

SHAPES = {
    "one": CoreConfig(P=1, L=2, C=4, V=8, Q="1/2", F=1, act_lines=320, weight_rows=48,
                      patch_lines=16, patch_buffers=2, param_groups=3),
    "two": CoreConfig(P=2, L=2, C=4, V=8, Q=4, F=2, act_lines=320, weight_rows=48,
                      patch_lines=16, patch_buffers=4, param_groups=3),
    "skip": CoreConfig(P=2, L=2, C=4, V=8, Q=4, F=2, act_lines=320, weight_rows=48, skip="both",
                       patch_lines=16, patch_buffers=4, param_groups=3),
}
MAX, CHANNEL, CONV, ADD = 3, 4, 5, 6  # places in the good program


@pytest.fixture(scope="module", params=SHAPES)
def binary(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    return SHAPES[request.param], build(SHAPES[request.param], folder)


@pytest.fixture
def host(binary):
    config, path = binary
    with Device(path) as device:
        yield Host(device, Programs(config))


def error_of(host: Host, image: np.ndarray, line: int = 0, limit: int = 20_000) -> tuple[int, int]:
    """Error code and descriptor index of a run that must end."""
    host.load(image, line)
    with suppress(DeviceError):
        host.device.run(limit)
    status = host.register("STATUS")
    assert status & (BUSY | DONE) == DONE, f"status {status:#x}"
    return status >> 8 & 0xFF, status >> 16


def check_refused(host: Host, error: Error, number: int, change: dict, free=(), late: int = 0):
    """A changed descriptor of the good program ends with an error; elsewhere it writes nothing.

    ``free``: lines that may change; ``late``: 1 where the next descriptor may have begun.
    """
    programs = host.programs
    host.check_good()
    before = programs.reference(programs.image(programs.good[:number]))
    image = programs.image([*programs.good[:number], programs.good[number] | change])
    found, index = error_of(host, image)
    assert found == error and number <= index <= number + late, (change, found, index)
    seen = ~programs.counters()
    seen[:8 * programs.data] = False
    for line in free:
        seen[8 * line:8 * line + 8] = False
    assert np.array_equal(host.memory()[seen], before[seen]), change


def test_core_runs_every_operation(host):
    host.check_good()
    assert host.register("CYCLES") > 500


@pytest.mark.parametrize("word, value, error", [
    (0, MAGIC ^ 1, Error.MAGIC), (0, 0, Error.MAGIC), (1, PROGRAM_VERSION + 1, Error.VERSION),
    (2, 0x12345678, Error.CONFIG)])
def test_core_refuses_the_program_of_another(host, word, value, error):
    programs = host.programs
    header = [MAGIC, PROGRAM_VERSION, programs.config.hash, len(programs.good)]
    header[word] = value
    image = programs.image(programs.good, header=header)
    assert error_of(host, image) == (error, 0)
    assert np.array_equal(host.memory(), image)
    host.check_good()


def test_core_finds_no_program_in_an_empty_memory(host):
    image = np.zeros_like(host.programs.memory)
    assert error_of(host, image) == (Error.MAGIC, 0)
    host.check_good()


@pytest.mark.parametrize("op", range(Opcode.WAIT + 1, 16))
def test_core_refuses_unknown_opcodes(host, op):
    check_refused(host, Error.OPCODE, ADD, {"op": op})


ZERO = {CONV: ("out_w", "out_h", "groups", "kernel_h", "segments", "segment_bytes"),
        MAX: ("out_w", "out_h", "groups", "kernel_h", "segments", "segment_bytes"),
        CHANNEL: ("out_w", "out_h", "groups", "kernel_h", "segments", "segment_bytes"),
        ADD: ("out_w", "out_h", "groups"), 0: ("groups",)}


@pytest.mark.parametrize("number, name", [(n, name) for n, names in ZERO.items() for name in names])
def test_core_refuses_counts_of_zero(host, number, name):
    check_refused(host, Error.DESCRIPTOR, number, {name: 0})


@pytest.mark.parametrize("number", [CONV, MAX, CHANNEL, ADD])
def test_core_refuses_fields_wider_than_its_own(host, number):
    widths = field_widths(host.programs.config)
    absent = "in_start" if number == ADD else "a_base"       # they may share their bits
    narrow = [name for name, width in widths.items()
              if width < DESCRIPTOR[name].width and name != absent]
    assert len(narrow) > 8
    for name in narrow:
        width = widths[name] - DESCRIPTOR[name].signed
        check_refused(host, Error.DESCRIPTOR, number, {name: 1 << width})
        if DESCRIPTOR[name].signed:
            check_refused(host, Error.DESCRIPTOR, number, {name: -(1 << width) - 1})


@pytest.mark.parametrize("number, change", [
    (CONV, {"w_base": 48}), (CONV, {"param_base": 2}), (CONV, {"add_param": 3}),
    (MAX, {"add_param": 3}), (CHANNEL, {"param_base": 3}), (ADD, {"add_param": 3}),
    (CONV, {"group_rows": 49}), (CONV, {"group_rows": 127}),
    (0, {"out_base": 48}), (1, {"out_base": 3}), (2, {"out_base": 1}), (0, {"zero_point": 0}),
    (0, {"zero_point": 1}), (0, {"zero_point": 5}), (0, {"zero_point": -128}),
    (0, {"zero_point": Space.MASK, "out_base": 16})])
def test_core_refuses_bases_beyond_its_small_memories(host, number, change):
    check_refused(host, Error.DESCRIPTOR, number, change)


@pytest.mark.parametrize("number, change", [
    (CONV, {"spare": 1, "add": 1}), (ADD, {"spare": 1}),
    *((number, {"spare": -1}) for number in (CONV, MAX, CHANNEL))])
def test_core_refuses_beats_left_out_of_sums_and_all_but_one(host, number, change):
    most = (1 << field_widths(host.programs.config)["spare"]) - 1
    check_refused(host, Error.DESCRIPTOR, number, change | {"spare": change["spare"] & most or 1})


@pytest.mark.parametrize("number, change", [
    (CONV, {"twin": 1, "add": 1}), *((number, {"twin": 1}) for number in (MAX, CHANNEL, ADD))])
def test_core_refuses_twins_of_sums_and_without_lanes(host, number, change):
    check_refused(host, Error.DESCRIPTOR, number, change)


def test_core_refuses_patches_larger_than_a_buffer(host):
    place = host.programs.places
    change = {"segment_bytes": 72, "out_w": 2, "out_h": 1, "hold": 1}
    check_refused(host, Error.DESCRIPTOR, CONV, change, range(place["conv"], place["conv"] + 9))


def beyond(programs: Programs) -> int:
    return programs.config.act_lines


@pytest.mark.parametrize("number", [CONV, MAX, CHANNEL, ADD])
@pytest.mark.parametrize("room", [0, 1, 3, 8])
def test_core_stops_where_outputs_leave_the_memory(host, number, room):
    first = beyond(host.programs) - room
    check_refused(host, Error.ADDRESS, number, {"out_base": first}, range(first, first + room),
                  late=room == 8)     # of nine lines


@pytest.mark.parametrize("number", [CONV, MAX, CHANNEL, ADD])
def test_core_stops_where_outputs_begin_behind_the_memory(host, number):
    highest = (1 << field_widths(host.programs.config)["out_base"]) - 1
    for first in (highest, highest - 1, beyond(host.programs) + 1):
        check_refused(host, Error.ADDRESS, number, {"out_base": first})


@pytest.mark.parametrize("number, name", [
    (number, name) for number in (CONV, MAX, CHANNEL, ADD) for name in ("out_pitch", "out_row")
    if (number, name) != (ADD, "out_row")])     # the good program's ADD has one row
def test_core_stops_where_steps_between_outputs_leave_the_memory(host, number, name):
    """However large the step, it does not come back into the memory behind its end."""
    lines, place = beyond(host.programs), host.programs.places["conv"]
    top = (1 << field_widths(host.programs.config)[name]) - 1
    for step in (lines - place, lines, top - place, top - 1, top):
        check_refused(host, Error.ADDRESS, number, {"out_base": place, name: step},
                      range(place, place + 9))


@pytest.mark.parametrize("number, name", [(CONV, "res_base"), (ADD, "res_base"), (ADD, "a_base")])
@pytest.mark.parametrize("room", [0, 1, 5])
def test_core_stops_where_residuals_leave_the_memory(host, number, name, room):
    place = host.programs.places["conv"]
    check_refused(host, Error.ADDRESS, number, {name: beyond(host.programs) - room},
                  range(place, place + 9))


@pytest.mark.parametrize("number", [CONV, MAX, CHANNEL])
@pytest.mark.parametrize("room", [0, 8, 64])
def test_core_stops_where_inputs_leave_the_memory(host, number, room):
    place = host.programs.places[{CONV: "conv", MAX: "max", CHANNEL: "mean"}[number]]
    check_refused(host, Error.ADDRESS, number,
                  {"in_start": 8 * beyond(host.programs) - room}, range(place, place + 9))
    check_refused(host, Error.ADDRESS, number, {"in_start": room - 72}, range(place, place + 9))


@pytest.mark.parametrize("change", [{"w_base": 47}, {"w_base": 32}, {"group_rows": 33},
                                    {"group_rows": 48}, {"w_base": 17}])
def test_core_stops_where_weight_rows_leave_the_banks(host, change):
    place = host.programs.places["conv"]
    check_refused(host, Error.ADDRESS, CONV, change, range(place, place + 9))


@pytest.mark.parametrize("number, change", [
    (0, {"out_base": 16}), (0, {"out_base": 47}), (1, {"out_base": 1}), (1, {"groups": 25}),
    (2, {"groups": 129})])
def test_core_stops_where_loads_leave_their_destination(host, number, change):
    check_refused(host, Error.ADDRESS, number, change)


def test_row_masks_are_kept_in_their_memory_and_lead_to_the_banks(host):
    """A word beyond the masks, a LOAD of one, a row beyond the banks: each is an ADDRESS."""
    config, place = host.programs.config, host.programs.places["conv"]
    lines, packed = range(place, place + 9), {"packed": 1, "group_rows": 1, "w_base": 0}
    if not config.row_masks:
        check_refused(host, Error.DESCRIPTOR, CONV, packed)
        check_refused(host, Error.DESCRIPTOR, 0, {"zero_point": Space.MASK, "out_base": 0})
        return
    for base in (0, config.weight_rows - 15, config.weight_rows, 1 << 15, (1 << 16) - 1):
        host.device.write(Space.MASK, 0, [0xFFFF] * 3 + [0xFFFF | base << 16])
        if base:
            check_refused(host, Error.ADDRESS, CONV, packed, lines)
        else:
            image = host.programs.image([*host.programs.good[:CONV],
                                         host.programs.good[CONV] | packed])
            assert error_of(host, image)[0] == Error.NONE
    host.device.write(Space.MASK, 0, [0] * (config.row_mask_words * config.L))
    check_refused(host, Error.ADDRESS, CONV, packed | {"w_base": config.row_mask_words - 1}, lines)
    check_refused(host, Error.ADDRESS, 0, {"zero_point": Space.MASK,
                                           "out_base": config.row_mask_words - 1})


@pytest.mark.parametrize("number", [0, 1, 2])
@pytest.mark.parametrize("room", [0, 1, 20])
def test_core_stops_where_loads_leave_the_memory(host, number, room):
    check_refused(host, Error.ADDRESS, number, {"res_base": beyond(host.programs) - room})


def test_core_stops_where_a_program_leaves_the_memory(host):
    programs = host.programs
    for line, error in ((319, Error.ADDRESS), (318, Error.ADDRESS), (311, Error.ADDRESS),
                        (310, Error.NONE)):
        image = programs.memory.copy()
        program = programs.image([])[:8 * (programs.config.act_lines - line)]
        image[8 * line:8 * line + len(program)] = program
        assert error_of(host, image, line) == (error, 0)
        assert np.array_equal(host.memory(), image)
    host.check_good()


def test_core_stops_behind_a_program_without_end(host):
    programs = host.programs
    image = programs.image(programs.good[:3], end=False)
    image[8 * 32:8 * 33] = 0xFF
    assert error_of(host, image) == (Error.OPCODE, 3)
    host.check_good()


def test_stop_at_any_time_leaves_a_core_that_works(host):
    programs = host.programs
    image = programs.image(programs.good)
    for polls in [*range(0, 60, 3), *range(60, 900, 37)]:
        host.load(image)
        if host.start(polls) & BUSY:
            assert host.stop() == DONE | host.register("STATUS") & ~0xFFFF, f"after {polls} polls"
        host.check_good()


def test_only_activations_are_open_while_the_core_is_busy(host):
    programs = host.programs
    host.load(programs.image(programs.good))
    host.control(1)
    for space in (Space.WEIGHT, Space.PARAM, Space.TABLE):
        with pytest.raises(DeviceError, match="refuse 1 to write"):
            host.device.write(space, 0, [0])
    with pytest.raises(DeviceError, match="refuse 1 to read"):
        host.device.read(Space.WEIGHT, 0, 1)
    assert host.device.read(Space.ACT, 0, 1)[0] == MAGIC
    last = len(programs.memory) // 4 - 1
    with pytest.raises(DeviceError, match="refuse 1 to write"):
        host.device.write(Space.ACT, last, [5, 6])
    assert host.register("STATUS") & BUSY
    assert host.stop() & 0xFF == DONE
    host.check_good()


def pages(*items: tuple[int, int, int, int]) -> bytes:
    """A stream of pages of zeros: (after, words, space, offset)."""
    words = []
    for after, count, space, offset in items:
        words += [after, count, space << 29 | offset, *[0] * count]
    return np.array([*words, 0, 0, 0], "<u4").tobytes()


@pytest.mark.parametrize("item", [
    (0, 2, Space.ACT, 0), (0, 2, Space.REGS, 3), (0, 2, 7, 0), (0, 1, Space.TABLE, 256),
    (0, 2, Space.TABLE, 255), (0, 2, Space.WEIGHT, 1 << 28), (0, 99, Space.WEIGHT, 0)])
def test_core_stops_where_pages_leave_their_memory(host, item):
    programs = host.programs
    image = programs.image([{"op": Opcode.WAIT, "groups": 1}, *programs.good])
    host.device.pages(Store(rate=Fraction(4)), pages(item))
    assert error_of(host, image) == (Error.ADDRESS, 0)
    assert np.array_equal(host.memory()[8 * programs.data:], image[8 * programs.data:])
    host.device.pages(Store(), b"")
    host.check_good()


def test_wait_for_a_page_that_waits_for_a_later_descriptor_times_out(host):
    image = host.programs.image([{"op": Opcode.WAIT, "groups": 1}])
    for stream in (pages((1, 2, Space.TABLE, 0)), pages()):     # so does one that never comes
        host.device.pages(Store(rate=Fraction(4)), stream)
        assert error_of(host, image, limit=200_000) == (Error.TIMEOUT, 0)
    host.check_good()


@pytest.mark.parametrize("patience", [0, 1, 3])
def test_wait_for_a_silent_store_lasts_as_long_as_it_is_told(host, patience):
    image = host.programs.image([{"op": Opcode.WAIT, "groups": 1}])
    host.device.pages(Store(latency=1 << 20), pages((0, 2, Space.TABLE, 0)))
    host.device.write(Space.REGS, REGISTER["PATIENCE"], [patience])
    if patience:
        assert error_of(host, image, limit=400_000) == (Error.STORE, 0)
        assert 65_536 * patience <= host.register("CYCLES") <= 65_536 * (patience + 1) + 100
    else:
        host.load(image)
        host.device.run(2_000_000)
        assert 1 << 20 < host.register("CYCLES") < (1 << 20) + 200
    host.check_good()


@pytest.mark.parametrize("there", [[], [0b101], [0b101, 7]])
def test_packed_page_that_breaks_off_is_silence(host, there):
    image = host.programs.image([{"op": Opcode.WAIT, "groups": 1}])
    head = [0, 3 | 1 << PAGE_PACKED, Space.TABLE << 29]
    host.device.pages(Store(rate=Fraction(4)), np.array([*head, *there], "<u4").tobytes())
    host.device.write(Space.REGS, REGISTER["PATIENCE"], [1])
    assert error_of(host, image, limit=200_000) == (Error.STORE, 0)
    host.check_good()


GARBAGE = 150         # runs on each core
MOST_CYCLES = 12_000   # of a run of garbage that may have more to do


def test_core_survives_garbage(host):
    """Whatever the descriptors are, the core ends or can be stopped, and works afterwards."""
    outcomes = {code: 0 for code in (*Error, "busy")}
    for seed in range(GARBAGE):
        rng = random.Random(seed)
        programs = host.programs
        descriptors = [garbage(rng, programs) for _ in range(rng.randint(1, 3))]
        host.load(programs.image(descriptors))
        bound = 1500 + 4 * sum(map(work, descriptors))
        with suppress(DeviceError):
            host.device.run(min(bound, MOST_CYCLES))
        status = host.register("STATUS")
        if status & BUSY:
            assert bound > MOST_CYCLES, f"seed {seed}: {descriptors}"
            host.stop()
        outcomes["busy" if status & BUSY else Error(status >> 8 & 0xFF)] += 1
        try:
            host.check_good()
        except (AssertionError, DeviceError) as error:
            raise AssertionError(f"seed {seed}: {descriptors}\n{error}") from error
    assert outcomes[Error.TIMEOUT] == 0 and outcomes["busy"] < GARBAGE // 2, outcomes
    for code in (Error.NONE, Error.ADDRESS, Error.DESCRIPTOR, Error.OPCODE):
        assert outcomes[code] > GARBAGE // 50, outcomes


def garbage(rng: random.Random, programs: Programs):
    """Random words, or a descriptor of the good program with some random fields."""
    kind = rng.random()
    if kind < 0.1:
        return [rng.getrandbits(32) for _ in range(16)]
    fields = dict(rng.choice(programs.good))
    widths = field_widths(programs.config)
    for name in rng.sample(sorted(DESCRIPTOR), rng.choice([1, 1, 2, 3, 6])):
        most = widths[name] if rng.random() < 0.9 else DESCRIPTOR[name].width
        width = rng.randint(1, max(1, most))
        value = rng.choice([0, 1, (1 << width) - 1, rng.getrandbits(width), rng.getrandbits(3)])
        if DESCRIPTOR[name].signed:
            value = rng.choice([value, -value]) >> 1
        fields[name] = min(value, (1 << DESCRIPTOR[name].width) - 1)
    return fields


def work(item) -> int:
    """Cycles that a descriptor may take, roughly; too many for random words."""
    if not isinstance(item, dict):
        return 1 << 16
    if item["op"] == Opcode.WAIT:      # of pages that never come
        return 1 << 16
    if item["op"] == Opcode.LOAD:
        return 12 * item["groups"]
    passes = item.get("out_w", 1) * item.get("out_h", 1) * item.get("groups", 1)
    patch = item.get("kernel_h", 1) * item.get("segments", 1) * (item.get("segment_bytes", 1) + 8)
    return passes * max(patch, 12)
