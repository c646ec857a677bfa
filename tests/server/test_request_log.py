"""One line a request: its facts, the share that is written, and what is never in it."""

import fcntl
import io
import json
import logging
import os
from collections.abc import Iterator
from typing import Any

import aiohttp
import pytest

from gateway.access.caller import Caller
from gateway.delivery.request_context import Failure, RequestContext
from gateway.process.log_stream import LogStream
from gateway.process.logs import LogHandler
from gateway.server.request_log import LOGGER, RequestLog, facts_of
from gateway.settings import Live, LoggingSettings
from gateway_dev.cos_emulator.faults import Cut, Fault, Refuse
from gateway_dev.cos_emulator.server import CosEmulator
from gateway_dev.database import ImagesTable
from tests.access.credentials import ACCESS, bearer, link_query, token
from tests.conftest import SECRET_KEY, Images, RunningGateway, StartGateway
from tests.limits import LIMIT
from tests.waiting import until


@pytest.fixture
async def gateway(access_lines: io.StringIO, start_gateway: StartGateway, links_table: ImagesTable) -> RunningGateway:
    """A gateway with an access log and every kind of credential."""
    del access_lines, links_table
    return await start_gateway(access=ACCESS)


def lines_of(gateway: RunningGateway, access_lines: io.StringIO) -> list[dict[str, Any]]:
    """Return the lines so far."""
    gateway.flush_request_log()
    return [json.loads(line) for line in access_lines.getvalue().splitlines() if '"gateway.access"' in line]


async def test_a_line_has_the_facts_of_its_request(
    gateway: RunningGateway, images: Images, access_lines: io.StringIO
) -> None:
    await images.add("cat", b"seventeen bytes ..")
    for _ in range(2):
        answer = await gateway.get("/i/cat", headers={"X-Request-Id": "the-request-id"})
        assert answer.status == 200
    cold, warm = lines_of(gateway, access_lines)
    common = {
        "level": "info",
        "event": "request",
        "request_id": "the-request-id",
        "method": "GET",
        "route": "short",
        "image": "cat",
        "client": "127.0.0.1",
        "delivery": "stream",
        "status": 200,
        "bytes": 18,
    }
    for line in (cold, warm):
        assert common.items() <= line.items()
        assert 0 < line["first_byte"] <= line["seconds"] < LIMIT
        assert "caller" not in line, "nobody asks who sees a public image"
    assert cold["cache"].startswith("fwd=miss")
    assert 0 < cold["origin_seconds"] <= cold["seconds"]
    assert warm["cache"].startswith("hit")
    assert "origin_seconds" not in warm


async def test_the_bytes_are_those_of_the_body(
    gateway: RunningGateway, images: Images, access_lines: io.StringIO
) -> None:
    sizes = [0, 1000, 500_000]
    for size in sizes:
        await images.add(f"cat-{size}", bytes(size))
        assert len((await gateway.get(f"/i/cat-{size}")).body) == size
    missing = await gateway.get("/i/dog")
    await gateway.request("HEAD", "/i/cat-1000")
    assert [line["bytes"] for line in lines_of(gateway, access_lines)] == [*sizes, len(missing.body), 0]


async def test_the_kind_of_the_caller_is_named_and_no_credential(
    gateway: RunningGateway, images: Images, access_lines: io.StringIO
) -> None:
    await images.add("cat", owner="alice", public=False)
    requests: list[tuple[dict[str, str], str, str, int]] = [
        ({}, "", "anonymous", 404),
        (bearer(token()), "", "user", 200),
        (bearer(token(sub="bob")), "", "user", 404),
        (bearer(token(exp=1)), "", "rejected", 401),
        ({}, f"?{link_query('/i/cat')}", "link", 200),
    ]
    for headers, query, _, status in requests:
        assert (await gateway.get(f"/i/cat{query}", headers=headers)).status == status
    lines = lines_of(gateway, access_lines)
    assert [(line["caller"], line["status"]) for line in lines] == [(caller, status) for *_, caller, status in requests]
    assert [line["status"] for line in lines if "reason" in line] == [404, 404, 401]
    assert lines[3]["reason"] == "the token has expired"
    shown = [value.partition(" ")[2] for headers, *_ in requests for value in headers.values()]
    assert not [secret for secret in ("sig=", "Bearer", *shown) if secret in access_lines.getvalue()]


async def test_a_failure_names_the_code_of_the_gateway_and_of_cos(
    gateway: RunningGateway, images: Images, access_lines: io.StringIO, cos: CosEmulator
) -> None:
    await images.add("cat")
    cos.faults.add(Fault(action=Refuse(status=404, code="NoSuchBucket"), times=None))
    assert (await gateway.get("/i/cat")).status == 502
    (line,) = lines_of(gateway, access_lines)
    assert (line["status"], line["code"], line["cos_code"]) == (502, "origin_misconfigured", "NoSuchBucket")
    assert line["cos_request_id"] in line["reason"]
    assert "bucket photos-1250000000" in line["reason"]
    assert line["origin_seconds"] > 0


async def test_a_transfer_that_breaks_off_is_named(
    access_lines: io.StringIO, start_gateway: StartGateway, images: Images, cos: CosEmulator
) -> None:
    gateway = await start_gateway(image_proxy={"retry_count": 0}, logging={"access_sample": 0})
    await images.add("cat", bytes(3_000_000))
    cos.faults.add(Fault(action=Cut(at=2_000_000), times=None))
    with pytest.raises(aiohttp.ClientPayloadError):
        await gateway.get("/i/cat")
    await until(lambda: lines_of(gateway, access_lines))
    (line,) = lines_of(gateway, access_lines)
    assert (line["status"], line["bytes"] > 0) == ("aborted", True)
    assert "reason" in line


async def test_a_style_is_named(access_lines: io.StringIO, start_gateway: StartGateway, images: Images) -> None:
    gateway = await start_gateway(image_styles={"small": "imageMogr2/format/png"})
    await images.add("cat")
    await gateway.request("HEAD", "/i/cat?style=small")
    (line,) = lines_of(gateway, access_lines)
    assert (line["method"], line["variant"]) == ("HEAD", "small")


async def test_probes_and_the_admin_port_get_no_line(gateway: RunningGateway, access_lines: io.StringIO) -> None:
    for path, is_admin in (("/healthz", False), ("/readyz", False), ("/metrics", True)):
        assert (await gateway.get(path, admin=is_admin)).status == 200
    assert lines_of(gateway, access_lines) == []


@pytest.fixture
def stalled_log() -> Iterator[LogStream]:
    """The log of this process, in a pipe whose reader sleeps."""
    ours, theirs = os.pipe()
    fcntl.fcntl(ours, fcntl.F_SETPIPE_SZ, 4096)
    stream = LogStream(theirs, most_waiting=5000)
    handler, root, access = LogHandler(stream, "json", None), logging.getLogger(), logging.getLogger(LOGGER)
    root.handlers.insert(0, handler)
    access.setLevel(logging.INFO)
    yield stream
    access.setLevel(logging.NOTSET)
    root.removeHandler(handler)
    os.close(ours)
    handler.close()
    os.close(theirs)


async def test_images_are_served_while_nobody_reads_the_log_and_lost_lines_are_counted(
    stalled_log: LogStream, start_gateway: StartGateway, images: Images
) -> None:
    gateway = await start_gateway()
    await images.add("cat")
    assert gateway.registry.get_sample_value("image_gateway_log_lines_dropped_total") == 0, "it is there from the start"
    for _ in range(50):
        assert (await gateway.get("/i/cat")).status == 200
        gateway.flush_request_log()
    assert (await gateway.get("/healthz")).status == 200
    assert gateway.sample("log_lines_dropped_total") == stalled_log.dropped > 0


@pytest.mark.parametrize("is_on", [False, True])
async def test_waiting_lines_are_written_at_the_end_unless_it_is_turned_off(
    access_lines: io.StringIO, start_gateway: StartGateway, images: Images, is_on: bool
) -> None:
    gateway = await start_gateway(logging={"access": is_on})
    await images.add("cat")
    assert (await gateway.get("/i/cat")).status == 200
    await gateway.close()
    assert access_lines.getvalue().count('"gateway.access"') == is_on


def test_a_sample_keeps_every_failure() -> None:
    chances = iter([0.3, 0.7, 0.1])
    log = RequestLog(
        io.StringIO(), Live(LoggingSettings(format="json", access_sample=0.5)), chance=lambda: next(chances)
    )
    assert [log.wants("short", "200") for _ in range(3)] == [True, False, True]
    for outcome in ("500", "502", "503", "504", "aborted"):
        assert log.wants("short", outcome)


def ended(**facts: Any) -> RequestContext:
    """Return the context of a request that has ended."""
    context = RequestContext("the-request-id")
    common = {"ended_at": 1_700_000_000.25, "method": "GET", "route": "short", "image_id": "cat", "delivery": "stream"}
    for name, value in {**common, "outcome": "200", "size": 18, "seconds": 0.0000123, **facts}.items():
        setattr(context, name, value)
    return context


def with_every_fact() -> RequestContext:
    context = ended(
        trace_id="0af7651916cd43dd8448eb211c80319c",
        image_id='ein "Bild" \u56fe\n',
        client="2001:db8::1",
        caller=Caller("alice"),
        variant="card@640.webp",
        outcome="aborted",
        first_byte=0.012345678,
        cache="fwd=miss; fwd-status=200",
        failure=Failure("origin_unavailable", "reset", "InternalError", "cos-7", True, "Traceback\n"),
    )
    context.origin_started = context.started
    return context


async def test_lines_are_written_together_soon() -> None:
    stream = io.StringIO()
    log = RequestLog(stream, Live(LoggingSettings(format="console")))
    for number in range(3):
        log.add(ended(image_id=f"cat-{number}"))
    assert stream.getvalue() == ""
    await until(stream.getvalue)
    start = "2023-11-14T22:13:20.250000Z [info     ] request request_id=the-request-id method=GET route=short delivery="
    assert stream.getvalue().startswith(start)
    assert len(stream.getvalue().splitlines()) == 3


@pytest.mark.parametrize(("context", "count"), [(ended(), 8), (with_every_fact(), 20)])
async def test_a_line_has_every_fact_in_both_formats_and_no_other(context: RequestContext, count: int) -> None:
    as_json, as_text = io.StringIO(), io.StringIO()
    for stream, format_name in ((as_json, "json"), (as_text, "console")):
        log = RequestLog(stream, Live(LoggingSettings(format=format_name)), worker=2)
        log.add(context)
        log.flush()
    line, expected = json.loads(as_json.getvalue()), facts_of(context)
    assert (line.pop("event"), line.pop("logger")) == ("request", LOGGER)
    assert line.pop("level") == ("info" if context.failure is None else "error")
    assert (line.pop("timestamp"), line.pop("worker")) == ("2023-11-14T22:13:20.250000Z", 2)
    assert line == expected
    assert len(line) == count
    assert all(
        f" {name}={str(value).replace(chr(10), '?')}" in as_text.getvalue()
        for name, value in (expected | {"worker": 2}).items()
        if name != "exception"
    )
    assert as_text.getvalue().endswith(str(expected.get("exception", "\n")))


@pytest.mark.parametrize("format_name", ["json", "console"])
async def test_a_client_adds_no_line_and_no_colour(
    start_gateway: StartGateway, access_lines: io.StringIO, format_name: str
) -> None:
    gateway = await start_gateway(logging={"format": format_name})
    assert (await gateway.get("/i/a%0A2026-01-01%20%5Berror%5D%0D%1B%5B31m")).status == 400
    gateway.flush_request_log()
    assert "\x1b" not in access_lines.getvalue()
    (line,) = [line for line in access_lines.getvalue().splitlines() if "2026-01-01" in line]
    assert "invalid_image_id" in line, "it is the line of the request"


async def test_many_lines_do_not_wait() -> None:
    stream = io.StringIO()
    log = RequestLog(stream, Live(LoggingSettings()))
    for _ in range(70):
        log.add(ended())
    assert len(stream.getvalue().splitlines()) == 64
    log.flush()
    assert len(stream.getvalue().splitlines()) == 70


async def test_why_a_request_is_refused_is_logged_at_debug(
    gateway: RunningGateway, images: Images, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="gateway.server.error_responses")
    await images.add("cat", owner="alice", public=False)
    await gateway.get("/i/cat", headers={"Authorization": f"Bearer {token(exp=1)}"})
    await gateway.get(f"/i/cat?{link_query('/i/cat', killed=3)}")
    refused = [record.getMessage() for record in caplog.records if "request refused" in record.getMessage()]
    assert refused[0] == "request refused: code=unauthorized image=cat reason=the token has expired"
    assert "the link is not valid for the image" in refused[1]
    assert SECRET_KEY not in caplog.text
