"""The program that workers run.

An installation may be a folder for each version, and a link to the current version. The interpreter's path, and the
path in the first line (``#!``) of a console script, lead into the folder of a version. So a process that starts them
again starts its own version. The path by which the process was started goes through the link.
"""

import os
from collections.abc import Sequence
from pathlib import Path

_BY_MODULE = ("-m", "gateway")


def started_by(script: str, interpreter: str) -> tuple[str, ...]:
    """Return the command by which this process was started, from ``sys.argv[0]`` and ``sys.executable``: links stay."""
    if Path(script).name != "__main__.py" and os.access(script, os.X_OK) and Path(script).is_file():
        return (os.path.abspath(script),)  # noqa: PTH100 - Path.resolve() would follow links
    return (interpreter, *_BY_MODULE)


def resolved(command: Sequence[str]) -> tuple[str, ...]:
    """Return the command with what its links lead to now.

    The name of an interpreter in a virtual environment stays, as it is a link out of the environment.
    """
    program, *arguments = command
    path = Path(program)
    return (str(path.parent.resolve() / path.name if arguments else path.resolve()), *arguments)


def kept(program: Sequence[str], command: Sequence[str]) -> Sequence[str]:
    """Return ``program``, or what the links in ``command`` lead to now if it was removed."""
    return program if Path(program[0]).exists() else resolved(command)
