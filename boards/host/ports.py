"""Where bytes go: serial ports, or anything else with the same methods."""

import contextlib
import time
from typing import Protocol

import serial

from boards.host.errors import PortError

LATENCY = 0.02    # seconds that a USB adapter may keep bytes


class Port(Protocol):
    """A line to a device.

    Attributes
    ----------
    baud : float
        Bits a second.
    latency : float
        Seconds that a byte may take besides.
    """

    baud: float
    latency: float

    def send(self, data: bytes) -> None:
        """Send bytes."""
        ...

    def receive(self, seconds: float) -> bytes:
        """Bytes that came, at least one; none after so many seconds without any."""
        ...

    def seconds(self) -> float:
        """Time that has passed at the other end, from any moment on."""
        ...

    def close(self) -> None:
        """Give the line back."""
        ...


class SerialPort:
    """A serial port of this machine.

    Parameters
    ----------
    name : str
        "/dev/ttyUSB1", "COM3".
    baud : int

    Raises
    ------
    PortError
        It cannot be opened.
    """

    def __init__(self, name: str, baud: int):
        self.baud, self.latency, self._name = float(baud), LATENCY, name
        try:
            self._port = serial.Serial(name, baud, timeout=0, exclusive=True)
            self._port.reset_input_buffer()
        except (OSError, ValueError) as error:
            raise PortError(f"port must be a serial port that can be opened at {baud} baud, not "
                            f"{name!r} ({_text(error)}); see which ports there are with "
                            f"python -m serial.tools.list_ports") from None

    def send(self, data: bytes) -> None:
        """Send bytes.

        Raises
        ------
        PortError
            The port has vanished.
        """
        try:
            self._port.write(data)
        except OSError as error:
            raise self._gone(error) from None

    def receive(self, seconds: float) -> bytes:
        """Bytes that came, at least one; none after so many seconds without any.

        Raises
        ------
        PortError
            The port has vanished.
        """
        try:
            self._port.timeout = seconds
            first = self._port.read(1)
            return first + self._port.read(self._port.in_waiting) if first else first
        except OSError as error:
            raise self._gone(error) from None

    def seconds(self) -> float:
        """Time that has passed."""
        return time.monotonic()

    def close(self) -> None:
        """Give the port back."""
        with contextlib.suppress(OSError):
            self._port.close()

    def _gone(self, error) -> PortError:
        return PortError(f"port {self._name!r} must stay there, not end with {_text(error)!r}; "
                         f"plug the board in again and reconnect")


def _text(error: Exception) -> str:
    return " ".join(str(error).split())
