"""Standard output of the commands."""

import os
import sys

from rich.console import Console


class OutputConsole(Console):
    """A console whose reader may leave early (``check | head -1``).

    rich raises ``SystemExit`` where the reader is gone, and within ``asyncio.run`` that is a traceback. Here the rest
    of the output is dropped, and the command ends with its own exit code.
    """

    def on_broken_pipe(self) -> None:
        """Drop what is left of the output, also what the interpreter flushes at its exit."""
        self.quiet = True
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
