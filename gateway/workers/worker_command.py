"""The command by which workers are started.

An installation may be a folder for each version, and a link to the current version. The interpreter's path, and the
path in the first line (``#!``) of a console script, lead into the folder of a version. So a process that starts them
again starts its own version. The path by which the process was started goes through the link.
"""

import logging
import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from gateway.workers.worker import Accepted, Worker

logger = logging.getLogger(__name__)

_BY_MODULE = ("-m", "gateway")


@dataclass(frozen=True, slots=True)
class WorkerCommand:
    """Starts workers.

    command: how the supervisor was started. Its path may contain a symbolic link.
    arguments: the arguments of a worker, without the argument that marks the process as a worker.
    settings: the settings that the supervisor has read, as text.
    """

    command: Sequence[str]
    arguments: Sequence[str]
    environment: Mapping[str, str] = field(repr=False)
    settings: str = field(repr=False)

    def first(self) -> Accepted:
        """Return what the first workers get."""
        return Accepted(resolved(self.command), self.settings)

    async def start(self, number: int, accepted: Accepted | None, public: Sequence[socket.socket]) -> Worker:
        """Start a worker by the command in ``accepted``, or by what the link leads to now if that is None or gone."""
        command: Sequence[str] = resolved(self.command)
        if accepted is None:
            logger.info("replacing workers by those of a program: program=%s", command[0])
        else:
            command = kept(accepted.command, self.command)
            accepted = replace(accepted, command=command)
        return await Worker.start(number, command, self.arguments, self.environment, public, accepted)


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


def kept(used: Sequence[str], command: Sequence[str]) -> Sequence[str]:
    """Return ``used``, or what the links in ``command`` lead to now if it was removed."""
    return used if Path(used[0]).exists() else resolved(command)
