"""What a process says of itself: metrics and their cost, totals, settings, the debug log."""

import logging
import time
from typing import Any

from prometheus_client import CollectorRegistry, Counter, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from gateway.service.metrics import Metrics
from tests.api.test_console import ADMIN, data
from tests.conftest import ADMIN_TOKEN, JWT_SECRET, SECRET_KEY, Images, RunningGateway
from tests.limits import LIMIT


async def test_the_exposition_has_its_content_type_and_parses(gateway: RunningGateway, images: Images) -> None:
    await images.add("cat")
    await gateway.get("/i/cat")
    answer = await gateway.get("/metrics", admin=True)
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("text/plain; version=")
    families = {family.name for family in text_string_to_metric_families(answer.body.decode())}
    assert {"image_gateway_requests", "process_resident_memory_bytes", "python_info"} <= families
    assert (await gateway.get("/metrics")).status == 404, "only on the admin port"


async def test_the_totals_are_those_of_which_points_are_made(gateway: RunningGateway, images: Images) -> None:
    await images.add("a")
    await gateway.get("/i/a")
    await gateway.get("/i/never-there")
    totals = await data(gateway, "/api/v1/monitoring/totals")
    assert (totals["counts"]["status 200"], totals["counts"]["status 404"]) == (1, 1)
    assert sum(totals["durations"]) == 2
    assert len(totals["durations"]) == len(totals["bounds"]) + 1
    assert [(error["code"], error["count"], error["image_id"]) for error in totals["errors"]] == [
        ("image_not_found", 1, "never-there")
    ]


async def test_the_configuration_is_shown_without_secrets(gateway: RunningGateway) -> None:
    answer = await gateway.get("/api/v1/monitoring/settings", admin=True)
    assert answer.json()["data"]["settings"]["url_cache"]["default_ttl"] == 3600
    for secret in (ADMIN_TOKEN, JWT_SECRET, SECRET_KEY):
        assert secret.encode() not in answer.body
    assert answer.json()["data"]["settings"]["postgres"]["dsn"] == "**********"


async def test_the_debug_log_needs_the_token_and_is_over_when_the_gateway_stops(gateway: RunningGateway) -> None:
    path, before = "/api/v1/monitoring/debug", logging.getLogger().level
    assert (await gateway.request("POST", path, admin=True, json={"on": True})).status == 401
    bodies: list[Any] = [{"on": "yes"}, {}, []]
    for body in bodies:
        assert (await gateway.request("POST", path, admin=True, json=body, headers=ADMIN)).status == 400
    on = await gateway.request("POST", path, admin=True, json={"on": True}, headers=ADMIN)
    assert abs(on.json()["data"]["debug_until"] - time.time() - 600) < LIMIT
    assert logging.getLogger().level == logging.DEBUG
    await gateway.close()
    assert logging.getLogger().level == before


def test_a_scrape_stays_small_and_fast() -> None:
    """Ten buckets, twenty styles, and every status on every route: more than a gateway has in practice."""
    metrics = Metrics()
    for route in ("short", "proxy", "url", "refresh", "status", "link", "links", "meta", "urls", "access", "static"):
        for status in ("200", "206", "302", "304", "400", "401", "404", "416", "499", "502", "503", "504", "aborted"):
            metrics.server.requests.record(route, "stream", status, 0.01, 0.005)
    for bucket in (f"pictures{number}-1250000000" for number in range(10)):
        metrics.origin.origin_bucket_requests.add((bucket,))
        for code in ("none", "timeout", "no_answer", "AccessDenied", "NoSuchKey", "NoSuchBucket", "SlowDown"):
            metrics.origin.origin_errors.add((bucket, code))
    for style in range(20):
        for format_ in ("original", "webp", "avif"):
            metrics.origin.variants.labels(style=f"style{style}", format=format_, result="made").inc()
    size = len(generate_latest(metrics.registry))
    assert 20_000 < size < 100_000
    # The limit is 5 ms, the time of the client library for a thousand samples on a quiet machine. The test measures
    # that time as well, because other machines are slower, or busy.
    thousand = CollectorRegistry()
    reference = Counter("reference", "A total and a time of creation each.", ("first", "second"), registry=thousand)
    for number in range(500):
        reference.labels(first=str(number), second="200").inc()
    rounds = [(_seconds_of_a_scrape(metrics.registry), _seconds_of_a_scrape(thousand)) for _ in range(20)]
    assert min(ours for ours, _ in rounds) < min(limit for _, limit in rounds)


def _seconds_of_a_scrape(registry: CollectorRegistry) -> float:
    started = time.thread_time()
    generate_latest(registry)
    return time.thread_time() - started
