"""Faults of Postgres, of a pooler, and of the table."""

import asyncio
from contextlib import closing
from typing import Final

import psycopg2
from psycopg2.extensions import make_dsn

from gateway_dev.database import ImagesTable
from gateway_dev.postgres_server import PostgresServer
from tests.conftest import Images
from tests.faults.scene import MANY, Injected, Scene, Sections, Step
from tests.pgbouncer import running_pgbouncer
from tests.waiting import until_answered

READER: Final = "row_reader"
_END_SESSIONS: Final = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'row_reader'"


def _sql(sql: str, *paths: str, status: int = 503) -> Step:
    """Return what executes statements as the owner of the table, and then asks for images."""

    async def inject(scene: Scene) -> None:
        await scene.images.execute(sql)
        assert set(await scene.ask(*paths)) <= {status}

    return inject


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


async def _hide_rows(scene: Scene) -> None:
    await scene.images.execute("ALTER TABLE images ENABLE ROW LEVEL SECURITY")
    await scene.purge("a")
    assert set(await scene.ask(*["/i/a"] * MANY)) == {404}


async def _lead_elsewhere(scene: Scene) -> None:
    await scene.images.execute(
        "CREATE SCHEMA staging; CREATE TABLE staging.images (LIKE images INCLUDING ALL); "
        "GRANT USAGE ON SCHEMA staging TO row_reader; GRANT SELECT ON staging.images TO row_reader; "
        "ALTER ROLE row_reader SET search_path = staging, public"
    )
    await scene.images.execute(_END_SESSIONS)
    assert set(await scene.ask(*["/i/a"] * MANY)) == {404}


async def _lead_back(scene: Scene) -> None:
    await scene.images.execute("ALTER ROLE row_reader RESET search_path")
    await scene.images.execute(_END_SESSIONS)
    await scene.purge("a")


async def _delete_rows(scene: Scene) -> None:
    await scene.images.execute("DELETE FROM images")
    assert set(await scene.ask(*["/i/a"] * MANY)) == {404}


async def _add_rows(scene: Scene) -> None:
    await scene.images.add("a")


async def _impatient(_: Scene) -> Sections:
    return {"postgres": {"timeout": 0.5}}


async def _lock(scene: Scene) -> None:
    dsn = scene.request.getfixturevalue("postgres_dsn")
    holder: psycopg2.extensions.connection = await asyncio.to_thread(
        psycopg2.connect, dsn, application_name="migration"
    )
    scene.kept = scene.stack.enter_context(closing(holder))
    await asyncio.to_thread(holder.cursor().execute, "ALTER TABLE images ADD note text")
    assert await scene.ask("/i/a", "/i/b") == [503] * 2


async def _roll_back(scene: Scene) -> None:
    scene.kept.rollback()


async def _drop_trigger(scene: Scene) -> None:
    await scene.images.execute("DROP TRIGGER image_gateway_changed ON images")
    scene.gateway.service.diagnostics.trigger_watch.look_soon()


async def _create_trigger(scene: Scene) -> None:
    await asyncio.to_thread(scene.images.table.create)


async def _with_links(scene: Scene) -> Sections:
    await asyncio.to_thread(scene.images.table.create_links)
    return {"access": {"signed_links": {"keys": {"k1": "a-secret-of-at-least-thirty-two-bytes"}}}}


async def _create_links(scene: Scene) -> None:
    await asyncio.to_thread(scene.images.table.create_links)


async def _behind_pooler(scene: Scene) -> Sections:
    dsn = scene.request.getfixturevalue("postgres_dsn")
    scene.kept = scene.stack.enter_context(running_pgbouncer(dsn, scene.folder / "pgbouncer"))
    return {"postgres": {"dsn": scene.kept.dsn, "listen_dsn": dsn, "pool_size": 2, "timeout": 0.5}}


async def _fill_pooler(scene: Scene) -> None:
    """The application keeps the pooler's only connection in a transaction."""
    pooler, scene.kept = scene.kept, await asyncio.to_thread(psycopg2.connect, scene.kept.dsn)
    del pooler
    scene.stack.enter_context(closing(scene.kept))
    await asyncio.to_thread(scene.kept.cursor().execute, "SELECT 1")
    assert set(await scene.ask("/i/a", "/i/b")) == {503}


async def _free_pooler(scene: Scene) -> None:
    scene.kept.close()


async def _own_server(scene: Scene) -> Sections:
    """A server of its own, kept for all faults of servers."""
    server: PostgresServer = scene.request.getfixturevalue("mortal_postgres")
    scene.kept = server
    scene.images = Images(ImagesTable(server.dsn), scene.cos)
    await scene.images.execute("DELETE FROM images")
    return {"postgres": {"dsn": server.dsn, "timeout": 0.5}}


async def _kill(scene: Scene) -> None:
    await asyncio.to_thread(scene.kept.kill)
    assert await scene.ask("/i/a", "/i/b") == [503] * 2


async def _start(scene: Scene) -> None:
    await asyncio.to_thread(scene.kept.start)


async def _pause(scene: Scene) -> None:
    scene.kept.pause()
    assert await scene.ask("/i/a", "/i/b") == [503] * 2


async def _resume(scene: Scene) -> None:
    scene.kept.resume()


async def _become_standby(scene: Scene) -> None:
    """Start the server as a standby that follows nobody: what a fail-over leaves at the former address."""
    await asyncio.to_thread(_restart_as_standby, scene.kept)
    await until_answered(scene.gateway, "/i/a", 200)


async def _promote(scene: Scene) -> None:
    await scene.images.execute("SELECT pg_promote()")


def _restart_as_standby(server: PostgresServer) -> None:
    server.stop()
    (server.data.resolve() / "standby.signal").touch()
    server.start()


async def _change_password(scene: Scene) -> None:
    await scene.images.execute("ALTER ROLE row_reader PASSWORD 'another'")
    await scene.images.execute(_END_SESSIONS)
    assert await scene.ask("/i/a", "/i/b") == [503] * 2


async def _change_back(scene: Scene) -> None:
    await scene.images.execute("ALTER ROLE row_reader PASSWORD 'row_reader'")


OF_POSTGRES: Final = (
    Injected(
        "rows hidden by row level security",
        "dependency_degraded",
        "warning",
        _hide_rows,
        _sql("ALTER TABLE images DISABLE ROW LEVEL SECURITY"),
        prepare=_as_reader,
        light=("postgres", "degraded", f"row level security may hide rows of public.images from {READER}"),
        check=("warn  rows:", "run: CREATE POLICY"),
        headline=r"^postgres refuses a part of the requests\. .*row level security.* since ",
    ),
    Injected(
        "search path of another table",
        "dependency_degraded",
        "warning",
        _lead_elsewhere,
        _lead_back,
        prepare=_as_reader,
        light=("postgres", "degraded", "the search path leads to staging.images, and led to public.images before"),
        check=("warn  table: the search path leads to staging.images; there is also public.images",),
        advice="check the id",
    ),
    Injected(
        "rows gone",
        "answers_mostly",
        "warning",
        _delete_rows,
        _add_rows,
        check=("the query finds no active image",),
        advice="check the id",
    ),
    Injected(
        "column renamed",
        "dependency_down",
        "bad",
        _sql("ALTER TABLE images RENAME cos_key TO path", "/i/never-seen"),
        _sql("ALTER TABLE images RENAME path TO cos_key"),
        light=("postgres", "down", "cos_key"),
        check=("has no column cos_key",),
        advice="postgres.columns",
        headline=r"^postgres does not answer\. .*cos_key.* since ",
    ),
    Injected(
        "table locked",
        "dependency_down",
        "bad",
        _lock,
        _roll_back,
        prepare=_impatient,
        light=("postgres", "down", "holds AccessExclusiveLock of public.images"),
        check=("holds AccessExclusiveLock of public.images", "SELECT pg_terminate_backend"),
        advice="SELECT pg_terminate_backend",
    ),
    Injected(
        "right to read revoked",
        "dependency_down",
        "bad",
        _sql("REVOKE SELECT ON images FROM row_reader", "/i/a", "/i/b"),
        _sql("GRANT SELECT ON images TO row_reader"),
        prepare=_as_reader,
        light=("postgres", "down", "permission denied for table images"),
        check=("GRANT SELECT",),
        advice="check postgres.dsn",
    ),
    Injected(
        "password of Postgres changed",
        "dependency_down",
        "bad",
        _change_password,
        _change_back,
        prepare=_as_reader,
        light=("postgres", "down", "password authentication failed"),
        check=("password authentication failed",),
        advice="its user and password",
    ),
    Injected(
        "Postgres killed",
        "dependency_down",
        "bad",
        _kill,
        _start,
        prepare=_own_server,
        uses=("mortal_postgres",),
        light=("postgres", "down", "refused"),
        check=("refused",),
        advice="that Postgres runs",
    ),
    Injected(
        "Postgres hangs",
        "dependency_down",
        "bad",
        _pause,
        _resume,
        prepare=_own_server,
        uses=("mortal_postgres",),
        light=("postgres", "down", "no answer within"),
        advice="that Postgres runs",
    ),
    Injected(
        "fail-over leaves a read-only standby",
        "changes_not_heard",
        "warning",
        _become_standby,
        _promote,
        prepare=_own_server,
        uses=("mortal_postgres",),
        light=("changes", "degraded", "the notifications of Postgres"),
    ),
    Injected(
        "pooler full",
        "dependency_down",
        "bad",
        _fill_pooler,
        _free_pooler,
        prepare=_behind_pooler,
        light=("postgres", "down", "connections wait for a server, or a full pooler, that does not answer"),
        check=("a pooler before it is not full",),
        advice="a pooler before it is not full",
    ),
    Injected(
        "change trigger missing",
        "trigger_missing",
        "warning",
        _drop_trigger,
        _create_trigger,
        check=("warn  changes: no trigger on images notifies of changes", "sql changes"),
    ),
    Injected(
        "links table missing",
        "dependency_down",
        "bad",
        _sql("DROP TABLE image_gateway_links", "/i/a", "/i/b"),
        _create_links,
        prepare=_with_links,
        light=("postgres", "down", "image_gateway_links"),
        check=("fail  signed_links: there is no table image_gateway_links", "config/sql/links.sql"),
        advice="check postgres.dsn",
    ),
)
