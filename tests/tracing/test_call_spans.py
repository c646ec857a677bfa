"""The spans of calls to Redis and Postgres."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from opentelemetry.proto.trace.v1.trace_pb2 import Status
from psycopg2.extensions import parse_dsn

from tests.conftest import Images, StartGateway
from tests.tracing.collector import Collector, attributes_of
from tests.waiting import until

ON: dict[str, Any] = {"enabled": True}
NO_SERVER = {"dsn": "postgresql://images:a-password@127.0.0.1:1/images"}


@pytest.fixture
def redis_user(redis_url: str) -> Iterator[str]:
    """A user of Redis with all rights and no password."""
    with redis.Redis.from_url(redis_url) as admin:
        admin.acl_setuser("traced", enabled=True, nopass=True, keys=["*"], channels=["*"], categories=["+@all"])
        yield "traced"
        admin.acl_deluser("traced")


async def test_a_query_says_operation_table_and_server(
    collector: Collector, start_gateway: StartGateway, images: Images, postgres_dsn: str
) -> None:
    await images.add("cat")
    gateway = await start_gateway(tracing=ON)
    await gateway.get("/i/cat")
    await until(lambda: collector.named("SELECT images"))
    found = attributes_of(collector.named("SELECT images")[0])
    server = parse_dsn(postgres_dsn)
    assert found == {
        "db.system.name": "postgresql",
        "db.operation.name": "SELECT",
        "db.collection.name": "images",
        "server.address": server["host"],
        **({"server.port": int(server["port"])} if "port" in server else {}),
    }


async def test_a_command_says_no_keys_and_no_values(
    collector: Collector, start_gateway: StartGateway, images: Images, redis_url: str
) -> None:
    await images.add("secret-id")
    gateway = await start_gateway(tracing=ON)
    await gateway.get("/i/secret-id")
    await gateway.request("POST", "/api/v1/images/urls", json={"ids": ["secret-id", "other"]})
    await until(lambda: collector.named("POST /api/v1/images/urls"))
    commands = [span for span in collector.spans if attributes_of(span).get("db.system.name") == "redis"]
    assert commands
    for span in commands:
        found = attributes_of(span)
        assert span.name == found.pop("db.operation.name")
        assert span.name.isupper()
        found.pop("db.operation.batch.size", None)
        assert found.keys() <= {"db.system.name", "server.address", "server.port"}
        assert str(found.get("server.port", "")) in redis_url
    assert "secret-id" not in str(commands)


async def test_failures_name_their_class_and_the_sqlstate(
    collector: Collector, start_gateway: StartGateway, images: Images, redis_user: str, redis_url: str
) -> None:
    gateway = await start_gateway(tracing=ON, redis={"url": redis_url.replace("redis://", f"redis://{redis_user}:-@")})
    with redis.Redis.from_url(redis_url) as admin:  # a refused command is tried anew at each request
        await asyncio.to_thread(admin.acl_setuser, redis_user, enabled=True, nopass=True, reset_keys=True)
    await images.execute("ALTER TABLE images RENAME cos_key TO path")
    try:
        assert (await gateway.get("/i/cat")).status == 503
    finally:
        await images.execute("ALTER TABLE images RENAME path TO cos_key")
    await until(lambda: collector.named("GET /i/{image_id}"))
    query = collector.named("SELECT images")[0]
    found = attributes_of(query)
    assert (found["error.type"], found["db.response.status_code"]) == ("UndefinedColumn", "42703")
    assert query.status.code == Status.STATUS_CODE_ERROR
    assert (query.status.message, list(query.events)) == ("", [])
    commands = [attributes_of(span) for span in collector.spans]
    refused = [command for command in commands if command.get("db.system.name") == "redis"]
    assert {command["error.type"] for command in refused} == {"NoPermissionError"}


async def test_a_postgres_that_is_away_is_an_error(
    collector: Collector, start_gateway: StartGateway, images: Images
) -> None:
    del images
    gateway = await start_gateway(tracing=ON, postgres=NO_SERVER, redis={"url": "redis://:a-password@127.0.0.1:1/0"})
    assert (await gateway.get("/i/cat")).status == 503
    await until(lambda: collector.named("GET /i/{image_id}"))
    (query,) = collector.named("SELECT images")
    found = attributes_of(query)
    assert (found["server.address"], found["server.port"]) == ("127.0.0.1", 1)
    assert found["error.type"] == "OperationalError"
    assert "a-password" not in collector.text()


@pytest.mark.parametrize("topology", ["redis+sentinel://:p@a:1,b:2/m/0", "redis+cluster://:p@a:1,b:2", "unix:///s"])
def test_of_several_servers_none_is_named(topology: str) -> None:
    from pydantic import SecretStr

    from gateway.settings import RedisSettings

    assert RedisSettings(url=SecretStr(topology)).server() == (None, None)
