"""What the command lines share: errors on one line, and types of arguments."""

import argparse
from typing import NoReturn


class Parser(argparse.ArgumentParser):
    """An ArgumentParser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        """Print one line and exit with code 2."""
        self.exit(2, f"error: {message}; see {self.prog} --help\n")


def positive(text: str) -> int:
    """Return the integer of a command line argument; argparse reports anything below 1."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, not {value}")
    return value


def os_error_text(error: OSError) -> str:
    """What a failed access to a file says to the user, on one line."""
    return (f"{error.filename or 'output'} must be readable or writable, not "
            f"{error.strerror or str(error)!r}; check the path")
