"""Standard output of commands that print tables, with rich; ``serve`` does not import it."""

import os
import sys

from rich.console import Console


class OutputConsole(Console):
    """Standard output that its reader may close early (``check | head -1``).

    rich raises ``SystemExit`` on a broken pipe, which prints a traceback inside ``asyncio.run``. This console drops
    the rest of the output instead, and the command ends with its own exit code.
    """

    def on_broken_pipe(self) -> None:
        """Drop the remaining output, including the interpreter's flush at exit."""
        self.quiet = True
        devnull = os.open(os.devnull, os.O_WRONLY)
        os.dup2(devnull, sys.stdout.fileno())
        os.close(devnull)
