"""The data that the console polls, its guards, and the cost of a poll."""

import json
import logging
import re
import time
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import redis
from pydantic import ValidationError

import gateway as package
from gateway.metrics.registry import VERSION
from gateway.presign.style_variants import ImageVariant
from tests.conftest import ADMIN_TOKEN, BUCKET, Images, RunningGateway, StartGateway
from tests.limits import LIMIT
from tests.ports import reserved_port
from tests.processor import slowness
from tests.waiting import until, until_ready

ADMIN = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
CONSOLE = "/api/v1/monitoring/console"
SCRIPT = Path(package.__file__).parent / "web" / "console" / "console.js"
# Seconds between two polls of the page.
POLL = int(re.findall(r"^const POLL = (\d+);", SCRIPT.read_text(encoding="utf-8"), flags=re.MULTILINE)[0]) / 1000


async def data(gateway: RunningGateway, path: str = CONSOLE) -> dict[str, Any]:
    answer = await gateway.get(path, admin=True)
    assert answer.status == 200, answer.body
    found: dict[str, Any] = answer.json()["data"]
    return found


async def test_requests_become_points_and_errors_name_their_last_image(gateway: RunningGateway, images: Images) -> None:
    await images.add("a")
    await gateway.get("/i/a")
    await gateway.get("/i/never-there")
    point = gateway.service.diagnostics.replica.history.record(time.time())
    await until_ready(gateway.ports.public)
    shown = await data(gateway)
    assert shown["status"] == "ready"
    assert shown["symptoms"] == []
    assert shown["points"]["fine"] == [json.loads(json.dumps(point.as_json()))]
    counts = shown["points"]["fine"][0]["counts"]
    assert (counts["status 200"], counts["status 404"]) == (1, 1)
    assert {error["code"]: error["image_id"] for error in shown["errors"]} == {"image_not_found": "never-there"}
    assert {light["name"]: light["state"] for light in shown["dependencies"]} == dict.fromkeys(
        ("redis", "postgres", "cos", "changes"), "ok"
    )
    assert all(light["seconds"] >= 0 for light in shown["dependencies"])
    later = await data(gateway, f"{CONSOLE}?since={int(time.time()) + 1}")
    assert later["points"] == {"fine": [], "coarse": []}
    await images.add("b")
    images.cos.store.delete(BUCKET, "objects/b.png")
    await gateway.get("/i/b")
    gateway.service.diagnostics.replica.history.record(time.time())
    found = {symptom["name"]: symptom["values"] for symptom in (await data(gateway))["symptoms"]}
    assert found["objects_missing"] == {"bucket": BUCKET, "code": "NoSuchKey", "count": 1}


async def test_credentials_are_shown_with_their_life_and_their_buckets(start_gateway: StartGateway) -> None:
    gateway = await start_gateway()
    never_end = {"source": "static", "buckets": [BUCKET], "state": "ok", "seconds_left": None, "reason": None}
    assert (await data(gateway))["credentials"] == [never_end]
    ends = int(time.time()) + 2000
    other = {"region": "ap-beijing", "credentials": {"source": "file", "path": "/never/there.json"}}
    gateway = await start_gateway(
        cos={"token": "t", "token_expires_at": ends, "buckets": {"other-1250000000": other}},
        redis={"entry_key": "k" * 32},
    )
    shown = await data(gateway)
    first, second = shown["credentials"]
    assert (first["state"], second["state"]) == ("ok", "ended")
    assert 1990 <= first["seconds_left"] <= 2000
    assert (second["source"], second["buckets"], second["seconds_left"]) == ("file", ["other-1250000000"], 0)
    assert "/never/there.json" in second["reason"]
    assert ("credentials_ended", "bad") in [(symptom["name"], symptom["level"]) for symptom in shown["symptoms"]]


async def test_an_invalid_time_is_a_400_which_is_not_among_the_errors_of_clients(gateway: RunningGateway) -> None:
    for since in ("-1", "x", "1.5", "", "1" * 4301, "\u0667"):
        assert (await gateway.get(CONSOLE, admin=True, params={"since": since})).status == 400, since
    assert (await data(gateway))["errors"] == []


async def test_renewals_are_shown_by_minute_and_ten_thousand_dead_ones_by_a_hundred(gateway: RunningGateway) -> None:
    queue, now = gateway.redis.queue, time.time()
    await queue.schedule({ImageVariant("soon"): now + 90, ImageVariant("later"): now + 5000})
    [server] = gateway.redis.shards.servers.all
    entry = json.dumps({"reason": "<b>no such key</b> sign=secret", "at": now, "attempts": 5})
    await server.client.hset("image:refresh:dead", mapping={f"i{number}": entry for number in range(10_000)})
    renewals = (await data(gateway))["renewals"]
    assert (renewals["queued"], renewals["due"], renewals["dead"]) == (2, 0, 10_000)
    assert renewals["by_minute"] == [0, 1, *[0] * 13]
    assert len(renewals["dead_entries"]) == 100
    assert renewals["dead_entries"][0]["reason"] == "<b>no such key</b> sign=***"


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])  # noqa: S104 - every address of the test machine
async def test_commands_reach_the_admin_port_on_the_machine_of_the_gateway(
    start_gateway: StartGateway, host: str
) -> None:
    with reserved_port(host) as port:
        gateway = await start_gateway(admin={"host": host, "port": port, "token": ADMIN_TOKEN})
        assert (await data(gateway))["address"] == f"127.0.0.1:{port}"


async def test_without_redis_the_rest_is_shown_and_the_cause_is_named(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(redis={"url": "redis://127.0.0.1:1"})

    async def is_degraded() -> bool:
        return bool((await gateway.get("/readyz")).json()["status"] == "degraded")

    await until(is_degraded)
    shown = await data(gateway)
    assert (shown["status"], shown["renewals"]) == ("degraded", None)
    assert [replica["name"] for replica in shown["replicas"]] == [shown["replica"]]
    down = shown["symptoms"][0]
    assert (down["name"], down["level"], down["values"]) == ("dependency_down", "bad", {"dependency": "redis"})
    light = next(light for light in shown["dependencies"] if light["name"] == "redis")
    assert light["state"] == "down"
    assert "127.0.0.1:1" in light["reason"]


async def test_since_when_a_fault_is_seen_is_recorded_without_redis_while_nobody_looks(
    start_gateway: StartGateway,
) -> None:
    gateway = await start_gateway(url_cache={"enabled": False})

    def recorded() -> set[str]:
        samples = (sample for metric in gateway.registry.collect() for sample in metric.samples)
        name = "image_gateway_finding_since_timestamp_seconds"
        return {sample.labels["finding"] for sample in samples if sample.name == name}

    with pytest.raises(ValidationError):
        await gateway.reload(cos={"bucket": ""})
    await gateway.publish_replica()
    assert "reload_refused" in recorded()
    await gateway.reload(cos={"bucket": BUCKET})
    await gateway.publish_replica()
    assert "reload_refused" not in recorded()


async def test_a_replica_shows_those_beside_it_and_their_problems_until_they_stop(start_gateway: StartGateway) -> None:
    key = "k" * 32
    first, second = await start_gateway(), await start_gateway(redis={"entry_key": key})
    started = time.time()
    second.service.metrics.reload.config_last_reload_successful.set(0)
    second.drain()
    for gateway in (second, first, second):
        await gateway.publish_replica()
    names = [gateway.replica_name for gateway in (first, second)]
    shown = await data(first)
    (problem,) = shown["symptoms"]  # that a replica drains is no problem of others
    assert (problem["name"], problem["level"], problem["replicas"]) == ("reload_refused", "warning", [names[1]])
    assert started - LIMIT < problem["since"] <= shown["now"]
    rows = {row["name"]: row for row in shown["replicas"]}
    assert set(rows) == set(names)
    ours, theirs = (rows[name] for name in names)
    assert ours["entry_key"] != theirs["entry_key"]
    assert key not in json.dumps(shown)
    for row in (ours, theirs):
        assert row["version"] == VERSION
        assert row["memory_bytes"] > 1_000_000
        assert row["open_files"] > 1
        assert row["streams"] == 0
        assert row["started"] <= row["at"]
    both = await data(second)
    assert [(found["name"], found["replicas"]) for found in both["symptoms"]] == [
        ("draining", [names[1]]),
        ("reload_refused", [names[1]]),
    ]
    await second.close()
    assert [row["name"] for row in (await data(first))["replicas"]] == [names[0]]


async def test_an_open_page_costs_under_a_hundredth_of_a_core(
    start_gateway: StartGateway, redis_client: "redis.Redis"
) -> None:
    """A day of points, ten thousand dead renewals, a hundred replicas; the emulator and the client count as well."""
    gateway = await start_gateway()
    now = time.time()
    entry = json.dumps({"reason": "no such key", "at": now, "attempts": 5})
    redis_client.hset("image:refresh:dead", mapping={f"i{number}": entry for number in range(10_000)})
    row = (await data(gateway))["replicas"][0]
    row["symptoms"] = [{"name": f"fault_{name}", "level": "warning", "values": {}, "since": now} for name in "abc"]
    redis_client.zadd(
        "image:replicas", {json.dumps({**row, "name": f"replica-{n}", "at": now}): now for n in range(99)}
    )
    redis_client.expire("image:replicas", 1000)
    metrics, diagnostics = gateway.service.metrics, gateway.service.diagnostics
    statuses = ("200", "206", "304", "404", "502")
    for step in range(12 * 1440):
        for status in statuses:
            metrics.server.requests.record("short", "stream", status, 0.01, 0.005)
            metrics.origin.origin_requests.add((status,))
        diagnostics.replica.history.record(now - 5 * (12 * 1440 - step))

    # Polls are five seconds apart, so each finds results of probes that are too old.
    later = count(time.monotonic() + 2, 2)
    diagnostics.health.monotonic = lambda: next(later)

    async def seconds(path: str, times: int) -> float:
        """Return the processor time of one request, this one of a client included."""
        started = time.process_time()
        for _ in range(times):
            assert (await gateway.get(path, admin=True)).status == 200
        return (time.process_time() - started) / times

    poll = f"{CONSOLE}?since={int(now) - 5}"
    await seconds(poll, 3)
    each, least = await seconds(poll, 40), await seconds("/healthz", 40)
    figures = f"processor time: {each * 1000:.1f} ms a poll, {least * 1000:.1f} /healthz"
    assert each - least < 0.01 * POLL * slowness(), figures
    logging.getLogger(__name__).info(figures)
    new, whole = [len((await gateway.get(path, admin=True)).body) for path in (poll, CONSOLE)]
    assert new < whole / 2, "a poll brings what is new"
