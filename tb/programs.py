"""Programs made by hand for tiny cores: one of every operation, and what may go wrong with them."""

import struct

import numpy as np

from hw.config import PROGRAM_VERSION, CoreConfig, align_up, slot_bytes
from hw.layout import HEADER_WORDS, MAGIC, REGISTERS, Opcode, Space, encode
from sim.device import Device
from tb.program_model import Machine

REGISTER = {name: offset for name, offset, *_ in REGISTERS}
BUSY, DONE = 1, 2


class Programs:
    """Memory map, descriptors and reference of a core with V = 8, C = 4, L = 2.

    Parameters
    ----------
    config : CoreConfig
    seed : int
        Of all constants and the input.

    Attributes
    ----------
    good : list of dict
        Fields of a program with every operation.
    memory : numpy.ndarray
        uint8, the activation memory before a run.
    """

    SLOTS = 8
    IN_H = IN_W = 4

    def __init__(self, config: CoreConfig, seed: int = 1):
        assert (config.V, config.C, config.L) == (8, 4, 2)
        self.config, random = config, np.random.default_rng(seed)
        line = self.data = (16 + (self.SLOTS + 1) * slot_bytes(config)) // 8
        self.places = {}
        for name, lines in {"weights": 33, "params": 3 * 8, "table": 128, "input": 16, "conv": 9,
                            "max": 9, "mean": 9}.items():
            self.places[name] = line
            line += lines
        assert line <= config.act_lines and config.weight_rows >= 48 and config.param_groups >= 3
        self.end = line
        self.memory = random.integers(0, 256, config.act_lines * 8, np.uint8)
        self._constants(random)
        self.good = self._good()

    def _constants(self, random):
        weights = np.zeros((33, 2, 4), np.uint8)
        weights[:32] = random.integers(0, 256, (32, 2, 4))
        weights[32, 0] = 64     # of the mean: lane 0 alone
        params = np.zeros((3, 4, 4), np.uint32)
        params[..., 0] = random.integers(5, 9, (3, 4))
        params[..., 1] = random.integers(0, 2000, (3, 4))
        params[..., 2] = random.integers(1 << 30, 1 << 31, (3, 4))
        params[2] = (18, 0, 1 << 30, 0)
        table = (random.integers(-128, 128, 256) << 18).astype("<i4")
        for name, data in (("weights", weights), ("params", params), ("table", table)):
            raw = np.frombuffer(data.tobytes(), np.uint8)
            self.memory[8 * self.places[name]:][:len(raw)] = raw

    def _good(self):
        place = self.places
        window = {"kernel_h": 2, "row_bytes": 32, "y_step": 32, "x_step": 8, "in_h": 4,
                  "stride_h": 1, "in_start": 8 * place["input"], "out_w": 3, "out_h": 3,
                  "out_pitch": 1, "out_row": 3, "groups": 2}
        lines = window | {"segments": 2, "segment_bytes": 8, "segment_pitch": 8}
        clamps = {"low": -128, "high": 127, "add_low": -100, "add_high": 110, "add_param": 2}
        total = clamps | {"z_other": 3, "add_zero_point": 3, "res_base": place["mean"]}
        return [
            {"op": Opcode.LOAD, "groups": 33, "res_base": place["weights"],
             "zero_point": Space.WEIGHT, "out_base": 15},
            {"op": Opcode.LOAD, "groups": 24, "res_base": place["params"],
             "zero_point": Space.PARAM},
            {"op": Opcode.LOAD, "groups": 128, "res_base": place["table"],
             "zero_point": Space.TABLE},
            lines | total | {"op": Opcode.MAX, "out_base": place["max"], "fill": -128,
                             "group_rows": 4},
            lines | clamps | {"op": Opcode.CHANNEL, "out_base": place["mean"], "hold": 1,
                              "uniform": 1, "w_base": 47, "param_base": 1, "group_rows": 4},
            window | total | {"op": Opcode.CONV, "out_base": place["conv"], "segments": 1,
                              "segment_bytes": 16, "w_base": 15, "group_rows": 16, "offset": 5,
                              "fill": 5, "zero_point": -4, "add": 1, "table_first": 1},
            total | {"op": Opcode.ADD, "out_w": 9, "out_h": 1, "out_pitch": 1, "groups": 2,
                     "a_base": place["max"], "res_base": place["conv"],
                     "out_base": place["conv"], "split": int(self.config.P == 2)},
        ]

    def image(self, descriptors, *, header=None, end: bool = True) -> np.ndarray:
        """The activation memory with a program at line 0: dicts of fields, or lists of words."""
        words = header or [MAGIC, PROGRAM_VERSION, self.config.hash, len(descriptors)]
        data = struct.pack(f"<{HEADER_WORDS}I", *words)
        for item in [*descriptors, *([{"op": Opcode.END}] if end else [])]:
            fields = encode(**item) if isinstance(item, dict) else item
            data += struct.pack("<16I", *fields).ljust(slot_bytes(self.config), b"\0")
        memory = self.memory.copy()
        memory[:len(data)] = np.frombuffer(data, np.uint8)
        return memory

    def reference(self, image: np.ndarray) -> np.ndarray:
        """The activation memory after a run of the interpreter, counters aside."""
        machine = Machine(self.config)
        machine.write(Space.ACT, 0, image.tobytes())
        machine.run(0)
        return machine.memory[Space.ACT]

    def counters(self) -> np.ndarray:
        """True for every byte in which counters may lie."""
        mask = np.zeros(len(self.memory), bool)
        for slot in range(self.SLOTS + 1):
            start = align_up(16, 8) + slot * slot_bytes(self.config) + 64
            mask[start:start + 16] = True
        return mask


class Host:
    """Runs images on a device and reads back the whole activation memory."""

    def __init__(self, device: Device, programs: Programs):
        self.device, self.programs = device, programs

    def register(self, name: str) -> int:
        return int(self.device.read(Space.REGS, REGISTER[name], 1)[0])

    def control(self, value: int):
        self.device.write(Space.REGS, REGISTER["CONTROL"], [value])

    def load(self, image: np.ndarray, line: int = 0):
        self.device.write(Space.ACT, 0, image.view("<u4"))
        self.device.write(Space.REGS, REGISTER["PROGRAM"], [line])

    def memory(self) -> np.ndarray:
        words = self.device.read(Space.ACT, 0, len(self.programs.memory) // 4)
        return words.astype("<u4").view(np.uint8)

    def start(self, polls: int) -> int:
        """Run for at most so many polls of the status (each takes some cycles); the last one."""
        self.control(1)
        status = BUSY
        for _ in range(polls):
            status = self.register("STATUS")
            if not status & BUSY:
                break
        return status

    def stop(self) -> int:
        """Stop the core; it must be idle soon."""
        self.control(2)
        for _ in range(60):
            status = self.register("STATUS")
            if not status & BUSY:
                return status
        raise AssertionError(f"the core is still busy long after a stop: {status:#x}")

    def check_good(self):
        """A good program computes what the interpreter computes."""
        image = self.programs.image(self.programs.good)
        self.load(image)
        self.device.run(20_000)
        seen = ~self.programs.counters()
        assert np.array_equal(self.memory()[seen], self.programs.reference(image)[seen])
