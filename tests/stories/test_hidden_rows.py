"""Faults of the database that make nothing fail: rows are hidden, another table is read, a table is locked."""

import asyncio
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2
import pytest
import yaml
from psycopg2.extensions import make_dsn

from gateway_dev.database import ImagesTable
from tests.conftest import Images, RunningGateway, StartGateway
from tests.processes import run_gateway
from tests.waiting import until


@pytest.fixture
def role_dsn(images_table: ImagesTable, postgres_dsn: str) -> Iterator[str]:
    """The DSN of a user that may read the table, and has no rights over it."""
    images_table.execute("CREATE ROLE plain LOGIN PASSWORD 'plain'; GRANT SELECT ON images TO plain")
    yield make_dsn(postgres_dsn, user="plain", password="plain")
    images_table.execute(
        "ALTER TABLE images DISABLE ROW LEVEL SECURITY; DROP SCHEMA IF EXISTS staging CASCADE; "
        "DROP OWNED BY plain; DROP ROLE plain"
    )


@pytest.fixture
def config_file(raw_settings: dict[str, dict[str, Any]], tmp_path: Path, forked_commands: None) -> Path:
    """The configuration that ``check`` reads."""
    del forked_commands
    file = tmp_path / "gateway.yaml"
    file.write_text(yaml.safe_dump(raw_settings))
    return file


async def until_said(gateway: RunningGateway, state: str, reason: str = "") -> None:
    """Return when ``/readyz`` of the admin port has this state of Postgres, for this reason."""

    async def is_said() -> bool:
        answer: Any = (await gateway.get("/readyz", admin=True)).json()
        return answer["checks"]["postgres"] == state and reason in answer["reasons"].get("postgres", "")

    await until(is_said, what=f"{state}: {reason}")


async def test_row_level_security_that_hides_images_is_a_light_and_a_warning_with_a_repair(
    start_gateway: StartGateway, images: Images, role_dsn: str, config_file: Path
) -> None:
    await images.add("cat")
    gateway = await start_gateway(postgres={"dsn": role_dsn})
    await until_said(gateway, "ok")
    await images.execute("ALTER TABLE images ENABLE ROW LEVEL SECURITY")
    await until_said(gateway, "degraded", "row level security may hide rows of public.images from plain")
    assert (await gateway.get("/i/cat")).status == 404
    assert gateway.sample("dependency_up", dependency="postgres") == 0

    environment = {"GATEWAY_POSTGRES__DSN": role_dsn}
    code, output = await run_gateway("check", "--config", str(config_file), "--before-start", environment=environment)
    assert code == 0
    assert "warn  postgres: the query finds no active image" in output
    (policy,) = [line.split("run: ")[1] for line in output.splitlines() if "run: CREATE POLICY" in line]
    await images.execute(policy)
    await until_said(gateway, "ok")


async def test_a_search_path_that_leads_to_another_table_is_a_light_and_a_warning(
    start_gateway: StartGateway, images: Images, role_dsn: str, config_file: Path
) -> None:
    await images.add("cat")
    gateway = await start_gateway(postgres={"dsn": role_dsn, "pool_size": 1})
    await until_said(gateway, "ok")
    await images.execute(
        "CREATE SCHEMA staging; CREATE TABLE staging.images (LIKE images INCLUDING ALL); "
        "GRANT USAGE ON SCHEMA staging TO plain; GRANT SELECT ON staging.images TO plain; "
        "ALTER ROLE plain SET search_path = staging, public; "
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'plain'"
    )
    await until_said(gateway, "degraded", "the search path leads to staging.images, and led to public.images before")
    assert (await gateway.get("/i/cat")).status == 404

    environment = {"GATEWAY_POSTGRES__DSN": role_dsn}
    code, output = await run_gateway("check", "--config", str(config_file), environment=environment)
    assert code == 0
    assert "warn  table: the search path leads to staging.images; there is also public.images" in output


async def test_a_lock_is_named_by_readiness_and_by_check(
    start_gateway: StartGateway, images: Images, postgres_dsn: str, config_file: Path
) -> None:
    await images.add("cat")
    gateway = await start_gateway()
    holder: psycopg2.extensions.connection = await asyncio.to_thread(
        psycopg2.connect, postgres_dsn, application_name="migration"
    )
    with closing(holder):
        await asyncio.to_thread(holder.cursor().execute, "ALTER TABLE images ADD note text")
        holds = f"pid {holder.info.backend_pid} ("
        await until_said(gateway, "down", holds)
        await until_said(gateway, "down", "holds AccessExclusiveLock of public.images")
        code, output = await run_gateway(
            "check", "--config", str(config_file), environment={"GATEWAY_POSTGRES__TIMEOUT": "2"}
        )
        assert code == 1
        assert holds in output
        assert "SELECT pg_terminate_backend" in output
    await until_said(gateway, "ok")
    assert (await gateway.get("/i/cat")).status == 200
