"""The connection to Postgres on which heartbeats are sent."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Final

import aiopg
import psycopg2

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0  # seconds between two tries to connect
# The commit of a notification waits for the commits of all others: an abandoned statement must not wait for long. It
# need not wait until it is on the disk, or on a standby. A pooler in transaction mode would keep settings of a session.
_NOTIFY: Final = (
    "SET LOCAL lock_timeout = 3000; SET LOCAL synchronous_commit TO off; SELECT pg_notify(%s, %s)"  # in milliseconds
)


class HeartbeatSender:
    """Sends heartbeats on a connection of its own, so that they come back only where the changes of others come, too.

    A pooler in transaction mode gives a notification to the connection that sends it, and to no other.

    connect: opens a connection, whose statements have a time limit.
    problem: why the newest heartbeat has not been sent. None: Postgres has accepted it.
    """

    def __init__(self, connect: Callable[[], AbstractAsyncContextManager[aiopg.Connection]], channel: str) -> None:
        self.problem: str | None = None
        self._connect = connect
        self._channel = channel
        self._payload = ""
        self._is_due = asyncio.Event()

    def send(self, payload: str) -> None:
        """Send ``payload`` when the connection is free, in place of an earlier one that waits. Does not wait."""
        self._payload = payload
        self.problem = self.problem or "Postgres does not answer"
        self._is_due.set()

    async def run(self) -> None:
        """Send until cancelled. After an error, connect again, and send the newest heartbeat again."""
        pause = _FIRST_PAUSE
        while True:
            try:
                async with self._connect() as connection, connection.cursor() as cursor:
                    while True:
                        await self._is_due.wait()
                        self._is_due.clear()
                        await cursor.execute(_NOTIFY, (self._channel, self._payload))
                        self.problem, pause = None, _FIRST_PAUSE
            except (psycopg2.Error, OSError) as error:
                self.problem = " ".join(str(error).split()) or "Postgres does not answer"
                self._is_due.set()
            await asyncio.sleep(pause)
            pause = min(_LONGEST_PAUSE, pause * 2)
