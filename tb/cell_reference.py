"""What DP16KD and MULT18X18D do, bit by bit, after Lattice FPGA-TN-02204 and FPGA-TN-02205."""

from collections.abc import Mapping, Sequence

Bit = tuple[int, int]    # byte of the 2,048 in a block RAM, bit of its nine


def places(width: int, address: int) -> list[Bit]:
    """Where the bits of a word lie, from its lowest on; ``address`` is that of the 14 pins."""
    if width >= 9:
        count = width // 9
        first = (address >> 3) // count * count
        return [(first + n, bit) for n in range(count) for bit in range(9)]
    first = address % 8 // width * width
    return [(address >> 3, first + n) for n in range(width)]


class BlockRam:
    """One DP16KD.

    Parameters
    ----------
    parameters : dict
        Of the cell, without those that all have alike.
    """

    def __init__(self, parameters: Mapping):
        self.parameters = parameters
        self.memory: dict[Bit, int] = {}
        self.array: list[list] = [[0] * self.width(port) for port in "AB"]
        self.out = [list(word) for word in self.array]

    def width(self, port: str) -> int:
        return self.parameters[f"DATA_WIDTH_{port}"]

    def written(self, port: str, pins: Mapping) -> dict[Bit, int]:
        """Bits that a port writes at its next edge, and their values."""
        if not self.selected(port, pins) or not self.writing(port, pins) or pins[f"rst_{port}"]:
            return {}
        width, address, data = self.width(port), pins[f"ad_{port}"], pins[f"di_{port}"]
        if width == 36:
            data |= pins["di_B"] << 18
        enables = address % (1 << width // 9) if width >= 18 else 1
        return {place: data >> n & 1 for n, place in enumerate(places(width, address))
                if enables >> n // 9 & 1}

    def writing(self, port: str, pins: Mapping) -> bool:
        """Where port A has 36 bits, port B has its WE tied to 0."""
        return pins[f"we_{port}"] == 1 and (port == "A" or self.width("A") != 36)

    def selected(self, port: str, pins: Mapping) -> bool:
        return pins[f"ce_{port}"] == 1 and pins[f"cs_{port}"] == int(
            self.parameters[f"CSDECODE_{port}"][2:], 2)

    def edge(self, ports: str, pins: Mapping) -> None:
        """Clock some ports at once; they read what was stored, inverted where the other writes."""
        writes = {port: self.written(port, pins) for port in "AB"}
        for index, port in enumerate("AB"):
            if port not in ports:
                continue
            if pins[f"rst_{port}"]:
                self.reset(index)
                continue
            if pins[f"oce_{port}"]:
                self.out[index] = list(self.array[index])
            mode, own, other = (self.parameters[f"WRITEMODE_{port}"], writes[port],
                                writes["AB"[1 - index]])
            if not self.selected(port, pins) or self.writing(port, pins) and mode == "NORMAL":
                continue
            word = []
            for place in places(self.width(port), pins[f"ad_{port}"]):
                bit = self.memory.get(place)
                if place in other and bit is not None:
                    bit = 1 - bit
                word.append(own[place] if mode == "WRITETHROUGH" and place in own else bit)
            self.array[index] = word
        for port in ports:
            self.memory.update(writes[port])

    def settle(self, pins: Mapping) -> None:
        """Resets that need no clock."""
        for index, port in enumerate("AB"):
            if self.parameters["RESETMODE"] == "ASYNC" and pins[f"rst_{port}"]:
                self.reset(index)

    def reset(self, index: int) -> None:
        """Clear what a port shows."""
        self.array[index] = [0] * len(self.array[index])
        self.out[index] = list(self.array[index])

    def shown(self, port: str) -> list:
        """Bits at the pins of a port, None where they are unknown or mean nothing."""
        index = "AB".index(port)
        if self.width("A") == 36:
            word = self._word("B", 1) + [None] * 36
            if self.width("B") == 36:
                return word[18 * index:18 * index + 18]
            return word[:18] if port == "B" else [None] * 18
        return (self._word(port, index) + [None] * 18)[:18]

    def _word(self, port: str, index: int) -> list:
        return (self.out if self.parameters[f"REGMODE_{port}"] == "OUTREG" else self.array)[index]


class Multiplier:
    """One MULT18X18D.

    Parameters
    ----------
    parameters : dict
        RESETMODE and, for INPUTA, INPUTB, PIPELINE and OUTPUT, REG_<name>_CLK, _CE and _RST.
    """

    NAMES = ("INPUTA", "INPUTB", "PIPELINE", "OUTPUT")

    def __init__(self, parameters: Mapping):
        self.parameters = parameters
        self.held = dict.fromkeys(self.NAMES, 0)

    def values(self, pins: Mapping) -> dict[str, int]:
        """What enters each register now, and in "P" the product at the pins."""
        entering = {}
        for side in "AB":
            value = pins[f"SRI{side}" if pins[f"SOURCE{side}"] else side]
            entering[f"INPUT{side}"] = value - (pins[f"SIGNED{side}"] * (value >> 17) << 18)
        entering["PIPELINE"] = self._after("INPUTA", entering) * self._after("INPUTB", entering)
        entering["OUTPUT"] = self._after("PIPELINE", entering)
        return entering | {"P": self._after("OUTPUT", entering) % (1 << 36)}

    def _after(self, name: str, entering: Mapping) -> int:
        return entering[name] if self._pin(name, "CLK") is None else self.held[name]

    def _pin(self, name: str, what: str) -> int | None:
        value = self.parameters[f"REG_{name}_{what}"]
        return None if value == "NONE" else int(value[-1])

    def edge(self, clocks: Sequence[int], pins: Mapping) -> None:
        """Clock the registers of some clocks at once."""
        entering = self.values(pins)
        for name in self.NAMES:
            if self._pin(name, "CLK") in clocks:
                if pins["RST"] >> self._pin(name, "RST") & 1:
                    self.held[name] = 0
                elif pins["CE"] >> self._pin(name, "CE") & 1:
                    self.held[name] = entering[name]

    def settle(self, pins: Mapping) -> None:
        """Resets that need no clock."""
        for name in self.NAMES:
            reset = pins["RST"] >> self._pin(name, "RST") & 1
            if self.parameters["RESETMODE"] == "ASYNC" and reset:
                self.held[name] = 0
