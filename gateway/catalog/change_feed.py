"""The change feed: listens for the notifications of updated and deleted image rows.

The trigger in ``config/sql/changes.sql`` notifies the channel ``image_gateway`` with the image id.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing

import aiopg
import psycopg2

from gateway.catalog.changed_ids import ChangedIds
from gateway.catalog.changed_positions import ChangedPositions, read_position
from gateway.catalog.pool import open_connection
from gateway.catalog.server_addresses import Resolve, ServerAddresses, system_addresses
from gateway.metrics.collectors import Metrics

logger = logging.getLogger(__name__)

CHANNEL = "image_gateway"
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0  # seconds between two tries to connect
_PING_INTERVAL = 5.0  # seconds without a notification after which a query tests the connection
_MOST_IDS = 500  # of one call of ``changed``

Changed = Callable[[list[str]], Awaitable[None]]


class ChangeFeed:
    """Listens on a separate connection, and reconnects when the connection is lost.

    positions: gets the position of each change before the change is handled. None: rows are read from the server that
    notifies, and are current.
    """

    def __init__(
        self,
        dsn: str,
        timeout: float,
        metrics: Metrics,
        positions: ChangedPositions | None = None,
        resolve: Resolve = system_addresses,
    ) -> None:
        self._dsn = dsn
        self._resolve = resolve
        self._timeout = timeout
        self._metrics = metrics
        self._positions = positions

    async def listen(
        self,
        *,
        started: Callable[[], None],
        changed: Changed,
        too_many: Callable[[int], None],
        tested: Callable[[], None] = lambda: None,
        lost: Callable[[], None] = lambda: None,
    ) -> None:
        """Call ``changed`` with the ids of changed images until cancelled.

        started: called whenever listening begins, at first and after each gap. Notifications of earlier changes were
        missed.
        too_many: called while so many ids wait that the last id would be handled too late. Its argument is the number
        of ids that were dropped because there was no room: ``changed`` does not get them.
        tested: called for a notification about the trigger.
        lost: called when the connection is lost, and after each failed try to connect.

        The log has the beginning and the end of each outage, not every try to connect. The metric
        ``change_feed_connected`` has the present state.
        """
        async with ServerAddresses(self._dsn, self._timeout, self._resolve) as addresses:
            await self._listen(addresses, started, changed, too_many, tested, lost)

    async def _listen(
        self,
        addresses: ServerAddresses,
        started: Callable[[], None],
        changed: Changed,
        too_many: Callable[[int], None],
        tested: Callable[[], None],
        lost: Callable[[], None],
    ) -> None:
        connected = self._metrics.change_feed_connected
        connected.set(0)
        pause = _FIRST_PAUSE
        is_lost = False
        while True:
            try:
                async with (
                    open_connection(self._dsn, self._timeout, "image-gateway-changes", addresses) as connection,
                    connection.cursor() as cursor,
                ):
                    ids = connection.raw.notifies = ChangedIds(self._losing(too_many), tested)
                    await cursor.execute(f"LISTEN {CHANNEL}")
                    if self._positions is not None:
                        self._positions.all_changed(await read_position(cursor))
                    started()
                    connected.set(1)
                    if is_lost:
                        logger.info("listening to changes in postgres again")
                    is_lost = False
                    pause = _FIRST_PAUSE
                    with closing(ids):
                        await self._receive(connection, cursor, ids, changed)
            except (psycopg2.Error, OSError, TimeoutError) as error:
                if not is_lost:
                    reason = " ".join(str(error).split()) or f"no answer within {self._timeout:g} s"
                    logger.warning("not listening to changes in postgres: reason=%s", reason)
                is_lost = True
            except Exception:  # otherwise no change would be noticed until a restart
                self._metrics.background_errors.labels(task="change-feed").inc()
                logger.exception("listening to changes in postgres failed")
                is_lost = True
            connected.set(0)
            if self._positions is not None:
                self._positions.lost()
            lost()
            await asyncio.sleep(pause)
            pause = min(_LONGEST_PAUSE, pause * 2)

    async def _receive(
        self, connection: aiopg.Connection, cursor: aiopg.Cursor, ids: ChangedIds, changed: Changed
    ) -> None:
        notifications = connection.notifies
        while True:
            try:
                async with asyncio.timeout(_PING_INTERVAL):
                    await notifications.get()  # a wake-up; it raises when the connection is lost
            except TimeoutError:
                await cursor.execute("SELECT 1")
                continue
            ids.woken()
            # One statement may change many rows: pass their ids on together.
            while image_ids := ids.take(_MOST_IDS):
                if self._positions is not None:
                    await self._find(cursor, image_ids, self._positions)
                await changed(image_ids)

    async def _find(self, cursor: aiopg.Cursor, image_ids: Sequence[str], positions: ChangedPositions) -> None:
        """Find the position of changes, and also the position of dropped changes."""
        losses = positions.losses
        position = await read_position(cursor)
        if positions.is_lost() and losses == positions.losses:
            positions.all_changed(position)
        positions.changed(image_ids, position)

    def _losing(self, too_many: Callable[[int], None]) -> Callable[[int], None]:
        """Return the function with which changes are dropped: their position is unknown."""
        positions = self._positions
        if positions is None:
            return too_many

        def lose(dropped: int) -> None:
            positions.lost()
            too_many(dropped)

        return lose
