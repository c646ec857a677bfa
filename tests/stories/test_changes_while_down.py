"""Rows that change while the only gateway is down: Redis still holds the old ones."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from psycopg2.extensions import make_dsn, parse_dsn

from tests.conftest import Images, RunningGateway, StartGateway

TAKEN_AWAY = (
    "UPDATE images SET is_public = false WHERE id = 'a'",
    "DELETE FROM images WHERE id = 'a'",
    "UPDATE images SET storage_status = 'deleted' WHERE id = 'a'",
)


class SlowPostgres:
    """A way to Postgres on which queries and the change feed can be held back separately."""

    def __init__(self, dsn: str) -> None:
        self._to = parse_dsn(dsn)
        self.dsn = dsn
        self.queries = asyncio.Event()
        self.feed = asyncio.Event()
        self._relays: set[asyncio.Task[None]] = set()
        self._writers: list[asyncio.StreamWriter] = []

    @contextlib.asynccontextmanager
    async def relaying(self) -> AsyncIterator[None]:
        """Everything flows at first."""
        self.queries.set()
        self.feed.set()
        async with await asyncio.start_server(self._relay_in_task, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            self.dsn = make_dsn(self.dsn, host="127.0.0.1", port=port, sslmode="disable")
            try:
                yield
            finally:  # the server waits for its connections (Python 3.12)
                server.close()
                self.queries.set()
                self.feed.set()
                for writer in self._writers:
                    writer.close()
                await asyncio.gather(*self._relays)

    def _relay_in_task(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._relays.add(asyncio.create_task(self._relay(reader, writer), name="slow-postgres"))

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first = await reader.read(65_536)
        flows = self.feed if b"image-gateway-changes" in first else self.queries
        host, port = self._to["host"], self._to["port"]
        if host.startswith("/"):
            there, back = await asyncio.open_unix_connection(f"{host}/.s.PGSQL.{port}")
        else:
            there, back = await asyncio.open_connection(host, int(port))
        self._writers += writer, back
        back.write(first)

        async def copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            with contextlib.suppress(ConnectionError):
                while piece := await source.read(65_536):
                    await flows.wait()
                    sink.write(piece)
            sink.close()

        await asyncio.gather(copy(reader, back), copy(there, writer))


@pytest.fixture
async def slow_postgres(postgres_dsn: str) -> AsyncIterator[SlowPostgres]:
    """On the way to the Postgres of this run."""
    slow = SlowPostgres(postgres_dsn)
    async with slow.relaying():
        yield slow


async def cached_by_a_gateway_that_is_gone(start_gateway: StartGateway, images: Images) -> None:
    """The public image ``a`` is in Redis."""
    await images.add("a", b"secret by now", owner="alice", public=True)
    gateway = await start_gateway()
    assert (await gateway.get("/i/a")).status == 200
    await gateway.close()


@pytest.mark.parametrize("sql", TAKEN_AWAY)
async def test_what_was_taken_away_meanwhile_is_not_served_while_the_change_feed_does_not_come_up(
    start_gateway: StartGateway, images: Images, slow_postgres: SlowPostgres, sql: str
) -> None:
    await cached_by_a_gateway_that_is_gone(start_gateway, images)
    await images.execute(sql)
    slow_postgres.feed.clear()
    gateway = await start_gateway(postgres={"dsn": slow_postgres.dsn}, url_cache={"local_ttl": 0})
    assert {(await gateway.get("/i/a")).status for _ in range(5)} == {404}


async def test_a_postgres_that_is_slow_to_answer_is_waited_for(
    start_gateway: StartGateway, images: Images, slow_postgres: SlowPostgres
) -> None:
    await cached_by_a_gateway_that_is_gone(start_gateway, images)
    await images.execute(TAKEN_AWAY[0])
    slow_postgres.queries.clear()
    slow_postgres.feed.clear()
    gateway = await start_gateway(postgres={"dsn": slow_postgres.dsn})
    assert (await gateway.get("/readyz")).json()["status"] == "degraded"
    asking = asyncio.create_task(gateway.get("/i/a"))
    done, _ = await asyncio.wait({asking}, timeout=0.5)
    assert not done
    slow_postgres.queries.set()
    assert (await asking).status == 404


async def test_a_postgres_that_is_away_leaves_what_is_cached_served_and_says_so(
    start_gateway: StartGateway, images: Images, caplog: pytest.LogCaptureFixture
) -> None:
    await cached_by_a_gateway_that_is_gone(start_gateway, images)
    gateway: RunningGateway = await start_gateway(postgres={"dsn": "host=127.0.0.1 port=1 user=gateway"})
    assert (await gateway.get("/i/a")).status == 200
    assert (await gateway.get("/readyz")).json()["status"] == "degraded"
    assert "not listening to changes in postgres" in caplog.text


async def test_without_listening_entries_are_believed_for_as_long_as_they_live(
    start_gateway: StartGateway, images: Images
) -> None:
    await cached_by_a_gateway_that_is_gone(start_gateway, images)
    await images.execute(TAKEN_AWAY[0])
    gateway = await start_gateway(postgres={"listen": False})
    assert (await gateway.get("/i/a")).status == 200
