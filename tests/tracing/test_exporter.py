"""The export of spans: the name of the service, and the cost of an unreachable collector: only lost spans."""

import asyncio
import logging
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.settings.error_messages import SettingsError
from gateway.tracing import exporter
from tests.conftest import Images, StartGateway
from tests.processes import run_gateway
from tests.tracing.collector import Collector
from tests.waiting import until

ON: dict[str, Any] = {"enabled": True}
ENDLESS = 100_000_000  # bytes
WITHOUT_THE_EXTRA = "import sys; sys.modules['opentelemetry'] = None; from gateway.cli import main; main()"
NOTHING_LOADED = (
    "import sys, gateway.cli, gateway.service.ports, gateway.server.listener; "
    # redis-py loads the metrics of OpenTelemetry where they are installed
    "names = 'opentelemetry.exporter', 'opentelemetry.sdk.trace', 'gateway.tracing.exporter'; "
    "loaded = [name for name in sys.modules if name.startswith(names)]; sys.exit(f'loaded: {loaded}' if loaded else 0)"
)


def logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The lines about the export, from the gateway and from the SDK."""
    names = ("gateway.tracing", "opentelemetry")
    return [record.getMessage() for record in caplog.records if record.name.startswith(names)]


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, "image-gateway"),
        ({"OTEL_SERVICE_NAME": "images"}, "images"),
        ({"OTEL_RESOURCE_ATTRIBUTES": "service.name=images,deployment.environment.name=test"}, "images"),
    ],
)
async def test_the_last_spans_are_sent_at_the_end_and_the_service_has_the_name_of_the_environment(
    monkeypatch: pytest.MonkeyPatch,
    collector: Collector,
    start_gateway: StartGateway,
    variables: dict[str, str],
    expected: str,
) -> None:
    for name, value in ({"OTEL_BSP_SCHEDULE_DELAY": "3600000"} | variables).items():
        monkeypatch.setenv(name, value)
    gateway = await start_gateway(tracing=ON)
    await gateway.get("/i/cat")
    assert not collector.spans
    await gateway.close()
    assert collector.named("GET /i/{image_id}")
    for resource in collector.resources:
        assert resource["service.name"] == expected
        assert resource["service.version"]


async def test_an_outage_is_logged_once_and_its_end_and_costs_no_connection(
    collector: Collector, start_gateway: StartGateway, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    collector.status, collector.body = 400, b"\x0a\x00"  # not retried
    gateway = await start_gateway(tracing=ON, logging={"access": False})
    for _ in range(3):
        before = gateway.sample("trace_spans_total", result="failed")
        await gateway.get("/i/cat")
        await until(lambda: gateway.sample("trace_spans_total", result="failed") > before)  # noqa: B023
    (line,) = logged(caplog)
    assert line.startswith("spans are not exported, and dropped: ")
    assert "400" in line
    collector.status = 200
    await gateway.get("/i/cat")
    await until(lambda: len(logged(caplog)) == 2)
    assert logged(caplog)[1] == "spans are exported again"
    assert len(collector.peers) == 1, "a short answer keeps the connection"


async def test_no_request_waits_for_a_collector_that_hangs_and_the_end_does_for_a_while(
    monkeypatch: pytest.MonkeyPatch,
    collector: Collector,
    start_gateway: StartGateway,
    images: Images,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "8")
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "4")
    collector.answers.clear()
    await images.add("cat")
    gateway = await start_gateway(tracing=ON)
    await gateway.get("/i/cat")
    began = time.monotonic()
    for _ in range(200):
        assert (await gateway.get("/i/cat")).status == 200
    assert time.monotonic() - began < 100, "spans are dropped, and requests do not wait a second for each other"
    began = time.monotonic()
    await gateway.close()
    assert 2.5 < time.monotonic() - began < 55
    assert logged(caplog) == ["the last spans were not sent within 3 s"]


async def test_a_collector_that_is_away_costs_spans_alone(
    monkeypatch: pytest.MonkeyPatch, start_gateway: StartGateway, images: Images, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # and it does not listen
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{nobody.getsockname()[1]}")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "10")
        await images.add("cat")
        gateway = await start_gateway(tracing=ON)
        assert (await gateway.get("/i/cat")).status == 200
        await until(lambda: gateway.sample("trace_spans_total", result="failed") > 0)
        await gateway.close()
    assert [line for line in logged(caplog) if line.startswith("spans are not exported")] == logged(caplog)
    assert len(logged(caplog)) == 1


@pytest.mark.parametrize(
    "head",
    ["200 OK", "200 OK\r\nContent-Encoding: gzip", "302 Found\r\nLocation: /elsewhere", "400 Bad Request"],
    ids=["success", "compressed", "redirect", "failure"],
)
async def test_an_answer_without_end_is_not_read(
    monkeypatch: pytest.MonkeyPatch, start_gateway: StartGateway, head: str
) -> None:
    """A collector that sent one for six seconds took two gigabytes of memory."""
    piece, sent, ended = b"\x00" * 65_536, 0, asyncio.Event()

    async def collect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(f"HTTP/1.1 {head}\r\n\r\n".encode())
            while sent < ENDLESS:
                writer.write(piece)
                await writer.drain()
                sent += len(piece)
        ended.set()
        writer.close()

    async with await asyncio.start_server(collect, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{port}")
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "10")
        gateway = await start_gateway(tracing=ON)
        await gateway.get("/i/cat")
        result = "failed" if head.startswith("4") else "exported"
        await until(lambda: gateway.sample("trace_spans_total", result=result) > 0)
        await ended.wait()
        await gateway.close()
    assert sent < ENDLESS / 2, "what the buffers of the kernel hold"


@pytest.mark.usefixtures("forked_commands")
async def test_an_exporter_that_is_not_supported_stops_the_start_with_a_line(
    monkeypatch: pytest.MonkeyPatch, raw_settings: dict[str, Any], tmp_path: Path
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    config = tmp_path / "gateway.yaml"
    config.write_text(yaml.safe_dump({**raw_settings, "tracing": ON}))
    code, output = await run_gateway("serve", "--config", str(config))
    assert code == 2
    assert output.splitlines()[-1].startswith("OTEL_EXPORTER_OTLP_PROTOCOL: only ")


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "OTEL_EXPORTER_OTLP_PROTOCOL: only http/protobuf"),
        ("OTEL_TRACES_EXPORTER", "zipkin", "OTEL_TRACES_EXPORTER: only otlp"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "user:pass-word@collector:4318", "OTEL_EXPORTER_OTLP_ENDPOINT: an http:// or"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "collector:4317", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: an http:// or"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "-1", "a variable of OpenTelemetry: max_queue_size must be a positive integer"),
    ],
)
async def test_a_variable_that_cannot_be_used_is_a_mistake(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, expected: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        async with exporter.open_tracing(_no_count, redis=(None, None), postgres=(None, None)):
            pass
    assert str(caught.value).startswith(expected)
    assert "pass-word" not in str(caught.value)


async def test_an_empty_variable_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OTEL_TRACES_EXPORTER", "OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_ENDPOINT"):
        monkeypatch.setenv(name, "")
    async with exporter.open_tracing(_no_count, redis=(None, None), postgres=(None, None)):
        pass


async def test_the_log_has_no_header_of_the_export(
    monkeypatch: pytest.MonkeyPatch, collector: Collector, start_gateway: StartGateway, caplog: pytest.LogCaptureFixture
) -> None:
    """Headers hold the key of the collector."""
    del collector
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "api-key: pass-word")
    await start_gateway(tracing=ON)
    assert "a header of OTEL_EXPORTER_OTLP_HEADERS is left out: each must be name=value" in logged(caplog)
    assert not [line for line in logged(caplog) if "pass-word" in line]


async def test_without_the_extra_there_is_one_line(raw_settings: dict[str, Any], tmp_path: Path) -> None:
    config = tmp_path / "gateway.yaml"
    config.write_text(yaml.safe_dump({**raw_settings, "tracing": ON}))
    code, output = await run_gateway(
        "check", "--config", str(config), program=(sys.executable, "-c", WITHOUT_THE_EXTRA)
    )
    assert (code, output.strip()) == (2, "tracing.enabled: needs the extra otel: pip install 'image-gateway[otel]'")


async def test_without_tracing_nothing_of_it_is_loaded() -> None:
    assert await run_gateway(program=(sys.executable, "-c", NOTHING_LOADED)) == (0, "")


def _no_count(result: str, spans: int) -> None:
    pass
