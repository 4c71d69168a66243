"""How a command ends: with an exit code, and with one line on stderr if something is wrong."""

import sys
from collections.abc import Callable

from gen.stopping import stoppable
from models.arguments import os_error_text

FINE, FAILED, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130


def exit_code(run: Callable[[], int], *bad_input: type[Exception]) -> int:
    """Run a command and return its exit code.

    Parameters
    ----------
    run : callable
        The command; returns its exit code if it gets that far.
    bad_input : exception types
        That blame the input; other RuntimeErrors blame a tool or the simulated core.
    """
    try:
        with stoppable():
            return run()
    except bad_input as error:
        message, code = str(error), BAD_INPUT
    except OSError as error:
        message, code = os_error_text(error), BAD_INPUT
    except KeyboardInterrupt:
        message, code = "interrupted", INTERRUPTED
    except RuntimeError as error:
        message, code = str(error), FAILED
    print("error: " + " ".join(message.split()), file=sys.stderr)
    return code
