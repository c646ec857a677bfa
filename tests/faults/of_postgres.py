"""Faults of Postgres, of a pooler, and of the table."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import closing
from functools import partial
from typing import Final

import psycopg2
from psycopg2.extensions import make_dsn, parse_dsn

from gateway_dev.database import ImagesTable
from gateway_dev.postgres_server import PostgresServer
from tests.conftest import Images
from tests.faults.scene import MANY, Injected, Scene, Sections, fault
from tests.pgbouncer import running_pgbouncer
from tests.stories.test_canary import TABLE_ANEW
from tests.valve import Valve
from tests.waiting import until, until_answered

OF_POSTGRES: Final[list[Injected]] = []
_fault: Final = partial(fault, OF_POSTGRES)
_down: Final = partial(_fault, problem="dependency_down")
READER: Final = "row_reader"
_END_SESSIONS: Final = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'row_reader'"

_COPY_TRIGGERS: Final = """
DO $$ DECLARE definition text; BEGIN
FOR definition IN SELECT pg_get_triggerdef(oid) FROM pg_trigger
    WHERE tgrelid = 'public.images'::regclass AND NOT tgisinternal
LOOP EXECUTE replace(definition, ' ON public.images ', ' ON staging.images '); END LOOP;
END $$
"""


async def _as_reader(scene: Scene) -> Sections:
    """The gateway reads as a user who has no rights over the table, and may read it."""
    await scene.images.execute(
        "DROP ROLE IF EXISTS row_reader; CREATE ROLE row_reader LOGIN PASSWORD 'row_reader'; "
        "GRANT SELECT ON images TO row_reader"
    )
    dsn = scene.request.getfixturevalue("postgres_dsn")
    scene.stack.push_async_callback(
        scene.images.execute,
        "ALTER TABLE images DISABLE ROW LEVEL SECURITY; DROP SCHEMA IF EXISTS staging CASCADE; "
        "DROP OWNED BY row_reader; DROP ROLE row_reader",
    )
    return {"postgres": {"dsn": make_dsn(dsn, user=READER, password=READER)}}


async def _impatient(_: Scene) -> Sections:
    return {"postgres": {"timeout": 0.5}}


async def _with_links(scene: Scene) -> Sections:
    await asyncio.to_thread(scene.images.table.create_links)
    return {"access": {"signed_links": {"keys": {"k1": "a-secret-of-at-least-thirty-two-bytes"}}}}


async def _behind_pooler(scene: Scene) -> Sections:
    dsn = scene.request.getfixturevalue("postgres_dsn")
    scene.kept = scene.stack.enter_context(running_pgbouncer(dsn, scene.folder / "pgbouncer"))
    return {"postgres": {"dsn": scene.kept.dsn, "listen_dsn": dsn, "pool_size": 2, "timeout": 0.5}}


async def _own_server(scene: Scene) -> Sections:
    """A server of its own, kept for all faults of servers."""
    server: PostgresServer = scene.request.getfixturevalue("mortal_postgres")
    scene.kept = server
    scene.images = Images(ImagesTable(server.dsn), scene.cos)
    await scene.images.execute("DELETE FROM images")
    return {"postgres": {"dsn": server.dsn, "timeout": 0.5}}


async def _no_client_is_served(scene: Scene) -> None:
    assert await scene.ask("/i/a", "/i/b") == [503] * 2


async def _nothing_is_found(scene: Scene) -> None:
    assert set(await scene.ask(*["/i/a"] * MANY)) == {404}


@_fault(
    "rows hidden by row level security",
    "dependency_degraded",
    prepare=_as_reader,
    light=("postgres", "degraded", f"row level security may hide rows of public.images from {READER}"),
    check=("warn  rows:", "run: CREATE POLICY"),
    headline="row level security",
)
async def _(scene: Scene) -> AsyncIterator[None]:
    await scene.images.execute("ALTER TABLE images ENABLE ROW LEVEL SECURITY")
    await scene.purge("a")
    await _nothing_is_found(scene)
    yield
    await scene.images.execute("ALTER TABLE images DISABLE ROW LEVEL SECURITY")


async def _table_is_known(scene: Scene) -> None:
    """Wait for a probe that has found the table: a later one compares. On a busy machine the first may be too late."""
    health = scene.gateway.service.diagnostics.health

    async def is_known() -> bool:
        await health.probe_all()
        return health.latest.checks["postgres"] == "ok"

    await until(is_known, what="a probe of the table")


@_fault(
    "search path of another table",
    "dependency_degraded",
    prepare=_as_reader,
    begin=_table_is_known,
    light=("postgres", "degraded", "the search path leads to staging.images, and led to public.images before"),
    check=("warn  table: the search path leads to staging.images; there is also public.images",),
    advice="check the id",
)
async def _(scene: Scene) -> AsyncIterator[None]:
    await scene.images.execute(
        "CREATE SCHEMA staging; CREATE TABLE staging.images (LIKE images INCLUDING ALL); "
        "GRANT USAGE ON SCHEMA staging TO row_reader; GRANT SELECT ON staging.images TO row_reader; "
        "ALTER ROLE row_reader SET search_path = staging, public"
    )
    await scene.images.execute(_COPY_TRIGGERS)  # else the first problem is that they are missing, once it is seen
    await scene.images.execute(_END_SESSIONS)
    await until_answered(scene.gateway, "/i/a", 404)  # the sessions end a little later, and fail a request until then
    await _nothing_is_found(scene)
    yield
    await scene.images.execute("ALTER ROLE row_reader RESET search_path")
    await scene.images.execute(_END_SESSIONS)
    await scene.purge("a")


@_fault(
    "rows gone",
    "answers_mostly",
    check=("the query finds no active image",),
    advice="check the id",
)
async def _(scene: Scene) -> AsyncIterator[None]:
    await scene.images.execute("DELETE FROM images")
    await _nothing_is_found(scene)
    yield
    await scene.images.add("a")


@_down(
    "column renamed",
    light=("postgres", "down", "cos_key"),
    check=("has no column cos_key",),
    advice="postgres.columns",
    headline="cos_key",
)
async def _(scene: Scene) -> AsyncIterator[None]:
    await scene.images.execute("ALTER TABLE images RENAME cos_key TO path")
    assert await scene.ask("/i/never-seen") == [503]
    yield
    await scene.images.execute("ALTER TABLE images RENAME path TO cos_key")


@_down(
    "table locked",
    prepare=_impatient,
    light=("postgres", "down", "holds AccessExclusiveLock of public.images"),
    check=("holds AccessExclusiveLock of public.images", "SELECT pg_terminate_backend"),
    advice="SELECT pg_terminate_backend",
)
async def _(scene: Scene) -> AsyncIterator[None]:
    dsn = scene.request.getfixturevalue("postgres_dsn")
    connect = partial(psycopg2.connect, dsn, application_name="migration")
    holder: psycopg2.extensions.connection
    with closing(await asyncio.to_thread(connect)) as holder:
        await asyncio.to_thread(holder.cursor().execute, "ALTER TABLE images ADD note text")
        await _no_client_is_served(scene)
        yield
        holder.rollback()


@_down(
    "right to read revoked",
    prepare=_as_reader,
    light=("postgres", "down", "permission denied for table images"),
    check=("GRANT SELECT",),
    advice="check postgres.dsn",
)
async def _(scene: Scene) -> AsyncIterator[None]:
    await scene.images.execute("REVOKE SELECT ON images FROM row_reader")
    await _no_client_is_served(scene)
    yield
    await scene.images.execute("GRANT SELECT ON images TO row_reader")


def _of_role(name: str, breaks: str, mends: str, reason: str, remedy: str, **shown: object) -> None:
    """Add a fault of the role of the gateway, by ``ALTER ROLE``, which its next connections meet."""

    @_down(name, prepare=_as_reader, light=("postgres", "down", reason), remedy=remedy, check=(reason, remedy), **shown)
    async def _(scene: Scene) -> AsyncIterator[None]:
        await scene.images.execute(f"ALTER ROLE row_reader {breaks}")
        await scene.images.execute(_END_SESSIONS)
        await _no_client_is_served(scene)
        yield
        await scene.images.execute(f"ALTER ROLE row_reader {mends}")


_of_role(
    "password of Postgres changed",
    "PASSWORD 'another'",
    "PASSWORD 'row_reader'",
    "password authentication failed",
    "its user and password",
    advice="its user and password",
)
_of_role(
    "no connection left for the role",
    "CONNECTION LIMIT 0",
    "CONNECTION LIMIT -1",
    "too many connections for role",
    "raise max_connections, or the CONNECTION LIMIT of the role",
    advice="CONNECTION LIMIT",
)


_of_server: Final = {"prepare": _own_server, "uses": ("mortal_postgres",)}


@_down(
    "Postgres killed",
    **_of_server,
    light=("postgres", "down", "refused"),
    check=("refused",),
    advice="that Postgres runs",
)
async def _(scene: Scene) -> AsyncIterator[None]:
    await asyncio.to_thread(scene.kept.kill)
    try:
        await _no_client_is_served(scene)
        yield
    finally:
        await asyncio.to_thread(scene.kept.start)


@_down("Postgres hangs", **_of_server, light=("postgres", "down", "no answer within"), advice="that Postgres runs")
async def _(scene: Scene) -> AsyncIterator[None]:
    scene.kept.pause()
    try:
        await _no_client_is_served(scene)
        yield
    finally:
        scene.kept.resume()


@_fault(
    "fail-over leaves a read-only standby",
    "changes_not_heard",
    **_of_server,
    light=("changes", "degraded", "the notifications of Postgres"),
)
async def _(scene: Scene) -> AsyncIterator[None]:
    """The server starts as a standby that follows nobody: what a fail-over leaves at the former address."""
    await asyncio.to_thread(_restart_as_standby, scene.kept)
    try:
        await until_answered(scene.gateway, "/i/a", 200)
        yield
    finally:
        await scene.images.execute("SELECT pg_promote()")


def _restart_as_standby(server: PostgresServer) -> None:
    server.stop()
    (server.data.resolve() / "standby.signal").touch()
    server.start()


@_down(
    "pooler full",
    prepare=_behind_pooler,
    light=("postgres", "down", "connections wait for a server, or a full pooler, that does not answer"),
    check=("a pooler before it is not full",),
    advice="a pooler before it is not full",
)
async def _(scene: Scene) -> AsyncIterator[None]:
    """The application keeps the pooler's only connection in a transaction."""
    with closing(await asyncio.to_thread(psycopg2.connect, scene.kept.dsn)) as application:
        await asyncio.to_thread(application.cursor().execute, "SELECT 1")
        await _no_client_is_served(scene)
        yield


def _of_trigger(name: str, breaks: str, reason: str) -> None:
    """Add a fault of the trigger, which the SQL of the documents mends."""

    @_fault(
        name,
        "trigger_missing",
        light=("changes", "degraded", reason),
        check=(f"fail  changes: {reason}", "sql changes"),
        remedy="sql changes",
        prepare=_own_server,
        uses=("mortal_postgres",),
    )
    async def _(scene: Scene) -> AsyncIterator[None]:
        await scene.images.execute(breaks)
        scene.gateway.service.diagnostics.trigger_watch.look_soon()
        yield
        await asyncio.to_thread(scene.images.table.create)


_of_trigger(
    "change trigger missing",
    "DROP TRIGGER image_gateway_changed ON images",
    "no trigger on images notifies of changes",
)
_of_trigger(
    "table created anew",
    TABLE_ANEW,
    "no trigger on images notifies of changes",
)


async def _listening_through_valve(scene: Scene) -> Sections:
    dsn = scene.request.getfixturevalue("postgres_dsn")
    scene.kept = await scene.stack.enter_async_context(Valve.before(int(parse_dsn(dsn)["port"])))
    return {"postgres": {"listen_dsn": make_dsn(dsn, port=scene.kept.port)}}


_deaf: Final = partial(_fault, problem="changes_not_heard")


@_deaf(
    "notifications are lost on their way",
    prepare=_listening_through_valve,
    light=("changes", "degraded", "no heartbeat came back for"),
    remedy="check postgres.listen_dsn",
)
async def _(scene: Scene) -> AsyncIterator[None]:
    scene.kept.close()
    yield
    scene.kept.open()


@_deaf(
    "LISTEN through a pooler in transaction mode",
    prepare=_behind_pooler,
    light=("changes", "degraded", "nobody passes notifications on"),
    check=("fail  changes: nobody passes notifications on", "a pooler in transaction mode"),
    remedy="a pooler in transaction mode",
)
async def _(scene: Scene) -> AsyncIterator[None]:
    await scene.start(postgres={"listen_dsn": scene.kept.dsn})
    yield
    await scene.start()


@_down(
    "links table missing",
    prepare=_with_links,
    light=("postgres", "down", "image_gateway_links"),
    check=("fail  signed_links: there is no table image_gateway_links", "config/sql/links.sql"),
    advice="run config/sql/links.sql",
)
async def _(scene: Scene) -> AsyncIterator[None]:
    await scene.images.execute("DROP TABLE image_gateway_links")
    await _no_client_is_served(scene)
    yield
    await asyncio.to_thread(scene.images.table.create_links)
