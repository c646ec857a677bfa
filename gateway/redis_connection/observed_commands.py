"""Observation of commands to Redis, for instance by traces."""

from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from typing import Any, Final

# Returns the context of commands, given the command and the number of commands that are sent at once.
ObserveCommand = Callable[[str, int], AbstractContextManager[None]]

_PIPELINE: Final = "PIPELINE"


def observe_commands(client: Any, observe: ObserveCommand) -> None:
    """Let ``client`` (of a server, a master or a Cluster) send each command and pipeline in a context of ``observe``.

    Its arguments are not passed on: they are keys and values. Subscriptions are not observed.
    """
    execute: Callable[..., Awaitable[Any]] = client.execute_command
    make_pipeline: Callable[..., Any] = client.pipeline

    async def execute_command(command: str, *arguments: Any, **options: Any) -> Any:
        with observe(command, 1):
            return await execute(command, *arguments, **options)

    def pipeline(*arguments: Any, **options: Any) -> Any:
        made = make_pipeline(*arguments, **options)
        execute_all: Callable[..., Awaitable[Any]] = made.execute

        async def execute_observed(*arguments: Any, **options: Any) -> Any:
            with observe(_PIPELINE, len(made)):
                return await execute_all(*arguments, **options)

        made.execute = execute_observed
        return made

    # redis-py's commands look these methods up on the instance, so no subclass is needed for each kind of client.
    client.execute_command = execute_command
    client.pipeline = pipeline
