"""The connection pool on a Postgres that is slow, stopped, restarted, or of another encoding."""

import asyncio
import os
import re
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from psycopg2.extensions import make_dsn, parse_dsn

from gateway.catalog.pool import Connection, open_pool
from gateway.catalog.postgres import PostgresCatalog
from gateway.catalog.record import RowsUnreadable
from gateway.catalog.server_addresses import ServerAddresses
from gateway.errors import CatalogUnavailable
from gateway.service.metrics import Metrics
from gateway_dev.database import ImageRow, ImagesTable
from gateway_dev.postgres_server import PostgresServer
from tests.catalog.conftest import CONNECTED, RECORD, ROW, OpenCatalog, ask, connections, queries
from tests.limits import LIMIT
from tests.waiting import until

LOCK = "LOCK TABLE images IN ACCESS EXCLUSIVE MODE"
LOCK_WAITERS = "SELECT pid FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND NOT granted"


def waiting(dsn: str) -> list[tuple[Any, ...]]:
    """The server processes in which a query of the gateway waits for a lock."""
    return ask(
        dsn,
        "SELECT pid FROM pg_stat_activity "
        "WHERE application_name = 'image-gateway' AND state = 'active' AND wait_event_type = 'Lock'",
    )


@asynccontextmanager
async def locked(dsn: str) -> AsyncIterator[int]:
    """Lock the table: every query of it hangs meanwhile. Yields the pid of the session that holds the lock."""

    def lock() -> "psycopg2.extensions.connection":
        connection: psycopg2.extensions.connection = psycopg2.connect(dsn, application_name="migration")
        connection.cursor().execute(LOCK)
        return connection

    connection = await asyncio.to_thread(lock)
    try:
        yield connection.info.backend_pid
    finally:
        await asyncio.to_thread(connection.close)


@asynccontextmanager
async def locking(dsn: str) -> AsyncIterator[None]:
    """Another session waits for the lock meanwhile."""
    connection: psycopg2.extensions.connection = await asyncio.to_thread(
        psycopg2.connect, dsn, application_name="migration"
    )
    waiting = asyncio.create_task(asyncio.to_thread(connection.cursor().execute, LOCK))
    try:
        await until(lambda: asyncio.to_thread(ask, dsn, LOCK_WAITERS))
        yield
    finally:
        connection.cancel()
        with pytest.raises(psycopg2.errors.QueryCanceled):
            await waiting
        connection.close()


@pytest.fixture
async def plain_dsn(postgres_dsn: str, request: pytest.FixtureRequest) -> AsyncIterator[str]:
    """The DSN of a database of an encoding. With SQL_ASCII Postgres takes and gives bytes as they are."""

    def execute(sql: str) -> None:
        with closing(psycopg2.connect(postgres_dsn)) as connection:
            connection.autocommit = True
            connection.cursor().execute(sql)

    await asyncio.to_thread(
        execute, f"CREATE DATABASE plain ENCODING '{request.param}' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
    )
    yield make_dsn(postgres_dsn, dbname="plain")
    await asyncio.to_thread(execute, "DROP DATABASE plain WITH (FORCE)")


@pytest.mark.parametrize("plain_dsn", ["LATIN1"], indirect=True)
async def test_an_alias_of_letters_that_the_database_cannot_have_is_unknown_and_hides_no_other(
    open_one: OpenCatalog, plain_dsn: str
) -> None:
    table = ImagesTable(plain_dsn)
    await asyncio.to_thread(table.create)
    await asyncio.to_thread(table.put, [ImageRow("müller", None, "m.png")])
    catalog = await open_one(dsn=plain_dsn, columns={"alias": "id"})
    assert await catalog.find_aliases(["中", "müller", "unknown"]) == {"müller": "müller"}


@pytest.mark.parametrize("plain_dsn", ["SQL_ASCII"], indirect=True)
async def test_a_database_of_sql_ascii_is_read_as_utf_8_row_by_row(
    open_one: OpenCatalog, plain_dsn: str, caplog: pytest.LogCaptureFixture
) -> None:
    table = ImagesTable(make_dsn(plain_dsn, client_encoding="UTF8"))
    await asyncio.to_thread(table.create)
    await asyncio.to_thread(table.put, [ImageRow("utf-8", None, "图片.png"), ImageRow("plain", None, "plain.png")])
    await asyncio.to_thread(
        table.execute,
        "INSERT INTO images (id, cos_key) SELECT id, convert_from('\\xc4e3bac3', 'SQL_ASCII') "
        "FROM unnest(ARRAY['gbk', 'gbk-2']) id",
    )
    catalog = await open_one(dsn=plain_dsn)
    record = await catalog.fetch("utf-8")
    assert record is not None
    assert record.key == "图片.png"
    rows = await catalog.fetch_rows(["gbk", "utf-8", "gbk-2", "plain", "unknown"])
    assert rows.records.keys() == {"utf-8", "plain"}
    assert rows.unusable.keys() == {"gbk", "gbk-2"}
    assert "image_id=gbk reason=the row holds text that is not UTF-8" in caplog.text
    assert await catalog.fetch("gbk") is None


@contextmanager
def view_with_unreadable_rows(table: ImagesTable, column: str, computed: str) -> Iterator[None]:
    """The table is a view, with ``column`` as ``computed``, which Postgres cannot read where an id begins with b."""
    table.put([ImageRow(f"{kind}-{number}", None, "x.png") for kind in "ab" for number in range(20)])
    others = {"id", "user_id", "cos_key", "cos_bucket", "cos_region", "mime_type", "is_public", "storage_status"}
    table.execute(
        f"CREATE VIEW computed AS SELECT {', '.join(sorted(others - {computed}))}, "  # noqa: S608
        f"CASE WHEN left(id, 1) = 'b' THEN (1 / (length(id) - length(id)))::text ELSE {column} END {computed} "
        "FROM images"
    )
    try:
        yield
    finally:
        table.execute("DROP VIEW computed")


async def test_an_alias_that_cannot_be_read_holds_up_no_purge_of_other_images(
    open_one: OpenCatalog, images_table: ImagesTable
) -> None:
    with view_with_unreadable_rows(images_table, "id", "alias"):
        catalog = await open_one(table="computed", columns={"alias": "alias"})
        assert await catalog.aliases_of(["a-1", "b-1", "a-2"]) == {"a-1": "a-1", "a-2": "a-2"}
        assert await catalog.aliases_of(["b-1"]) == {}
        with pytest.raises(CatalogUnavailable, match="division by zero"):
            await catalog.aliases_of([f"b-{number}" for number in range(20)])


async def test_a_row_that_postgres_cannot_read_hides_no_other_unless_all_or_many_are_so(
    open_one: OpenCatalog, images_table: ImagesTable, caplog: pytest.LogCaptureFixture
) -> None:
    with view_with_unreadable_rows(images_table, "storage_status", "storage_status"):
        catalog = await open_one(table="computed")
        rows = await catalog.fetch_rows(["a-1", "b-1", "a-2", "unknown"])
        assert rows.records.keys() == {"a-1", "a-2"}
        assert rows.unusable.keys() == {"b-1"}
        assert "image_id=b-1 reason=Postgres cannot read the row: DivisionByZero" in caplog.text
        for ids in (["b-1"], ["b-1", "unknown"]):
            with pytest.raises(RowsUnreadable, match="division by zero") as unreadable:
                await catalog.fetch_rows(ids)
            assert [*unreadable.value.image_ids] == ["b-1"]
        with pytest.raises(CatalogUnavailable, match="division by zero"):
            await catalog.fetch_rows(["a-1", *(f"b-{number}" for number in range(20))])


@pytest.mark.parametrize(
    ("dsn", "where"),
    [
        ("host=127.0.0.1 port=1 user=gateway", "127.0.0.1:1: Connection refused"),
        ("host=127.0.0.1,127.0.0.2 port=1 user=gateway", "127.0.0.2:1: .*refused"),
        ("host=localhost port=1 user=gateway", r"localhost:1 \(.*1\): Connection refused"),
        ("host=/nonexistent user=gateway", "/nonexistent:5432: .* No such file"),
    ],
)
async def test_an_unreachable_postgres_makes_the_catalog_unavailable_and_is_named(
    open_one: OpenCatalog, metrics: Metrics, dsn: str, where: str
) -> None:
    catalog = await open_one(dsn=dsn)
    with pytest.raises(CatalogUnavailable, match=f"^postgres.dsn, {where}"):
        await catalog.fetch("cat")
    with pytest.raises(CatalogUnavailable):
        await catalog.try_query()
    assert queries(metrics, "error") == 1


async def test_a_slow_query_is_abandoned_then_stopped_by_the_server_and_its_connection_used_again(
    open_one: OpenCatalog, table: ImagesTable, metrics: Metrics, caplog: pytest.LogCaptureFixture
) -> None:
    table.execute("CREATE VIEW slow AS SELECT * FROM images WHERE (SELECT pg_sleep(60)) IS NOT NULL")
    try:
        catalog = await open_one(timeout=1, table="slow")
        await until_refused(catalog, "no answer within 1 s")
        assert connections(metrics, "abandoned") == 1
        await until(lambda: connections(metrics, "abandoned") == 0)
        assert connections(metrics, "idle") == 1
        assert not caplog.records
    finally:
        table.execute("DROP VIEW slow")


@pytest.mark.parametrize("by_server", [True, False])
async def test_a_query_that_the_server_cancels_does_not_cancel_the_request_and_a_cancelled_request_stays_cancelled(
    open_one: OpenCatalog, table: ImagesTable, postgres_dsn: str, *, by_server: bool
) -> None:
    catalog = await open_one(timeout=LIMIT)
    async with locked(postgres_dsn):
        fetching = asyncio.create_task(catalog.fetch("cat"))
        await until(lambda: asyncio.to_thread(waiting, postgres_dsn))
        if by_server:
            # The same as the server's statement_timeout, at a moment that the test chooses.
            ((pid,),) = await asyncio.to_thread(waiting, postgres_dsn)
            await asyncio.to_thread(ask, postgres_dsn, f"SELECT pg_cancel_backend({pid})")
        else:
            fetching.cancel()
        with pytest.raises(CatalogUnavailable if by_server else asyncio.CancelledError) as failed:
            await fetching
        assert fetching.cancelled() is not by_server
        assert str(failed.value) == ("canceling statement due to user request" if by_server else "")
    assert await catalog.fetch("cat") == RECORD


async def test_a_lock_is_named_and_takes_no_more_connections_than_the_pool_has_and_no_more_time(
    open_one: OpenCatalog, table: ImagesTable, postgres_dsn: str
) -> None:
    catalog = await open_one(pool_size=3, timeout=1)
    await until(lambda: is_served(catalog))
    reasons, backends = set(), []
    async with locked(postgres_dsn) as pid:
        state = rf"pid {pid} \(\w+, migration, idle in transaction for \d+ s\)"
        holder = f"{state} holds AccessExclusiveLock of public.images"
        await until_refused(catalog, holder)
        for _ in range(2):
            began = time.monotonic()
            failed = await asyncio.gather(*(catalog.fetch("cat") for _ in range(20)), return_exceptions=True)
            assert all(isinstance(error, CatalogUnavailable) for error in failed)
            assert time.monotonic() - began < 15, "they do not wait one after the other"
            reasons |= {str(error) for error in failed}
            backends.append(await asyncio.to_thread(ask, postgres_dsn, CONNECTED))
        with pytest.raises(CatalogUnavailable, match=holder):
            await catalog.try_query()
    assert backends == [[(3,)]] * 2
    assert all(re.search(holder, reason) for reason in reasons), reasons
    assert await catalog.fetch("cat") == RECORD


async def until_refused(catalog: PostgresCatalog, reason: str) -> None:
    """Ask for the row until the error matches ``reason``. On a busy machine the second in which it is found may end."""

    async def is_refused() -> bool:
        with pytest.raises(CatalogUnavailable) as error:
            await catalog.fetch("cat")
        return re.search(reason, str(error.value)) is not None

    await until(is_refused, what=reason)


async def test_a_lock_that_is_waited_for_is_named_with_the_session_that_holds_it_up(
    open_one: OpenCatalog, table: ImagesTable, postgres_dsn: str
) -> None:
    """A migration waits behind a reader that forgot to end its transaction, and every other reader behind both."""
    catalog = await open_one(timeout=1)
    reader = await asyncio.to_thread(psycopg2.connect, make_dsn(postgres_dsn, application_name="report"))
    with closing(reader), reader.cursor() as cursor:
        await asyncio.to_thread(cursor.execute, "SELECT 1 FROM images")
        async with locking(postgres_dsn):
            await until_refused(
                catalog,
                r"pid \d+ \(\w+, migration, active for \d+ s\) waits for AccessExclusiveLock of public.images, "
                rf"for which pid {reader.info.backend_pid} \(\w+, report, idle in transaction for \d+ s\) does not end",
            )


async def test_a_user_without_rights_gets_at_least_the_pid_behind_a_lock(
    open_one: OpenCatalog, table: ImagesTable, postgres_dsn: str
) -> None:
    table.execute("CREATE ROLE plain_reader LOGIN PASSWORD 'reader'")
    try:
        table.execute("GRANT SELECT ON images TO plain_reader")
        catalog = await open_one(dsn=make_dsn(postgres_dsn, user="plain_reader", password="reader"), timeout=1)
        async with locked(postgres_dsn) as pid:
            await until_refused(catalog, rf"pid {pid} \(.*its state is hidden\) holds")
    finally:
        table.execute("DROP OWNED BY plain_reader; DROP ROLE plain_reader")


async def is_served(catalog: PostgresCatalog) -> bool:
    """Whether the row is read."""
    try:
        return await catalog.fetch("cat") == RECORD
    except CatalogUnavailable:
        return False


@pytest.fixture
async def own_server(tmp_path: Path) -> AsyncIterator[PostgresServer]:
    """A Postgres with the image, that this test may stop."""
    server = PostgresServer(tmp_path / "postgres", ephemeral=True)
    await asyncio.to_thread(server.start)
    table = ImagesTable(server.dsn)
    await asyncio.to_thread(table.create)
    await asyncio.to_thread(table.put, [ROW])
    yield server
    await asyncio.to_thread(server.remove_data)


async def test_another_server_takes_the_place_of_one_that_hangs(
    open_one: OpenCatalog, table: ImagesTable, own_server: PostgresServer, postgres_dsn: str
) -> None:
    to = parse_dsn(postgres_dsn)
    ports = f"{own_server.port},{to['port']}"
    await asyncio.to_thread(ImagesTable(own_server.dsn).execute, f"ALTER ROLE CURRENT_USER PASSWORD '{to['password']}'")
    catalog = await open_one(
        dsn=make_dsn(postgres_dsn, host="127.0.0.1,127.0.0.1", port=ports), pool_size=2, timeout=0.5
    )
    await until(lambda: is_served(catalog))
    own_server.pause()
    try:

        async def all_are_served() -> bool:
            return all(await asyncio.gather(*(is_served(catalog) for _ in range(10))))

        await until(all_are_served)
    finally:
        own_server.resume()


async def test_a_server_that_does_not_answer_a_login_gets_no_more_connections_than_the_pool_has(
    open_one: OpenCatalog, metrics: Metrics
) -> None:
    accepted = []

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.append(writer)
        await reader.read()
        writer.close()

    async with await asyncio.start_server(accept, "127.0.0.1") as server:
        dsn = f"host=127.0.0.1 port={server.sockets[0].getsockname()[1]} user=gateway"
        catalog = await open_one(dsn=dsn, pool_size=2, timeout=0.2)
        for _ in range(8):
            with pytest.raises(CatalogUnavailable, match="no answer within"):
                await catalog.fetch("cat")
        assert len(accepted) == 2
        assert connections(metrics, "abandoned") == 2
        for writer in accepted:
            writer.close()
        await until(lambda: connections(metrics, "abandoned") == 0)
        with pytest.raises(CatalogUnavailable):
            await catalog.fetch("cat")
        assert len(accepted) > 2
        for writer in accepted:
            writer.close()  # from Python 3.12 on the end of the server waits for its connections


async def test_the_kernel_finds_out_within_seconds_that_the_machine_of_the_server_has_gone(postgres_dsn: str) -> None:
    """Else a connection whose query was abandoned would count for hours."""
    for more, expected in ({}, 15_000), ({"tcp_user_timeout": 40_000}, 40_000):
        async with (
            open_pool(ServerAddresses(make_dsn(postgres_dsn, **more), 3), 1, []) as pool,
            pool.cursor() as used,
        ):
            with socket.socket(fileno=os.dup(used.connection.raw.fileno())) as connected:
                assert connected.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == expected
                assert connected.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 5


async def test_the_next_socket_with_the_number_of_a_lost_connection_is_heard_by_the_event_loop() -> None:
    loop, heard = asyncio.get_running_loop(), asyncio.Event()
    ours, theirs = socket.socketpair()
    taken: list[int] = []

    class Taken(psycopg2.extensions.connection):
        """Another thread has the number of the socket again as soon as libpq has closed it, and the loop gets it."""

        def poll(self) -> int:
            number = self.fileno()
            try:
                return super().poll()
            except psycopg2.Error:
                taken.append(os.dup2(ours.fileno(), number))
                loop.call_soon(loop.add_reader, number, heard.set)
                raise

    async with await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1") as refusing:
        dsn = make_dsn(host="127.0.0.1", port=refusing.sockets[0].getsockname()[1], user="gateway", sslmode="disable")
        with pytest.raises(psycopg2.OperationalError, match="closed the connection unexpectedly"):
            await Connection(dsn, 3, connection_factory=Taken)
    with ours, theirs, socket.socket(fileno=taken[0]):
        theirs.send(b"heard")
        async with asyncio.timeout(LIMIT):
            await heard.wait()
        loop.remove_reader(taken[0])


async def test_a_second_close_leaves_the_socket_alone_that_has_the_number_by_then(postgres_dsn: str) -> None:
    loop, heard = asyncio.get_running_loop(), asyncio.Event()
    ours, theirs = socket.socketpair()
    connection = await Connection(postgres_dsn, 3, enable_hstore=False)
    number = connection.raw.fileno()
    connection.close()
    with ours, theirs, socket.socket(fileno=os.dup2(ours.fileno(), number)):
        loop.add_reader(number, heard.set)
        connection.close()
        theirs.send(b"heard")
        async with asyncio.timeout(LIMIT):
            await heard.wait()
        loop.remove_reader(number)


async def test_a_late_event_loop_is_no_failure_of_postgres(open_one: OpenCatalog, table: ImagesTable) -> None:
    """As when many streams start at once: the answers are in the sockets, and the loop reads them seconds later."""
    catalog = await open_one(timeout=1, pool_size=2)

    async def late_loop() -> None:
        while True:
            ends_at = time.monotonic() + 0.1
            while time.monotonic() < ends_at:
                pass
            await asyncio.sleep(0)

    late = asyncio.create_task(late_loop(), name="late-loop")
    try:
        assert [await asyncio.gather(*(catalog.fetch("cat") for _ in range(4)))] == [[RECORD] * 4]
    finally:
        late.cancel()
