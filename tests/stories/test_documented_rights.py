"""The rights that the documents give the gateway's users of Postgres and Redis: enough, and no more."""

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psycopg2
import pytest
import redis
from psycopg2.extensions import make_dsn, parse_dsn

from gateway_dev.database import ImagesTable
from tests.conftest import ADMIN_TOKEN, Images, StartGateway, token_for
from tests.waiting import until, until_ready

DOCS = Path(__file__).parents[2] / "docs"
ADMIN = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
ALICE = {"Authorization": f"Bearer {token_for('alice')}"}
LINKS = {"signed_links": {"keys": {"k1": "0123456789abcdef0123456789abcdef"}}}


def in_documents(page: str, pattern: str) -> str:
    found: list[str] = re.findall(pattern, (DOCS / page).read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    assert len(set(found)) == 1, found
    return found[0]


def acl(client: "redis.Redis", *arguments: str) -> object:
    return client.execute_command("ACL", *arguments)  # type: ignore[no-untyped-call]


@pytest.fixture
def restricted_dsn(postgres_dsn: str, links_table: ImagesTable) -> Iterator[str]:
    """The DSN of the role that docs/production.md makes, with the grant for signed links."""
    sql = in_documents("production.md", r"^```sql\n(.*?)^```$")
    sql += in_documents("production.md", r"`(GRANT [^`]* image_gateway_links TO image_gateway)`")
    links_table.execute(sql.replace("DATABASE app", f'DATABASE "{parse_dsn(postgres_dsn)["dbname"]}"'))
    yield make_dsn(postgres_dsn, user="image_gateway", password="a-long-password")
    links_table.execute("DROP OWNED BY image_gateway; DROP ROLE image_gateway")


@pytest.fixture
def restricted_redis(redis_url: str, redis_client: "redis.Redis") -> Iterator[str]:
    """The URL of Redis for the user of the documents, whose refused commands are in ``ACL LOG``."""
    for page in ("set-up.md", "production.md"):
        rules = in_documents(page, r"^ACL SETUSER image_gateway on >\S+ (.*?)$")
        acl(redis_client, "SETUSER", "image_gateway", "reset", "on", ">a-word", *rules.split())
    acl(redis_client, "LOG", "RESET")
    parts = urlsplit(redis_url)
    yield parts._replace(netloc=f"image_gateway:a-word@{parts.netloc.rpartition('@')[2]}").geturl()
    acl(redis_client, "DELUSER", "image_gateway")


async def test_a_gateway_has_all_the_rights_that_it_uses(
    start_gateway: StartGateway, images: Images, redis_client: "redis.Redis", restricted_dsn: str, restricted_redis: str
) -> None:
    await images.add("cat", b"an image", owner="alice")
    started = {
        "postgres": {"dsn": restricted_dsn},
        "redis": {"url": restricted_redis},
        "access": LINKS,
        "purge": {"target": "webhook", "url": "http://127.0.0.1:1/"},
        "url_prerefresh": {"interval": 1},
    }
    replicas = [await start_gateway(**started) for _ in range(2)]
    for gateway in replicas:
        assert (await gateway.get("/i/cat", user="alice")).status == 200
        assert (await gateway.get("/api/v1/images/cat/url", user="alice")).status == 200
    gateway, other = replicas
    assert (await gateway.request("POST", "/api/v1/images/cat/url/refresh", headers=ALICE)).status == 200
    assert (await gateway.get("/api/v1/images/cat/status", user="alice")).status == 200
    assert (await gateway.get("/api/v1/images/cat/meta", user="alice")).status == 200
    assert (await gateway.request("DELETE", "/api/v1/images/cat/links", headers=ALICE)).status == 200
    await gateway.publish_replica()
    question = await gateway.redis.questions.ask("cat")

    async def is_answered() -> bool:
        return [answer.name for answer in await gateway.redis.questions.answers(question)] == [
            other.replica_name  # no process answers itself
        ]

    await until(is_answered, what="the answer")
    purged = await gateway.request(
        "POST", "/api/v1/cache/purge", admin=True, headers=ADMIN, json={"image_ids": ["cat"]}
    )
    assert purged.status == 200
    for path in ("monitoring/queue", "monitoring/stats", "monitoring/stats/daily", "monitoring/console"):
        assert (await other.get(f"/api/v1/{path}")).status in (200, 404)
        assert (await other.request("GET", f"/api/v1/{path}", admin=True)).status == 200
    requeued = await gateway.request("POST", "/api/v1/monitoring/queue/requeue", admin=True, headers=ADMIN)
    assert requeued.status == 200
    for replica in replicas:
        await until_ready(replica.ports.public)
        checks = (await replica.get("/readyz")).json()["checks"]
        assert {name: checks[name] for name in ("redis", "postgres")} == {"redis": "ok", "postgres": "ok"}
    await until(lambda: redis_client.exists("image:replicas"), what="a point of the replicas")
    assert acl(redis_client, "LOG") == [], "refused commands"


def test_the_users_may_do_nothing_else(restricted_dsn: str, restricted_redis: str) -> None:
    with redis.Redis.from_url(restricted_redis) as client:
        for command in (
            ["FLUSHALL"],
            ["GET", "other:key"],
            ["CONFIG", "GET", "*"],
            ["PUBLISH", "other", "x"],
            ["KEYS", "*"],
        ):
            with pytest.raises(redis.exceptions.NoPermissionError):
                client.execute_command(*command)
    with psycopg2.connect(restricted_dsn) as connection, connection.cursor() as cursor:
        for statement in ("DELETE FROM images", "DELETE FROM image_gateway_links", "CREATE TABLE images_of_mine ()"):
            with pytest.raises(psycopg2.errors.InsufficientPrivilege):
                cursor.execute(statement)
            connection.rollback()
    connection.close()
