"""What a person did wrong, said in one sentence, and how a front says it."""

import sys
from collections.abc import Callable

EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130


class UserError(Exception):
    """Bad input from a person: a path, a file, a flag, a recording.

    The message is one sentence that names the offending thing and the remedy. A front turns it
    into exit code 2 without a traceback; library users can catch it like any exception.
    """


def run_front(main: Callable[[], int | None]) -> None:
    """Run the ``main`` of a command-line front and leave the process with its exit code.

    Args:
        main: function without arguments; returns an exit code or None for success.

    Raises:
        SystemExit: always; 0 or what ``main`` returned, 2 after a :class:`UserError`,
            130 after Ctrl-C.
    """
    try:
        code = main()
    except UserError as error:
        sys.stderr.write(f"error: {error}\n")
        code = EXIT_BAD_INPUT
    except KeyboardInterrupt:
        sys.stderr.write("\ninterrupted; the same command continues from here\n")
        code = EXIT_INTERRUPTED
    sys.exit(code or 0)
