"""The change feed: Postgres tells when an image's row is updated or deleted.

The trigger in ``config/sql/changes.sql`` notifies the channel ``image_gateway`` with the id.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

import aiopg
import psycopg2

from gateway.catalog.postgres import CLIENT_ENCODING
from gateway.metrics.collectors import Metrics

logger = logging.getLogger(__name__)

CHANNEL = "image_gateway"
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0
# A connection that died without a word is noticed by asking.
_ASK_EVERY = 5.0
_TAKEN_AT_ONCE = 500

Changed = Callable[[list[str]], Awaitable[None]]


class ChangeFeed:
    """Listens on a connection of its own, and connects again for as long as it runs."""

    def __init__(self, dsn: str, timeout: float, metrics: Metrics) -> None:
        self._dsn = dsn
        self._timeout = timeout
        self._metrics = metrics

    async def listen(self, *, started: Callable[[], None], changed: Changed) -> None:
        """Call ``changed`` with the ids of images that changed, for ever.

        ``started`` is called whenever listening begins, the first time and after each gap: what changed before that
        was not heard. The log tells of the beginning and the end of an outage, not of each try to connect.
        """
        pause = _FIRST_PAUSE
        is_away = False
        while True:
            try:
                async with (
                    aiopg.connect(
                        self._dsn,
                        timeout=self._timeout,
                        enable_hstore=False,
                        enable_json=False,
                        enable_uuid=False,
                        client_encoding=CLIENT_ENCODING,
                        application_name="image-gateway-changes",
                    ) as connection,
                    connection.cursor() as cursor,
                ):
                    await cursor.execute(f"LISTEN {CHANNEL}")
                    started()
                    if is_away:
                        logger.info("listening to changes in postgres again")
                    is_away = False
                    pause = _FIRST_PAUSE
                    await self._take(connection, cursor, changed)
            except (psycopg2.Error, OSError, TimeoutError) as error:
                if not is_away:
                    reason = " ".join(str(error).split()) or f"no answer within {self._timeout:g} s"
                    logger.warning("not listening to changes in postgres: reason=%s", reason)
                is_away = True
            except Exception:  # or no change would be heard of until a restart
                self._metrics.background_errors.labels(task="change-feed").inc()
                logger.exception("listening to changes in postgres failed")
                is_away = True
            await asyncio.sleep(pause)
            pause = min(_LONGEST_PAUSE, pause * 2)

    async def _take(self, connection: aiopg.Connection, cursor: aiopg.Cursor, changed: Changed) -> None:
        notices = connection.notifies
        while True:
            try:
                async with asyncio.timeout(_ASK_EVERY):
                    image_ids = {(await notices.get()).payload}
            except TimeoutError:
                await cursor.execute("SELECT 1")
                continue
            # One statement of the application may change many rows.
            while not notices.empty() and len(image_ids) < _TAKEN_AT_ONCE:
                image_ids.add(notices.get_nowait().payload)
            await changed(list(image_ids))
