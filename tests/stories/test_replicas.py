"""Two gateways on one Redis and one Postgres: what changes takes effect on both at once."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from gateway_dev.cos_emulator.server import CosEmulator
from gateway_dev.database import ImageRow
from tests.conftest import ADMIN_TOKEN, BUCKET, Answer, Images, RunningGateway, StartGateway, token_for
from tests.limits import LIMIT
from tests.waiting import until

ADMIN = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
# Seconds. It takes milliseconds, and the contract promises half a second; but a machine may be slow, and without being
# told a gateway would not know for an hour.
AT_ONCE = 10.0


@pytest.fixture
async def replicas(start_gateway: StartGateway, images: Images) -> list[RunningGateway]:
    """Two gateways that listen to changes."""
    started = [await start_gateway(url_cache={"local_ttl": 3600}) for _ in range(2)]
    for gateway in started:
        await heard_by(gateway, images)
    return started


async def heard_by(gateway: RunningGateway, images: Images) -> None:
    """Wait until the gateway listens: a change of a row reaches it."""
    await images.add("canary", b"1")
    async with asyncio.timeout(LIMIT):
        while True:
            await gateway.get("/i/canary")
            await images.execute("UPDATE images SET mime_type = 'image/' || md5(random()::text) WHERE id = 'canary'")
            await asyncio.sleep(0.02)
            misses = gateway.sample("url_cache_lookups_total", tier="local", result="miss")
            await gateway.get("/i/canary")
            if gateway.sample("url_cache_lookups_total", tier="local", result="miss") > misses:
                return


async def everywhere(
    replicas: list[RunningGateway], ask: Callable[[RunningGateway], Awaitable[Answer]], status: int
) -> None:
    """Every replica answers with ``status`` at once."""
    deadline = time.monotonic() + AT_ONCE
    for gateway in replicas:
        while (answer := await ask(gateway)).status != status:
            assert time.monotonic() < deadline, f"{answer.status} is not {status}"
            await asyncio.sleep(0.01)


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
        await everywhere(replicas, lambda gateway: gateway.get("/i/a"), 404)
        await everywhere(replicas, lambda gateway: gateway.get("/api/v1/images/a/url"), 404)
        for gateway in replicas:  # and it stays so with every entry in Redis
            assert (await gateway.get("/i/a")).status == 404

    async def test_a_new_owner(self, replicas: list[RunningGateway], images: Images) -> None:
        await images.execute("UPDATE images SET is_public = false, user_id = 'bob' WHERE id = 'a'")
        await everywhere(replicas, lambda gateway: gateway.get("/i/a", user="alice"), 404)
        await everywhere(replicas, lambda gateway: gateway.get("/i/a", user="bob"), 200)

    async def test_a_new_key(self, replicas: list[RunningGateway], images: Images, cos: CosEmulator) -> None:
        cos.store.put(BUCKET, "new.png", b"new bytes", content_type="image/png")
        await images.execute("UPDATE images SET cos_key = 'new.png' WHERE id = 'a'")
        deadline = time.monotonic() + AT_ONCE
        for gateway in replicas:
            while (await gateway.get("/i/a")).body != b"new bytes":
                assert time.monotonic() < deadline
                await asyncio.sleep(0.01)

    async def test_many_rows_in_one_statement(self, replicas: list[RunningGateway], images: Images) -> None:
        rows = [ImageRow(f"id-{number}", None, f"k-{number}", public=True) for number in range(1500)]
        await asyncio.to_thread(images.table.put, rows)
        for gateway in replicas:
            for number in (0, 700, 1499):
                assert (await gateway.get(f"/api/v1/images/id-{number}/url")).status == 200
        await images.execute("UPDATE images SET storage_status = 'deleted' WHERE id LIKE 'id-%%'")
        for number in (0, 700, 1499):
            path = f"/api/v1/images/id-{number}/url"
            await everywhere(replicas, lambda gateway, path=path: gateway.get(path), 404)  # type: ignore[misc]


class TestUnknownImages:
    """Many requests for missing images cost little, and a new image is found soon."""

    async def test_two_hundred_requests_cost_a_query(self, replicas: list[RunningGateway]) -> None:
        gateway = replicas[0]
        answers = await asyncio.gather(*(gateway.get("/i/never-there") for _ in range(200)))
        assert {answer.status for answer in answers} == {404}
        assert gateway.sample("catalog_queries_total", result="missing") <= 3

    async def test_an_image_that_appears_is_served_soon(self, replicas: list[RunningGateway], images: Images) -> None:
        assert (await replicas[0].get("/i/late")).status == 404
        await images.add("late")
        async with asyncio.timeout(LIMIT):
            while (await replicas[0].get("/i/late")).status != 200:
                await asyncio.sleep(0.05)


class TestTellingTheOthers:
    """Without Postgres: forced refresh and purge go through Redis."""

    @pytest.fixture
    async def deaf(self, start_gateway: StartGateway, images: Images) -> list[RunningGateway]:
        """Two gateways that do not listen to Postgres."""
        started = [await start_gateway(url_cache={"local_ttl": 3600}, postgres={"listen": False}) for _ in range(2)]
        await images.add("canary", b"1", owner="alice")
        for speaker, listener in (started, reversed(started)):
            async with asyncio.timeout(LIMIT):
                while True:
                    url = (await listener.get("/api/v1/images/canary/url")).json()["data"]["url"]
                    await speaker.request("POST", "/api/v1/images/canary/url/refresh", admin=True, headers=ADMIN)
                    await asyncio.sleep(0.02)
                    if (await listener.get("/api/v1/images/canary/url")).json()["data"]["url"] != url:
                        break  # a URL signed in the same second is the same URL, so this may take one
        return started

    async def test_a_forced_refresh_is_seen_by_all(self, deaf: list[RunningGateway], images: Images) -> None:
        await images.add("a", owner="alice")
        for gateway in deaf:
            await gateway.get("/i/a")
        refreshed = await deaf[0].request("POST", "/api/v1/images/a/url/refresh", admin=True, headers=ADMIN)
        url = refreshed.json()["data"]["url"]
        deadline = time.monotonic() + AT_ONCE
        for gateway in deaf:
            while (await gateway.get("/api/v1/images/a/url")).json()["data"]["url"] != url:
                assert time.monotonic() < deadline
                await asyncio.sleep(0.01)

    async def test_a_forced_refresh_costs_no_bytes_of_cos(self, deaf: list[RunningGateway], images: Images) -> None:
        """The URL is new, the image is not."""
        await images.add("a", owner="alice")
        for gateway in deaf:
            await gateway.get("/i/a")
        before = [gateway.sample("origin_requests_total", status="200") for gateway in deaf]
        misses = deaf[1].sample("url_cache_lookups_total", tier="local", result="miss")

        async def is_looked_up_again() -> bool:
            await deaf[1].get("/api/v1/images/a/url")
            return deaf[1].sample("url_cache_lookups_total", tier="local", result="miss") > misses

        assert (await deaf[0].request("POST", "/api/v1/images/a/url/refresh", admin=True, headers=ADMIN)).status == 200
        await until(is_looked_up_again)
        for gateway in deaf:
            assert (await gateway.get("/i/a")).body == b"bytes of an image"
        assert [gateway.sample("origin_requests_total", status="200") for gateway in deaf] == before

    async def test_a_purge_is_obeyed_by_all(self, deaf: list[RunningGateway], images: Images) -> None:
        await images.add("a", owner="alice")
        for gateway in deaf:
            await gateway.get("/i/a")
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
        await everywhere(deaf, lambda gateway: gateway.get("/i/a"), 404)


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
    deadline = time.monotonic() + LIMIT
    for gateway in replicas:
        while (await gateway.get("/i/a")).status != 404:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.02)
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
