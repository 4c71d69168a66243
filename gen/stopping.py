"""A program that is told to end cleans up first, as one that is interrupted does."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

SIGNALS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))


@contextmanager
def stoppable() -> Iterator[None]:
    """Turn the signals that end a program into SystemExit, so that work folders are removed.

    The exit code is a shell's: 128 and the signal's number. Signals that are ignored or have a
    handler stay so; outside of the main thread nothing changes.
    """
    changed = []
    if threading.current_thread() is threading.main_thread():
        changed = [number for number in SIGNALS if signal.getsignal(number) is signal.SIG_DFL]
    for number in changed:
        signal.signal(number, _stop)
    try:
        yield
    finally:
        for number in changed:
            signal.signal(number, signal.SIG_DFL)


def _stop(number, _frame):
    raise SystemExit(128 + number)
