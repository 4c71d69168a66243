"""What a host says to load a program, and its recording, from which a board boots."""

from boards.host.packets import Request, split
from gen.image import Program
from hw.link.protocol import Command
from sim.loaded import writes


def conversation(program: Program) -> list[Request]:
    """All requests that load a program, from IDENTIFY to COMMIT.

    A board's flash holds them as frames (`recorded`): booting is listening to a former host.
    """
    return [Request(Command.IDENTIFY), Request(Command.BEGIN),
            *(request for space, offset, words in writes(program)
              for request in split(Command.WRITE, space, offset, words)),
            Request(Command.COMMIT)]


def recorded(program: Program) -> bytes:
    """The frames of `conversation`, for a board's flash."""
    return b"".join(request.frame(number) for number, request in enumerate(conversation(program)))
