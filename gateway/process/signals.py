"""What signals or its supervisor tell a process to do."""

import asyncio
import signal
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Signals:
    """Events by which signals or the supervisor order this process: ``stop`` starts the drain, ``force_stop`` ends it.

    ``reload`` reloads the configuration, of all workers in turn. ``roll`` replaces workers, and only a supervisor does.
    """

    stop: asyncio.Event = field(default_factory=asyncio.Event)
    force_stop: asyncio.Event = field(default_factory=asyncio.Event)
    reload: asyncio.Event = field(default_factory=asyncio.Event)
    roll: asyncio.Event = field(default_factory=asyncio.Event)

    def handle_stop(self) -> None:
        """Let SIGTERM and SIGINT start the drain, and a second one of them end it."""
        for signum in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(
                signum, lambda: (self.force_stop if self.stop.is_set() else self.stop).set()
            )
