"""Standard output of commands that print tables or verdicts, with rich; ``serve`` does not import it."""

import os
import sys

from rich.console import Console
from rich.text import Text

from gateway.net.printable import printable

_COLORS = {"ok": "green", "fail": "red", "warn": "yellow", "note": "yellow", "skip": "dim"}


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


def print_verdict(verdict: str, name: str, what: str, advice: str = "") -> None:
    """Print a line about ``name``, and the advice below it. ``verdict``: ok, fail, warn, note or skip."""
    console = OutputConsole(highlight=False, soft_wrap=True)
    # As Text: rich would read brackets in a reason as markup.
    console.print(Text(f"{verdict:5}", style=_COLORS[verdict]), Text(printable(f"{name}: {what}")))
    if advice:
        console.print("      ", Text(printable(advice)), style="yellow")
