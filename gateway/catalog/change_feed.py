"""The change feed: listens for the notifications of updated and deleted image rows.

The trigger in ``config/sql/changes.sql`` notifies the channel ``image_gateway`` with the image id. Every replica sends
its heartbeats on the same channel, on another connection than the one that listens: to notify needs no rights on any
table, and on a standby neither works.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, closing, suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Final

import aiopg
import psycopg2
from psycopg2.extensions import Notify

from gateway.catalog.image_id import parse_image_id
from gateway.catalog.metrics import CatalogMetrics
from gateway.catalog.pool import open_connection
from gateway.catalog.replay_positions import ReplayPositions, read_position
from gateway.catalog.server_addresses import ServerAddresses
from gateway.changes.change_log import RowListener, Source
from gateway.changes.heartbeat import LEASE, Heartbeat
from gateway.concurrency.background import background
from gateway.concurrency.clocks import boot_time
from gateway.errors import InvalidImageId

logger = logging.getLogger(__name__)

CHANNEL: Final = "image_gateway"
# The first letter of payloads that are about the trigger: no id of an image starts with it. The SQL that installs the
# trigger sends one, and so do `check` and `explain`.
TEST_PREFIX: Final = "-"
# What the SQL sends. Without an earlier trigger, nobody was notified of the changes until then.
INSTALLED: Final = f"{TEST_PREFIX}installed"
# Of the heartbeats of all replicas. Earlier releases ignore payloads that begin so.
HEARTBEAT_PREFIX: Final = "!heartbeat "
# What ``/readyz``, the log and ``check`` say where a notification is sent, and does not arrive.
NOT_PASSED_ON: Final = "nobody passes notifications on"
_WITHIN: Final = 0.2  # seconds from an id that comes too late to the call of ``too_many``
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0  # seconds between two tries to connect
_NEVER: Final = float("-inf")
_MOST_TAKEN: Final = 500  # notifications handled together
# The commit of a notification waits for the commits of all others: an abandoned statement must not wait for long. It
# need not wait until it is on the disk, or on a standby. A pooler in transaction mode would keep settings of a session.
_NOTIFY: Final = (
    "SET LOCAL lock_timeout = 3000; SET LOCAL synchronous_commit TO off; SELECT pg_notify(%s, %s)"  # in milliseconds
)


class Notifications:
    """The notifications that a connection to Postgres receives, in place of psycopg2's list ``connection.notifies``.

    psycopg2 accepts any object with ``append`` in place of the list. aiopg moves the items of the list into its own
    queue, whose getter loses an item if it is cancelled in the pass of the event loop in which the item arrives. So
    aiopg finds nothing here (``__len__``), and its queue stays empty.

    ``waiting`` has the payloads in their order. ``arrived`` is set by each notification. The reader clears it
    before it calls ``take``.

    While ``many`` payloads wait, the last of them would be handled too late. Then ``too_many`` is called, at most 0.2
    seconds after each payload, with the number of payloads that were dropped since its last call. At most ``most``
    payloads are kept.
    """

    def __init__(self, too_many: Callable[[int], None], *, many: int = 5_000, most: int = 100_000) -> None:
        self.arrived = asyncio.Event()
        self._too_many = too_many
        self._many = many
        self._most = most
        self.waiting: dict[str, None] = {}
        self._dropped = 0
        self._timer: asyncio.TimerHandle | None = None
        self._is_logged = False

    def append(self, notification: Notify) -> None:
        """Keep the payload of a notification if it is the id of an image, about the trigger, or a heartbeat.

        psycopg2 calls this for each notification, on the event loop: it must not block and not raise.
        """
        payload = notification.payload
        if not payload.startswith((TEST_PREFIX, HEARTBEAT_PREFIX)):
            try:
                payload = parse_image_id(payload)
            except InvalidImageId:
                return
        if len(self.waiting) < self._most:
            self.waiting[payload] = None
        elif payload not in self.waiting:
            self._dropped += 1
        if len(self.waiting) >= self._many and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_WITHIN, self._report)
        self.arrived.set()

    def __len__(self) -> int:
        """Return 0: aiopg has nothing to move."""
        return 0

    def take(self, most: int) -> list[str]:
        """Remove and return up to ``most`` payloads, those that waited longest."""
        taken = list(islice(self.waiting, most))
        for payload in taken:
            del self.waiting[payload]
        if not taken:
            self._is_logged = False
        return taken

    def close(self) -> None:
        """Call ``too_many`` no more."""
        if self._timer is not None:
            self._timer.cancel()

    def _report(self) -> None:
        self._timer = None
        if not self._is_logged:
            self._is_logged = True
            message = "too many rows changed at once, every row is read again: waiting=%s dropped=%s"
            logger.warning(message, len(self.waiting), self._dropped)
        dropped, self._dropped = self._dropped, 0
        self._too_many(dropped)


class HeartbeatLost(Exception):
    """The connection to Postgres works, but none of the gateway's heartbeats arrives on it."""


class _HeartbeatSender:
    """Sends heartbeats on a connection of its own, so that they come back only where the changes of others come, too.

    A pooler in transaction mode gives a notification to the connection that sends it, and to no other.

    connect: opens a connection, whose statements have a time limit.
    problem: why the newest heartbeat has not been sent. None: Postgres has accepted it.
    """

    def __init__(self, connect: Callable[[], AbstractAsyncContextManager[aiopg.Connection]]) -> None:
        self.problem: str | None = None
        self._connect = connect
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
                        await cursor.execute(_NOTIFY, (CHANNEL, self._payload))
                        self.problem, pause = None, _FIRST_PAUSE
            except (psycopg2.Error, OSError) as error:
                self.problem = " ".join(str(error).split()) or "Postgres does not answer"
                self._is_due.set()
            await asyncio.sleep(pause)
            pause = min(_LONGEST_PAUSE, pause * 2)


@dataclass(slots=True)
class ChangeFeed:
    """Listens to Postgres for changed rows, on its own connection. Reconnects when it ends or no heartbeat returns.

    positions: gets the position of each change in Postgres's log before the change is handled. None: rows are read from
        the server that notifies, and are current.
    steady: the clock of the heartbeats, the notifications that the gateway sends itself.
    """

    addresses: ServerAddresses
    metrics: CatalogMetrics
    positions: ReplayPositions | None = None
    steady: Callable[[], float] = boot_time
    _is_lost: bool = field(default=False, init=False)

    async def listen(self, listener: RowListener, tested: Callable[[], None] = lambda: None) -> None:
        """Tell ``listener`` of changed rows until cancelled.

        tested: called for a notification about the trigger, and when listening begins: some may have been missed.

        The log has the beginning and the end of each outage, not every try to connect. The metric
        ``change_feed_connected`` has the present state.
        """

        def too_many(dropped: int) -> None:
            if self.positions is not None:
                self.positions.lost()  # those of the dropped changes are not known
            listener.too_many_rows(dropped)

        self.metrics.change_feed_connected.set(0)
        log, pause, problem = listener.log, _FIRST_PAUSE, ""
        while True:
            try:
                async with self.connection("image-gateway-changes") as connection, connection.cursor() as cursor:
                    notifications = connection.raw.notifies = Notifications(too_many)
                    await cursor.execute(f"LISTEN {CHANNEL}")
                    if self.positions is not None:
                        self.positions.all_changed(await read_position(cursor))
                    log.listens(Source.ROWS, self.steady())
                    tested()
                    with closing(notifications):
                        await self._receive(cursor, notifications, listener, tested)
            except (psycopg2.Error, OSError, HeartbeatLost) as error:
                problem = " ".join(str(error).split()) or f"no answer within {self.addresses.timeout:g} s"
                if not self._is_lost:
                    logger.warning("not listening to changes in postgres: reason=%s", problem)
            except Exception:  # otherwise no change would be noticed until a restart
                problem = "an unexpected error: the log has it"
                self.metrics.background_errors.labels(task="change-feed").inc()
                logger.exception("listening to changes in postgres failed")
            self._is_lost = True
            self.metrics.change_feed_connected.set(0)
            if self.positions is not None:
                self.positions.lost()
            was_heard = log.heartbeats[Source.ROWS].proven_at > _NEVER
            log.lost(Source.ROWS, problem)
            pause = _FIRST_PAUSE if was_heard else min(_LONGEST_PAUSE, pause * 2)
            await asyncio.sleep(pause)

    def connection(self, application_name: str) -> AbstractAsyncContextManager[aiopg.Connection]:
        return open_connection(self.addresses, application_name)

    async def _receive(
        self, cursor: aiopg.Cursor, notifications: Notifications, listener: RowListener, tested: Callable[[], None]
    ) -> None:
        """Handle notifications until the connection is lost, which raises."""
        heartbeat, arrived = listener.log.heartbeats[Source.ROWS], notifications.arrived
        # Nothing is ever put there: it ends when the connection is lost.
        lost = asyncio.create_task(cursor.connection.notifies.get(), name="change-feed-connection")
        lost.add_done_callback(lambda _: arrived.set())
        sender = _HeartbeatSender(partial(self.connection, "image-gateway-heartbeats"))
        try:
            async with background("change-feed-heartbeats", sender.run()):
                while not lost.done():
                    if heartbeat.wait(self.steady()) == 0:
                        sender.send(HEARTBEAT_PREFIX + heartbeat.send(self.steady()))
                    with suppress(TimeoutError):
                        async with asyncio.timeout(heartbeat.wait(self.steady())):
                            await arrived.wait()
                    arrived.clear()
                    # One statement may change many rows: pass their ids on together.
                    while payloads := notifications.take(_MOST_TAKEN):
                        await self._handle(cursor, payloads, listener, tested)
                    if heartbeat.proven_at > _NEVER:
                        self._heard(heartbeat)
                    if heartbeat.is_lost(self.steady()):
                        raise HeartbeatLost(_why_lost(sender))
            await lost
        finally:
            lost.cancel()
            await asyncio.gather(lost, return_exceptions=True)

    def _heard(self, heartbeat: Heartbeat) -> None:
        """Note that notifications arrive."""
        if self.positions is not None:
            self.positions.heard_until = heartbeat.lease_until
        self.metrics.change_feed_connected.set(1)
        if self._is_lost:
            logger.info("listening to changes in postgres again")
            self._is_lost = False

    async def _handle(
        self, cursor: aiopg.Cursor, payloads: Sequence[str], listener: RowListener, tested: Callable[[], None]
    ) -> None:
        image_ids = [payload for payload in payloads if not payload.startswith((TEST_PREFIX, HEARTBEAT_PREFIX))]
        is_gap = INSTALLED in payloads
        if (image_ids or is_gap) and (positions := self.positions) is not None:
            losses = positions.losses
            try:
                position = await read_position(cursor)
            except (psycopg2.Error, OSError):  # the connection ends, and no other has the notifications again
                positions.lost()
            else:
                # The position is also behind changes that were dropped, unless more were dropped meanwhile.
                if (is_gap or positions.is_lost()) and losses == positions.losses:
                    positions.all_changed(position)
                positions.changed(image_ids, position)
        if is_gap:
            listener.gap_ended()
        if image_ids:
            await listener.rows_changed(image_ids)
        for payload in payloads:
            if payload.startswith(HEARTBEAT_PREFIX):
                listener.log.heartbeat(Source.ROWS, payload.removeprefix(HEARTBEAT_PREFIX))
            elif payload.startswith(TEST_PREFIX):
                tested()


def _why_lost(sender: _HeartbeatSender) -> str:
    if sender.problem is not None:
        return f"no heartbeat was sent within {LEASE:g} s: {sender.problem}"
    return f"{NOT_PASSED_ON}: no heartbeat came back within {LEASE:g} s"
