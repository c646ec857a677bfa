"""Two gateways on one Redis and one Postgres: what changes takes effect on both at once."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import redis

from gateway_dev.cos_emulator.server import CosEmulator
from gateway_dev.database import ImageRow
from tests.conftest import ADMIN_TOKEN, BUCKET, Answer, Images, RunningGateway, StartGateway, token_for
from tests.waiting import until, until_listening

ADMIN = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
# Seconds. It takes milliseconds, and the contract promises half a second; but a machine may be slow, and without being
# told a gateway would not know for an hour.
AT_ONCE = 10.0


@pytest.fixture
async def replicas(start_gateway: StartGateway, images: Images, redis_client: "redis.Redis") -> list[RunningGateway]:
    """Two gateways that listen to changes."""
    del images  # but their table is there
    started = [await start_gateway(url_cache={"local_ttl": 3600}) for _ in range(2)]
    for gateway in started:
        await until_listening(gateway, redis_client)
    return started


async def everywhere(
    replicas: list[RunningGateway], path: str, is_expected: Callable[[Answer], bool], user: str | None = None
) -> None:
    """Every replica answers as expected at once."""
    for gateway in replicas:

        async def is_so(gateway: RunningGateway = gateway) -> bool:
            return is_expected(await gateway.get(path, user=user))

        await until(is_so, seconds=AT_ONCE, what=f"the answer to {path}")


def is_missing(answer: Answer) -> bool:
    return answer.status == 404


class TestChangesOfARow:
    """Each is obeyed by every replica at once."""

    @pytest.fixture(autouse=True)
    async def warm(self, replicas: list[RunningGateway], images: Images) -> None:
        await images.add("a", b"old bytes", owner="alice", public=True)
        for gateway in replicas:
            assert (await gateway.get("/i/a")).status == 200
            assert (await gateway.get("/api/v1/images/a/url")).json()["data"]["from_cache"]

    @pytest.mark.parametrize(
        "sql",
        [
            "UPDATE images SET storage_status = 'deleted' WHERE id = 'a'",
            "DELETE FROM images WHERE id = 'a'",
            "UPDATE images SET is_public = false WHERE id = 'a'",
            "UPDATE images SET id = 'b' WHERE id = 'a'",
        ],
        ids=["deleted", "row removed", "made private", "renamed"],
    )
    async def test_an_image_that_is_taken_away(self, replicas: list[RunningGateway], images: Images, sql: str) -> None:
        await images.execute(sql)
        await everywhere(replicas, "/i/a", is_missing)
        await everywhere(replicas, "/api/v1/images/a/url", is_missing)
        for gateway in replicas:  # and it stays so with every entry in Redis
            assert (await gateway.get("/i/a")).status == 404

    async def test_a_new_owner(self, replicas: list[RunningGateway], images: Images) -> None:
        await images.execute("UPDATE images SET is_public = false, user_id = 'bob' WHERE id = 'a'")
        await everywhere(replicas, "/i/a", is_missing, user="alice")
        await everywhere(replicas, "/i/a", lambda answer: answer.status == 200, user="bob")

    async def test_a_new_key(self, replicas: list[RunningGateway], images: Images, cos: CosEmulator) -> None:
        cos.store.put(BUCKET, "new.png", b"new bytes", content_type="image/png")
        await images.execute("UPDATE images SET cos_key = 'new.png' WHERE id = 'a'")
        await everywhere(replicas, "/i/a", lambda answer: answer.body == b"new bytes")

    async def test_many_rows_in_one_statement(self, replicas: list[RunningGateway], images: Images) -> None:
        rows = [ImageRow(f"id-{number}", None, f"k-{number}", public=True) for number in range(1500)]
        await asyncio.to_thread(images.table.put, rows)
        for gateway in replicas:
            for number in (0, 700, 1499):
                assert (await gateway.get(f"/api/v1/images/id-{number}/url")).status == 200
        await images.execute("UPDATE images SET storage_status = 'deleted' WHERE id LIKE 'id-%%'")
        for number in (0, 700, 1499):
            await everywhere(replicas, f"/api/v1/images/id-{number}/url", is_missing)


class TestTellingTheOthers:
    """Without Postgres: forced refresh and purge go through Redis."""

    @pytest.fixture
    async def deaf(
        self, start_gateway: StartGateway, images: Images, redis_client: "redis.Redis"
    ) -> list[RunningGateway]:
        """Two gateways that do not listen to Postgres, and have an image."""
        started = [await start_gateway(url_cache={"local_ttl": 3600}, postgres={"listen": False}) for _ in range(2)]
        await until(lambda: redis_client.pubsub_numsub("image:changes")[0][1] == 2, what="the subscriptions")
        await images.add("a", owner="alice")
        for gateway in started:
            await gateway.get("/i/a")
        return started

    async def test_a_forced_refresh_is_seen_by_all_and_costs_no_bytes_of_cos(self, deaf: list[RunningGateway]) -> None:
        """The URL is new, the image is not."""
        before = [gateway.sample("origin_requests_total", status="200") for gateway in deaf]
        refreshed = await deaf[0].request("POST", "/api/v1/images/a/url/refresh", admin=True, headers=ADMIN)
        url = refreshed.json()["data"]["url"]
        await everywhere(deaf, "/api/v1/images/a/url", lambda answer: answer.json()["data"]["url"] == url)
        for gateway in deaf:
            assert (await gateway.get("/i/a")).body == b"bytes of an image"
        assert [gateway.sample("origin_requests_total", status="200") for gateway in deaf] == before

    async def test_a_purge_is_obeyed_by_all(self, deaf: list[RunningGateway], images: Images) -> None:
        await images.execute("UPDATE images SET is_public = false WHERE id = 'a'")
        for gateway in deaf:
            assert (await gateway.get("/i/a")).status == 200  # no replica was notified
        body = {"image_ids": ["a"]}
        assert (await deaf[0].request("POST", "/api/v1/cache/purge", admin=True, json=body)).status == 401
        stranger = {"Authorization": f"Bearer {token_for('alice')}"}
        answer = await deaf[0].request("POST", "/api/v1/cache/purge", admin=True, json=body, headers=stranger)
        assert answer.status == 401
        answer = await deaf[0].request("POST", "/api/v1/cache/purge", admin=True, json=body, headers=ADMIN)
        assert (answer.status, answer.json()["data"]) == (200, {"purged": 1, "heard_by": 2})
        await everywhere(deaf, "/i/a", is_missing)


async def test_entries_of_a_replica_with_another_key_are_counted_as_foreign(
    start_gateway: StartGateway, images: Images
) -> None:
    """Each replaces the entries of the other, so that neither has a cache, and no client notices."""
    settings = {"url_cache": {"local_ttl": 0}, "postgres": {"listen": False}}
    started = [await start_gateway(redis={"entry_key": key * 32}, **settings) for key in "ab"]
    await images.add("a")
    labels = {"tier": "redis", "result": "foreign"}
    for gateway in started:  # from the start, so that an alert sees the first one
        assert gateway.registry.get_sample_value("image_gateway_url_cache_lookups_total", labels) == 0
    for gateway in (*started, *started):
        assert (await gateway.get("/i/a")).status == 200
    assert [gateway.sample("url_cache_lookups_total", tier="redis", result="foreign") for gateway in started] == [1, 2]
    assert [gateway.sample("url_cache_lookups_total", tier="redis", result="miss") for gateway in started] == [1, 0]
    assert [gateway.sample("url_cache_lookups_total", tier="redis", result="hit") for gateway in started] == [0, 0]


@pytest.fixture
async def _other_table(images: Images) -> AsyncIterator[None]:
    """A table in which the image ``a`` is private."""
    await images.execute(
        "CREATE TABLE other_images (LIKE images INCLUDING ALL); "
        "INSERT INTO other_images (id, cos_key, is_public, storage_status) VALUES ('a', 'a', false, 'active')"
    )
    yield
    await images.execute("DROP TABLE other_images")


@pytest.mark.usefixtures("_other_table")
@pytest.mark.parametrize(
    ("other", "status", "shares"),
    [
        ({"postgres": {"columns": {"public": None}}}, 404, False),
        ({"postgres": {"table": "other_images"}}, 404, False),
        ({"cos": {"bucket": "other-1250000000"}}, 200, False),
        ({"cos": {"buckets": {"more-1250000000": {"region": "ap-beijing"}}}}, 200, True),
    ],
    ids=["no column says public", "another table", "another bucket", "one more bucket"],
)
@pytest.mark.parametrize("is_first", [True, False], ids=["the other one last", "the other one first"])
async def test_replicas_use_no_entries_of_a_replica_whose_rows_say_other_things(
    start_gateway: StartGateway,
    images: Images,
    other: dict[str, dict[str, Any]],
    status: int,
    *,
    shares: bool,
    is_first: bool,
) -> None:
    """As in a rolling change: each answers by its own rows, whichever of the two wrote the entry in Redis."""
    await images.add("a")
    usual: dict[str, dict[str, Any]] = {"url_cache": {"local_ttl": 0}, "postgres": {"listen": False}}
    sections = {name: {**usual.get(name, {}), **other.get(name, {})} for name in usual | other}
    both = [(await start_gateway(**usual), 200), (await start_gateway(**sections), status)]
    for _ in range(2):
        for gateway, expected in both if is_first else reversed(both):
            assert (await gateway.get("/i/a")).status == expected
    hits = [gateway.sample("url_cache_lookups_total", tier="redis", result="hit") for gateway, _ in both]
    foreign = [gateway.sample("url_cache_lookups_total", tier="redis", result="foreign") for gateway, _ in both]
    assert (sum(hits), sum(foreign)) == ((3, 0) if shares else (0, 3))


async def test_a_gap_in_listening_is_followed_by_reading_the_rows_again(
    replicas: list[RunningGateway], images: Images
) -> None:
    await images.add("a")
    await images.add("b")
    for gateway in replicas:
        await gateway.get("/i/a")
        await gateway.get("/i/b")
    url = (await replicas[0].get("/api/v1/images/b/url")).json()["data"]["url"]
    # Both listeners are cut off, and the change comes before they are back.
    await images.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'image-gateway-changes'"
    )
    await images.execute("SET LOCAL session_replication_role = replica; DELETE FROM images WHERE id = 'a'")
    await everywhere(replicas, "/i/a", is_missing)
    again = (await replicas[0].get("/api/v1/images/b/url")).json()["data"]
    assert (again["url"], again["from_cache"]) == (url, True)


async def test_the_console_shows_what_happened_to_another_replica(start_gateway: StartGateway) -> None:
    first, second = [await start_gateway() for _ in range(2)]
    await second.reload(logging={"access_sample": 0.5})
    await second.publish_replica()
    shown = (await first.get("/api/v1/monitoring/console", admin=True)).json()["data"]
    events = [(event["name"], event.get("replica")) for event in shown["events"]]
    assert events == [("started", None), ("reloaded", second.replica_name)]
    assert shown["events"][-1]["values"] == {"keys": "logging.access_sample"}
