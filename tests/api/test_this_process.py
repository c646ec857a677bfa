"""``GET /metrics``."""

from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from gateway.service.metrics import Metrics
from tests.conftest import Images, RunningGateway


async def test_lesson_15_the_exposition_has_its_content_type_and_parses(
    gateway: RunningGateway, images: Images
) -> None:
    await images.add("cat")
    await gateway.get("/i/cat")
    answer = await gateway.get("/metrics", admin=True)
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("text/plain; version=")
    families = {family.name for family in text_string_to_metric_families(answer.body.decode())}
    assert families >= {
        f"image_gateway_{name}"
        for name in (
            "requests",
            "request_duration_seconds",
            "time_to_first_byte_seconds",
            "response_bytes",
            "inflight_requests",
            "url_cache_lookups",
            "presigns",
            "catalog_queries",
            "origin_requests",
            "origin_retries",
            "coalesced_requests",
            "dependency_up",
        )
    }
    assert {"process_resident_memory_bytes", "python_info"} <= families


async def test_the_public_port_has_no_metrics(gateway: RunningGateway) -> None:
    assert (await gateway.get("/metrics")).status == 404


def test_a_scrape_of_a_busy_gateway_stays_below_100_kb() -> None:
    """Fifteen routes with six statuses each, and every bucket that has its own label, with three codes."""
    metrics = Metrics()
    for route in range(15):
        for status in ("200", "206", "304", "404", "499", "502"):
            metrics.server.requests.record(f"admin:route-{route}", "stream", status, 0.1, 0.1)
    for number in range(51):
        bucket = f"photos-{number}-1250000000"
        metrics.origin.origin_bucket_requests.add((bucket,))
        for code in ("AccessDenied", "NoSuchKey", "timeout"):
            metrics.origin.origin_errors.add((bucket, code))
    assert len(generate_latest(metrics.registry)) < 100_000
