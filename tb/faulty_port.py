"""A line that damages, loses and doubles frames both ways."""

import random

from boards.host.ports import Port


class FaultyPort:
    """A port whose frames suffer.

    Parameters
    ----------
    port : Port
    rng : random.Random
    rate : float
        Share of the frames that get a byte flipped; as many are lost, and as many doubled.
    """

    def __init__(self, port: Port, rng: random.Random, rate: float):
        self._port, self._rng, self.rate = port, rng, rate
        self.baud, self.latency = port.baud, port.latency
        self.pauses = getattr(port, "pause", lambda cycles: None)
        self.sent, self.faults, self.resets, self.reset_after = 0, 0, 0, -1
        self._coming = b""

    def send(self, data: bytes) -> None:
        for frame in _frames(data):
            if len(frame) > 1:
                self.sent += 1
            if self._rng.random() < 0.2:
                self.pauses(self._rng.randint(1, 600))
            for part in self._suffer(frame):
                if self.reset_after == 0:
                    cut = self._rng.randrange(len(part) + 1)
                    self._port.send(part[:cut])
                    self._port.receive(self._rng.randint(1, 40 * len(part)))
                    self._port.reset()
                    self.resets += 1
                    part = part[cut:]
                self.reset_after -= 1
                self._port.send(part)

    def receive(self, seconds: float) -> bytes:
        data = self._port.receive(seconds)
        *frames, self._coming = (self._coming + data).split(b"\0")
        out = b"".join(part for frame in frames for part in self._suffer(frame + b"\0"))
        return out or (b"\0" if data else b"")      # something came, even if nothing is left of it

    def seconds(self) -> float:
        return self._port.seconds()

    def close(self) -> None:
        self._port.close()

    def _suffer(self, frame: bytes) -> list[bytes]:
        kind = self._rng.random() / self.rate if self.rate else 9
        if kind >= 3:
            return [frame]
        self.faults += 1
        if kind < 1:
            position, flip = self._rng.randrange(len(frame)), self._rng.randint(1, 255)
            return [frame[:position] + bytes([frame[position] ^ flip]) + frame[position + 1:]]
        return [] if kind < 2 else [frame, frame]


def _frames(data: bytes) -> list[bytes]:
    """Parts that end with a zero each."""
    return [part + b"\0" for part in data.split(b"\0")[:-1]]
