"""The spans of requests, and of their calls to COS, Redis and Postgres: names, attributes, parents."""

import asyncio
import io
import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from psycopg2.extensions import parse_dsn
from pydantic import SecretStr

from gateway.settings import RedisSettings
from gateway_dev.cos_emulator.faults import Fault, Refuse
from tests.conftest import BUCKET, Images, RunningGateway, StartGateway
from tests.raw_client import connect
from tests.tracing.collector import Collector, attributes_of
from tests.waiting import until

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
ON: dict[str, Any] = {"enabled": True}
NO_SERVER = {"dsn": "postgresql://images:a-password@127.0.0.1:1/images"}


@pytest.fixture
async def gateway(collector: Collector, start_gateway: StartGateway, images: Images) -> RunningGateway:
    """A gateway that traces, with an image."""
    await images.add("cat")
    return await start_gateway(tracing=ON)


async def span_of(collector: Collector, name: str) -> Span:
    """Return the one span of that name, as soon as it arrived."""
    await until(lambda: collector.named(name), what=f"{name} in {[span.name for span in collector.spans]}")
    (span,) = collector.named(name)
    return span


async def test_a_cold_get_is_one_trace_with_its_calls(
    gateway: RunningGateway, collector: Collector, postgres_dsn: str
) -> None:
    answer = await gateway.get("/i/cat", headers={"X-Request-Id": "my-request"})
    assert answer.status == 200
    span = await span_of(collector, "GET /i/{image_id}")
    assert span.kind == Span.SPAN_KIND_SERVER
    found = attributes_of(span)
    assert found.pop("image_gateway.first_byte_seconds") > 0
    assert found.pop("image_gateway.origin_seconds") > 0
    assert found == {
        "http.request.method": "GET",
        "http.response.status_code": 200,
        "http.response.body.size": len(answer.body),
        "http.route": "/i/{image_id}",
        "url.path": "/i/cat",
        "url.scheme": "http",
        "image_gateway.request_id": "my-request",
        "image_gateway.image_id": "cat",
        "image_gateway.delivery": "stream",
        "image_gateway.cache": "fwd=miss",
    }
    assert span.status.code == Status.STATUS_CODE_UNSET
    children = [child for child in collector.spans if child.trace_id == span.trace_id and child is not span]
    assert {child.parent_span_id for child in children} == {span.span_id}
    assert {child.kind for child in children} == {Span.SPAN_KIND_CLIENT}
    systems = {attributes_of(child).get("db.system.name", child.name) for child in children}
    assert systems == {"GET", "postgresql", "redis"}
    server = parse_dsn(postgres_dsn)
    assert attributes_of(collector.named("SELECT images")[0]) == {
        "db.system.name": "postgresql",
        "db.operation.name": "SELECT",
        "db.collection.name": "images",
        "server.address": server["host"],
        **({"server.port": int(server["port"])} if "port" in server else {}),
    }


async def test_a_hit_in_memory_is_one_span_and_probes_and_the_admin_port_have_none(
    gateway: RunningGateway, collector: Collector
) -> None:
    for path in ("/healthz", "/readyz"):
        assert (await gateway.get(path)).status == 200
    assert (await gateway.request("GET", "/metrics", admin=True)).status == 200

    def alone() -> list[Span]:
        traces = Counter(span.trace_id for span in collector.spans)
        return [span for span in collector.named("GET /i/{image_id}") if traces[span.trace_id] == 1]

    async def one_more() -> list[Span]:
        await gateway.get("/i/cat")
        return alone()

    await until(one_more, what="a request that asked nobody")  # the first ones may find rows stale, after the start
    assert {attributes_of(span)["image_gateway.cache"] for span in alone()} == {"hit"}
    of_requests = {span.trace_id for span in collector.named("GET /i/{image_id}")}
    assert {span.trace_id for span in collector.spans} == of_requests, "nor have calls beside the requests"


async def test_the_callers_trace_is_continued_if_it_is_recorded_and_what_is_none_begins_a_trace(
    gateway: RunningGateway, collector: Collector
) -> None:
    others = ["", "nonsense", f"00-{'0' * 32}-{PARENT}-01", f"ff-{TRACE}-{PARENT}-01", "?sig=abc"]
    for traceparent in (f"00-{TRACE}-{PARENT}-00", *others):
        assert (await gateway.get("/i/cat", headers={"traceparent": traceparent})).status == 200
    await until(lambda: len(collector.named("GET /i/{image_id}")) == len(others))
    for span in collector.spans:
        assert span.trace_id.hex() != TRACE, "a parent that is not sampled is respected, with all calls below"
        assert bool(span.parent_span_id) == (span.kind != Span.SPAN_KIND_SERVER)
    await gateway.get("/i/cat", headers={"traceparent": f"00-{TRACE}-{PARENT}-01"})
    await until(lambda: len(collector.named("GET /i/{image_id}")) == len(others) + 1)
    assert collector.named("GET /i/{image_id}")[-1].parent_span_id.hex() == PARENT


async def test_the_sampler_of_the_environment_decides(
    monkeypatch: pytest.MonkeyPatch, collector: Collector, start_gateway: StartGateway, images: Images
) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_always_off")
    await images.add("cat")
    gateway = await start_gateway(tracing=ON)
    await gateway.get("/i/cat")
    await gateway.get("/i/cat", headers={"traceparent": f"00-{TRACE}-{PARENT}-01"})
    await span_of(collector, "GET /i/{image_id}")
    assert {span.trace_id.hex() for span in collector.spans} == {TRACE}


async def test_refusals_are_no_errors_of_the_gateway(gateway: RunningGateway, collector: Collector) -> None:
    refusals: list[tuple[str, str, str, int, dict[str, str]]] = [
        ("GET", "/i/missing", "GET /i/{image_id}", 404, {"image_gateway.error_code": "image_not_found"}),
        ("GET", "/i/%20", "GET /i/{image_id}", 400, {"url.path": "/i/{image_id}"}),
        ("GET", "/nowhere", "GET", 404, {"http.request.method": "GET"}),
        ("POST", "/i/cat", "POST", 405, {"url.scheme": "http"}),
        ("PROPFIND", "/i/cat", "HTTP", 405, {"http.request.method": "_OTHER"}),
        ("POST", "/api/v1/images/urls", "POST /api/v1/images/urls", 400, {"url.path": "/api/v1/images/urls"}),
    ]
    for number, (method, path, _, status, _) in enumerate(refusals):
        assert (await gateway.request(method, path, headers={"X-Request-Id": f"refusal-{number}"})).status == status

    def by_request() -> dict[str, Span]:
        return {attributes_of(span).get("image_gateway.request_id", ""): span for span in collector.spans}

    await until(lambda: {f"refusal-{number}" for number in range(len(refusals))} <= by_request().keys())
    for number, (_, _, name, status, expected) in enumerate(refusals):
        span = by_request()[f"refusal-{number}"]
        found = attributes_of(span)
        assert (span.name, found["http.response.status_code"]) == (name, status)
        assert expected.items() <= found.items()
        assert "error.type" not in found
        assert span.status.code == Status.STATUS_CODE_UNSET


async def test_a_failure_of_cos_is_an_error_with_its_codes(
    collector: Collector, start_gateway: StartGateway, images: Images
) -> None:
    await images.add("cat")
    images.cos.faults.add(Fault(action=Refuse(status=503, code="SlowDown"), times=None))
    gateway = await start_gateway(tracing=ON, image_proxy={"retry_count": 1})
    assert (await gateway.get("/i/cat")).status == 503
    span = await span_of(collector, "GET /i/{image_id}")
    found = attributes_of(span)
    assert (found["error.type"], found["image_gateway.cos_code"]) == ("origin_throttled", "SlowDown")
    assert span.status.code == Status.STATUS_CODE_ERROR
    assert span.status.message == ""
    requests = collector.named("GET")
    assert len(requests) == 2, "each attempt has a span"
    for request in requests:
        attributes = attributes_of(request)
        assert attributes["url.full"] == f"http://127.0.0.1:{images.cos.port}/REDACTED"
        assert (attributes["http.response.status_code"], attributes["error.type"]) == (503, "503")
        assert (attributes["server.address"], attributes["server.port"]) == ("127.0.0.1", images.cos.port)
        assert attributes["image_gateway.cos_request_id"]
    assert found["image_gateway.cos_request_id"] in {
        attributes_of(request)["image_gateway.cos_request_id"] for request in requests
    }


async def test_a_client_that_leaves_is_no_error_of_the_gateway(
    gateway: RunningGateway, collector: Collector, images: Images
) -> None:
    await images.add("large", bytes(30_000_000))
    async with connect(gateway.ports.public) as connection:
        await connection.get("/i/large")
        await connection.read_head()
    span = await span_of(collector, "GET /i/{image_id}")
    found = attributes_of(span)
    assert found["error.type"] == "client_disconnected"
    assert "http.response.status_code" not in found
    assert span.status.code == Status.STATUS_CODE_UNSET


async def test_the_line_of_the_access_log_names_the_trace(
    access_lines: io.StringIO, collector: Collector, start_gateway: StartGateway, images: Images
) -> None:
    await images.add("cat")
    gateway = await start_gateway(tracing=ON)
    plain = await start_gateway()
    await gateway.get("/i/cat", headers={"traceparent": f"00-{TRACE}-{PARENT}-00"})
    await plain.get("/i/cat", headers={"traceparent": f"00-{TRACE}-{PARENT}-01"})
    await until(lambda: access_lines.getvalue().count("\n") == 2)
    traced, untraced = map(json.loads, access_lines.getvalue().splitlines())
    assert traced["trace_id"] == TRACE
    assert "trace_id" not in untraced
    assert BUCKET not in access_lines.getvalue()


@pytest.fixture
def redis_user(redis_url: str) -> Iterator[str]:
    """A user of Redis with all rights and no password."""
    with redis.Redis.from_url(redis_url) as admin:
        admin.acl_setuser("traced", enabled=True, nopass=True, keys=["*"], channels=["*"], categories=["+@all"])
        yield "traced"
        admin.acl_deluser("traced")


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
    assert RedisSettings(url=SecretStr(topology)).server() == (None, None)
