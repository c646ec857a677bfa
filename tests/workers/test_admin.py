"""The admin port of the parent: metrics of all, health of all, and what one or all workers answer."""

import asyncio
import json
import time
from collections import Counter
from contextlib import AsyncExitStack

import aiohttp
import pytest
import redis
from prometheus_client.parser import text_string_to_metric_families

from gateway.access.admin_guard import BURST
from gateway.changes.nginx_list import LISTED_AGAIN_FOR
from gateway.settings import AdminSettings
from gateway.workers import merged_readiness
from gateway.workers.run_workers import admin_port
from gateway_dev.cos_emulator.content import SyntheticContent
from gateway_dev.cos_emulator.faults import Fault, Hang
from gateway_dev.cos_emulator.server import CosEmulator
from gateway_dev.database import ImageRow
from tests.conftest import BUCKET, Images
from tests.limits import LIMIT
from tests.raw_client import connect
from tests.serving import serving
from tests.waiting import until
from tests.workers.conftest import (
    AS_ADMIN,
    STARTED,
    StartWorkers,
    fake_workers,
    get_json,
    get_text,
    kill,
    ports_of,
    workers_of,
)

pytestmark = pytest.mark.timeout(300)  # several processes start, on a machine that may be busy


def samples(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Return the samples of an exposition by name and labels."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(text: str, name: str, **labels: str) -> float:
    """Return the sum of the samples of all workers; 0 if they are absent."""
    found = samples(text).items()
    return sum(
        value for (sample, known), value in found if sample == f"image_gateway_{name}" and labels.items() <= known
    )


async def bodies_of(url: str, times: int) -> list[bytes]:
    """Return the bodies of answers to requests on connections of their own."""

    async def once() -> bytes:
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            assert answer.status == 200
            return await answer.read()

    return await asyncio.gather(*(once() for _ in range(times)))


async def test_each_metric_names_its_worker_and_readiness_names_each_and_no_other_user_reads_the_ports_of_workers(
    start_workers: StartWorkers, images: Images, redis_client: "redis.Redis"
) -> None:
    await images.add("cat", bytes(1000))
    running = await start_workers(2)
    well = dict.fromkeys(("postgres", "redis", "cos", "changes"), "ok")

    async def is_ready() -> bool:
        body = await get_json(running.admin + "/readyz")
        told = [body[name] for name in ("status", "workers", "checks", "reasons")]
        return told == ["ready", {"1": "ready", "2": "ready"}, well, {}]

    await until(is_ready, seconds=STARTED)
    await bodies_of(running.public + "/i/cat", 60)

    async def are_counted() -> bool:  # a worker that was silent for three seconds is left out
        text = await get_text(running.admin + "/metrics")
        return value(text, "requests_total", route="short", delivery="stream", status="200") == 60

    await until(are_counted, seconds=STARTED)
    text = await get_text(running.admin + "/metrics")
    assert value(text, "request_duration_seconds_count", route="short") == 60
    assert value(text, "request_duration_seconds_bucket", route="short", le="+Inf") == 60
    assert value(text, "response_bytes_total") == 60_000
    assert value(text, "dependency_up", dependency="redis", worker="2") in (0, 1)
    assert value(text, "workers", state="ready") == value(text, "workers", state="configured") == 2
    rss = {dict(labels)["worker"] for name, labels in samples(text) if name == "process_resident_memory_bytes"}
    assert rss == {"1", "2", "parent"}
    names = [line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")]
    assert Counter(names).most_common(1)[0][1] == 1

    async def are_in_points() -> bool:
        points = (await get_json(running.admin + "/api/v1/monitoring/console"))["data"]["points"]["fine"]
        return bool(sum(point["counts"].get("status 200", 0) for point in points) == 60)

    await until(are_in_points, what="the requests to all workers")
    # What a worker hears is in the next list.
    changes = f"{running.admin}/api/v1/changes?since=0&now={LISTED_AGAIN_FOR}&epochs=0&nginx=edge"
    async with aiohttp.ClientSession(headers={"Sec-Fetch-Site": "cross-site"}) as page:
        (await page.get(changes.replace("nginx=edge", "nginx=page"))).raise_for_status()
    await get_json(changes)

    async def all_know_that_nginx_asks() -> bool:
        text = await get_text(running.admin + "/metrics")
        return all(value(text, "nginx_asked_seconds", nginx="edge", worker=worker) > 0 for worker in ("1", "2"))

    await until(all_know_that_nginx_asks, what="the nginx in each worker, of which it asked one")
    assert 'nginx="page"' not in await get_text(running.admin + "/metrics")
    async with aiohttp.ClientSession(headers=AS_ADMIN) as session:
        (await session.post(running.admin + "/api/v1/cache/purge", json={"image_ids": ["dog"]})).raise_for_status()
    assert [change["image_id"] for change in (await get_json(changes))["changes"]] == ["dog"]

    # No other user of this machine reads the ports of workers.
    for pid in workers_of(running):
        (port,) = ports_of(pid) - {int(running.public.rpartition(":")[2])}
        for path in ("/metrics", "/", "/readyz", "/api/v1/monitoring/console", "/api/v1/monitoring/settings"):
            assert (await get_json(f"http://127.0.0.1:{port}{path}"))["code"] == "forbidden"

    kill(workers_of(running)[1])

    async def is_degraded() -> bool:
        body = await get_json(running.admin + "/readyz")
        return bool(body["status"] == "degraded" and body["workers"] == {"1": "ready", "2": "not_ready"})

    await until(is_degraded, seconds=STARTED)
    assert (await get_json(running.admin + "/healthz")) == {"status": "alive"}
    await running.line_with("worker ended", seconds=STARTED)

    async def is_replaced() -> bool:
        return value(await get_text(running.admin + "/metrics"), "workers", state="ready") == 2

    await until(is_replaced, seconds=STARTED)
    text = await get_text(running.admin + "/metrics")
    assert value(text, "requests_total", route="short", delivery="stream", status="200", worker="2") == 0
    await until(lambda: "worker_ended" in str(redis_client.zrange("image:replicas", 0, -1)), what="the event")
    assert value(text, "worker_restarts_total") == 1
    assert value(text, "loop_stuck_total") == 0


async def test_what_changes_a_process_reaches_all_and_the_rest_one(
    start_workers: StartWorkers, images: Images, cos: CosEmulator
) -> None:
    await images.add("cat", b"old")
    # Without Redis, a worker hears of a purge only from the parent.
    running = await start_workers(2, postgres={"listen": False}, redis={"url": "redis://127.0.0.1:1"})
    await bodies_of(running.public + "/i/cat", 30)
    cos.store.put(BUCKET, "objects/cat.png", b"new", content_type="image/png")
    async with aiohttp.ClientSession(headers=AS_ADMIN) as session:
        async with session.post(running.admin + "/api/v1/cache/purge", json={"image_ids": ["cat"]}) as answer:
            assert (answer.status, (await answer.json())["data"]) == (200, {"purged": 1, "heard_by": 0})
        assert set(await bodies_of(running.public + "/i/cat", 30)) == {b"new"}
        for image_id, holds in ("cat", True), ("dog", False):
            about = (await get_json(f"{running.admin}/api/v1/monitoring/running/{image_id}"))["data"]
            assert ([replica["holds"] for replica in about["replicas"]], about["silent"]) == ([holds] * 2, 0)
        assert (await get_json(running.admin + "/api/v1/monitoring/running/-"))["code"] == "invalid_image_id"
        text = await get_text(running.admin + "/metrics")
        (purged, dropped) = (
            value(text, "request_duration_seconds_count", route=f"admin:{name}") for name in ("purge", "drop")
        )
        assert (purged, dropped) == (1, 1)
        async with session.post(running.admin + "/api/v1/monitoring/debug", json={"on": True}) as answer:
            assert answer.status == 200
        async with session.get(running.admin + "/api/v1/monitoring/explain/cat?user=bob%2Fb") as answer:
            assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
            assert "cat" in await answer.text()
        async with session.get(running.admin + "/", headers={"X-From-Parent": "a guess"}) as answer:
            assert answer.status == 200
            assert "Content-Security-Policy" in answer.headers
        for path in ("/", "/metrics", "/healthz", "/readyz", "/api/v1/monitoring/console", "/no/such"):
            async with session.get(running.admin + path, headers={"Host": "evil.example"}) as answer:
                assert (answer.status, (await answer.json())["code"]) == (403, "foreign_host")
        async with session.get(
            running.admin + "/api/v1/monitoring/explain/cat", headers={"Authorization": ""}
        ) as answer:
            assert answer.status == 401
        async with session.get(running.admin + "/no/such") as answer:
            assert answer.status == 404
        async with session.post(running.admin + "/api/v1/cache/purge", data=bytes(70_000)) as answer:
            assert answer.status == 413
        undecodable = {"Content-Encoding": "gzip"}
        async with session.post(running.admin + "/api/v1/cache/purge", data=b"{}", headers=undecodable) as answer:
            assert (answer.status, (await answer.json())["code"]) == (400, "invalid_request")
    assert "Traceback" not in "".join(running.lines)

    # Wrong tokens count against the address that the parent saw, whatever the client says about itself.
    guesser, guesses = aiohttp.TCPConnector(local_addr=("127.0.0.2", 0)), {"Authorization": "Bearer a guess"}
    debug = running.admin + "/api/v1/monitoring/debug"
    async with aiohttp.ClientSession(connector=guesser) as session:
        for status in [401] * BURST + [429]:
            forged = {**guesses, "X-Parent-Peer": f"192.0.2.{status}"}
            async with session.post(debug, json={"on": True}, headers=forged) as answer:
                assert answer.status == status
    async with aiohttp.ClientSession(headers=AS_ADMIN) as session:
        async with session.post(debug, json={"on": True}) as answer:
            assert answer.status == 200

    def workers_with(text: str) -> list[int]:
        return sorted({json.loads(line)["worker"] for line in running.lines if text in line})

    await until(lambda: workers_with("debug log on") == [1, 2], what="the debug log of each worker")
    # A line of a request waits for others before it is written.
    await until(lambda: workers_with('"event": "request"') == [1, 2], what="a line of each worker")
    assert "worker" not in json.loads(await running.line_with("listening: "))

    # A worker that ends while it answers: what was sent must not be completed by an error.
    cos.store.put(BUCKET, "slow.png", SyntheticContent(1_000_000), content_type="image/png")
    await images.add_row(ImageRow("slow", None, "slow.png", public=True))
    cos.faults.add(Fault(action=Hang(at=500_000)))
    preview = f"{running.admin}/api/v1/monitoring/preview/slow"
    async with aiohttp.ClientSession(headers=AS_ADMIN) as session, session.get(preview) as answer:
        await answer.content.readexactly(100_000)
        kill(workers_of(running)[0])
        with pytest.raises(aiohttp.ClientError):
            await answer.content.read()


async def test_a_body_that_is_too_large_is_the_error_of_a_single_process() -> None:
    """Also while no worker runs."""
    async with fake_workers() as (_, admin), serving(admin.app()) as address:
        for path in ("/api/v1/cache/purge", "/api/v1/monitoring/queue/requeue"):
            async with aiohttp.ClientSession() as session, session.post(address + path, data=bytes(70_000)) as answer:
                assert (answer.status, (await answer.json())["code"]) == (413, "payload_too_large")


async def test_a_probe_is_answered_while_connections_are_silent() -> None:
    async with (
        fake_workers() as (_, admin),
        admin_port(admin, AdminSettings(port=0)) as address,
        AsyncExitStack() as clients,
    ):
        silent = [await clients.enter_async_context(connect(address)) for _ in range(60)]
        assert await get_json(address + "/healthz") == {"status": "no worker shows life"}
        assert await silent[0].read_rest() == b""


READY = json.dumps({"status": "ready", "checks": {"cos": "ok"}})
DEGRADED = json.dumps({"status": "degraded", "checks": {"cos": "down"}, "reasons": {"cos": "no answer"}})


@pytest.mark.parametrize(
    "text",
    [
        "<html>",
        "[]",
        '{"status": "fine", "checks": {}}',
        '{"status": "ready", "checks": ["cos"]}',
        '{"status": "ready"}',
    ],
)
async def test_a_worker_whose_answer_is_not_about_readiness_is_not_ready(text: str) -> None:
    async with fake_workers([text], [READY]) as (_, admin), serving(admin.app()) as address:
        body = await get_json(address + "/readyz")
        assert (body["status"], body["checks"]) == ("degraded", {"cos": "ok"})
        assert body["workers"] == {"1": "not_ready", "2": "ready"}


async def test_a_worker_that_does_not_say_what_it_is_is_counted() -> None:
    about = json.dumps({"data": {"replicas": [{"name": "first"}]}})
    async with fake_workers([about], []) as (_, admin), serving(admin.app()) as address:
        data = (await get_json(address + "/api/v1/monitoring/running"))["data"]
        assert data == {"replicas": [{"name": "first"}], "silent": 1}


def a_list(worker: int, complete_since: int, now: int = 100) -> str:
    """Return a list of changes."""
    return json.dumps({"gateway": str(worker), "now": now, "complete_since": complete_since, "changes": []})


async def test_the_worker_that_heard_of_a_change_last_lists_the_changes_if_it_has_heard_enough() -> None:
    """It may have given nginx an old image until then."""
    lists = [[a_list(1, 30)] * 4, [a_list(2, 70)] * 4]
    async with fake_workers(*lists) as (supervisor, admin), serving(admin.app()) as address:
        for late, worker in (1, "2"), (0, "1"), (1, "2"):
            heard = supervisor.slots[late].current
            assert heard is not None
            await heard.reload(STARTED)
            assert (await get_json(address + "/api/v1/changes?since=80"))["gateway"] == worker
        assert (await get_json(address + "/api/v1/changes?since=50"))["gateway"] == "1"


async def test_a_worker_lists_the_changes_until_it_has_ended_when_another_one_has_its_place() -> None:
    """nginx would hear of other settings while that worker still answers by the settings before."""
    async with fake_workers([a_list(1, 30), a_list(2, 30)]) as (supervisor, admin), serving(admin.app()) as address:

        async def listing() -> str:
            return str((await get_json(address + "/api/v1/changes?since=80"))["gateway"])

        assert await listing() == "1", "its first answer"
        old = supervisor.slots[0].current
        assert old is not None
        rolling = asyncio.create_task(supervisor.roll())
        await until(lambda: supervisor.slots[0].current is not old, seconds=STARTED)
        assert await listing() == "2", "its second answer"
        old.kill()
        await rolling
        assert await listing() == "1", "the first answer of the other one"


async def test_while_a_worker_is_silent_another_one_lists_the_changes() -> None:
    """nginx waits for half a second, and would hear of no change until the parent takes the worker for dead."""
    lists: list[list[str]] = [[a_list(1, 70)] * 3, []]
    async with (
        fake_workers(*lists, hurry=0.2) as (_, admin),
        serving(admin.app()) as address,
        asyncio.timeout(LIMIT),
    ):
        for since in (80, 50):
            assert (await get_json(f"{address}/api/v1/changes?since={since}"))["gateway"] == "1"


@pytest.fixture
def patient_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    """A probe waits longer for what a slow worker says after 1.2 s, which a busy machine holds up."""
    assert 1.2 < merged_readiness._WAIT < 3, "what a probe of the parent may take"
    monkeypatch.setattr(merged_readiness, "_WAIT", 8.0)


@pytest.mark.usefixtures("patient_probe")
async def test_the_first_answer_of_a_slow_worker_is_awaited_and_counts_while_the_next_one_takes_long() -> None:
    """A probe of the parent may take three seconds, and each worker takes two while a dependency does not answer.

    No earlier answer counts for the first probe, nor for a probe that comes once a minute.
    """
    async with fake_workers([DEGRADED], life="slow") as (supervisor, admin), serving(admin.app()) as address:
        before = await get_json(address + "/readyz")
        assert (before["status"], before["reasons"]) == ("degraded", {"cos": "no answer"})
        started = time.monotonic()
        assert await get_json(address + "/readyz") == before
        assert time.monotonic() - started < LIMIT
        assert supervisor.answering()


@pytest.mark.usefixtures("patient_probe")
@pytest.mark.parametrize("life", ["slow", "drips"])
async def test_a_worker_that_was_ready_and_takes_long_now_is_degraded(life: str) -> None:
    """Something has begun to take long since: a table may be locked."""
    async with fake_workers([READY], life=life) as (_, admin), serving(admin.app()) as address:
        assert (await get_json(address + "/readyz"))["workers"] == {"1": "ready"}
        body = await get_json(address + "/readyz")
        assert (body["status"], body["workers"]) == ("degraded", {"1": "degraded"})


@pytest.mark.usefixtures("patient_probe")
async def test_the_first_probe_after_a_worker_was_ready_says_what_takes_long() -> None:
    async with fake_workers([READY, DEGRADED], life="slow") as (_, admin), serving(admin.app()) as address:
        assert (await get_json(address + "/readyz"))["status"] == "ready"
        body = await get_json(address + "/readyz")
        assert (body["status"], body["reasons"]) == ("degraded", {"cos": "no answer"})


async def test_a_worker_without_a_sign_of_life_is_not_asked() -> None:
    async with fake_workers([], life="hangs") as (supervisor, admin), serving(admin.app()) as address:
        started = time.monotonic()
        assert (await get_json(address + "/readyz"))["status"] == "not_ready"
        asked = time.monotonic() - started
        await until(lambda: not supervisor.answering(), seconds=STARTED)
        started = time.monotonic()
        assert (await get_json(address + "/readyz"))["workers"] == {"1": "not_ready"}
        assert time.monotonic() - started < asked


async def test_a_reload_reaches_workers_that_have_been_silent_for_a_while() -> None:
    """A busy worker serves on, and would keep the earlier settings."""
    async with fake_workers(["1"], ["2"], life="hangs") as (supervisor, admin), serving(admin.app()) as address:
        await until(lambda: not supervisor.answering(), seconds=STARTED)
        async with aiohttp.ClientSession() as session, session.post(f"{address}/api/v1/config/reload") as answer:
            assert (answer.status, await answer.text()) == (200, "2"), "the answer of the last worker"
