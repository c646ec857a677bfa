"""The hosts of a DSN: looked up off the event loop, and by nobody else."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from psycopg2.extensions import make_dsn, parse_dsn

from gateway.catalog.change_feed import ChangeFeed
from gateway.catalog.postgres import PostgresCatalog, open_catalog
from gateway.catalog.server_addresses import Resolve, ServerAddresses, system_addresses
from gateway.concurrency.background import background
from gateway.errors import CatalogUnavailable
from gateway.service.metrics import Metrics
from gateway.settings import PostgresSettings
from gateway_dev.database import ImagesTable
from tests.catalog.conftest import RECORD, ROW
from tests.certificates import server_context, write_certificate
from tests.conftest import BUCKET
from tests.heard_changes import Recorder
from tests.waiting import until

NAME = "postgres.invalid"  # no resolver of a system knows it (RFC 6761)


@dataclass
class Resolver:
    """The addresses of names; it waits while it is not free."""

    known: Mapping[str, Sequence[str]] = field(default_factory=lambda: {NAME: ["127.0.0.1"]})
    asked: list[str] = field(default_factory=list)
    is_free: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.is_free.set()

    async def __call__(self, host: str) -> Sequence[str]:
        self.asked.append(host)
        await self.is_free.wait()
        if host not in self.known:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return self.known[host]


@pytest.fixture
def resolver() -> Resolver:
    return Resolver()


@pytest.fixture
def named_dsn(postgres_dsn: str) -> str:
    """The DSN of the run's Postgres, by a name that only ``resolver`` knows."""
    return make_dsn(postgres_dsn, host=NAME)


def opening(dsn: str, resolver: Resolve, **changes: Any) -> AbstractAsyncContextManager[PostgresCatalog]:
    settings = PostgresSettings.model_validate({"dsn": dsn, "timeout": 5, **changes})
    return open_catalog(
        settings, default_bucket=BUCKET, regions={BUCKET: "ap-guangzhou"}, metrics=Metrics().catalog, resolve=resolver
    )


async def servers(dsn: str, resolver: Resolver) -> list[tuple[str, str, str]]:
    """Return the (host, hostaddr, port) that are tried in turn."""
    async with aclosing(ServerAddresses(dsn, 5, resolver)) as addresses:
        await addresses.look_up()
    return [(server.host, server.address, server.port) for server in addresses.servers]


async def test_the_pool_and_the_change_feed_need_no_other_resolver(
    named_dsn: str, images_table: ImagesTable, resolver: Resolver
) -> None:
    images_table.put([ROW])
    async with opening(named_dsn, resolver) as catalog:
        assert await catalog.fetch("cat") == RECORD
        assert await asyncio.gather(*(catalog.fetch("cat") for _ in range(20))) == [RECORD] * 20
    recorder = Recorder()
    async with (
        aclosing(ServerAddresses(named_dsn, 5, resolver)) as addresses,
        background("change-feed", ChangeFeed(addresses, Metrics().catalog).listen(recorder)),
    ):
        await until(lambda: recorder.starts)
    assert resolver.asked == [NAME] * 2


async def test_the_resolver_of_the_system_is_asked_by_default(postgres_dsn: str, images_table: ImagesTable) -> None:
    """``localhost`` has an address of IPv6 in many systems, where this Postgres does not listen."""
    dsn = make_dsn(postgres_dsn, host="localhost")
    images_table.put([ROW])
    async with opening(dsn, system_addresses) as catalog:
        assert await catalog.fetch("cat") == RECORD
        assert "at localhost:" in (await catalog.report()).address


async def test_a_resolver_that_hangs_is_asked_once_and_delays_a_caller_for_the_time_limit(
    named_dsn: str, images_table: ImagesTable, resolver: Resolver
) -> None:
    images_table.put([ROW])
    resolver.is_free.clear()
    async with opening(named_dsn, resolver, timeout=5) as catalog:
        for _ in range(2):
            with pytest.raises(CatalogUnavailable, match="no answer within 5 s"):
                await catalog.fetch("cat")
        assert resolver.asked == [NAME]
        resolver.is_free.set()
        assert await catalog.fetch("cat") == RECORD
    assert resolver.asked == [NAME]


async def test_a_name_that_is_unknown_makes_the_catalog_unavailable_and_is_asked_for_again(
    postgres_dsn: str, resolver: Resolver
) -> None:
    async with opening(make_dsn(postgres_dsn, host="unknown.invalid"), resolver) as catalog:
        for _ in range(2):
            with pytest.raises(CatalogUnavailable, match="has no address: Name or service") as failed:
                await catalog.fetch("cat")
            assert "unknown.invalid" not in str(failed.value)
    assert len(resolver.asked) == 2


async def test_nothing_runs_on_when_the_pool_closes(named_dsn: str, resolver: Resolver) -> None:
    def look_ups() -> list[Any]:
        return [task for task in asyncio.all_tasks() if task.get_name().startswith("postgres-addresses")]

    resolver.is_free.clear()
    async with opening(named_dsn, resolver) as catalog:
        fetching = asyncio.create_task(catalog.fetch("cat"))
        await until(lambda: resolver.asked)
        fetching.cancel()
        await asyncio.gather(fetching, return_exceptions=True)
        assert look_ups()
    assert not look_ups()


@pytest.mark.parametrize(
    ("dsn", "expected"),
    [
        ("host=a port=1", [("a", "127.0.0.1", "1"), ("a", "::1", "1")]),
        ("postgresql://u:p@a:1/db", [("a", "127.0.0.1", "1"), ("a", "::1", "1")]),
        ("host=a,b port=1,2", [("a", "127.0.0.1", "1"), ("a", "::1", "1"), ("b", "127.0.0.2", "2")]),
        ("postgresql://b:1,a:2/db", [("b", "127.0.0.2", "1"), ("a", "127.0.0.1", "2"), ("a", "::1", "2")]),
        (
            "host=b,/run,::1,@x port=1",
            [("b", "127.0.0.2", "1"), ("/run", "", "1"), ("::1", "::1", "1"), ("@x", "", "1")],
        ),
        ("host=b, port=1,", [("b", "127.0.0.2", "1"), ("", "", "")]),
        ("host=/run,::1 port=1,2", [("/run", "", "1"), ("::1", "", "2")]),
        ("host=unknown,b port=1,2", [("b", "127.0.0.2", "2")]),
        # libpq gets these as they are.
        ("host=127.0.0.1 port=1", []),
        ("postgresql://[::1]:1/db", []),
        ("host=a hostaddr=127.0.0.1 port=1", []),
        ("host=/nonexistent port=1", []),
        ("port=1", []),
    ],
)
async def test_each_name_is_followed_by_its_addresses(
    resolver: Resolver, dsn: str, expected: list[tuple[str, str, str]]
) -> None:
    resolver.known = {"a": ["127.0.0.1", "::1"], "b": ["127.0.0.2"]}
    assert await servers(dsn, resolver) == expected


async def test_a_service_is_left_to_libpq(
    resolver: Resolver, postgres_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may name any other key, so that the lists of hosts, addresses and ports would not agree."""
    file = tmp_path / "services"
    file.write_text("[images]\n" + "".join(f"{name}={value}\n" for name, value in parse_dsn(postgres_dsn).items()))
    monkeypatch.setenv("PGSERVICEFILE", str(file))
    async with opening("service=images", resolver) as catalog:
        await catalog.try_query()
    assert resolver.asked == []


async def test_the_environment_counts_as_it_does_for_libpq(
    resolver: Resolver, postgres_dsn: str, images_table: ImagesTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = parse_dsn(postgres_dsn)
    monkeypatch.setenv("PGHOST", NAME)
    monkeypatch.setenv("PGPORT", str(parts.pop("port")))
    del parts["host"]
    images_table.put([ROW])
    async with opening(make_dsn(**parts), resolver) as catalog:
        assert await catalog.fetch("cat") == RECORD
    monkeypatch.setenv("PGHOSTADDR", "127.0.0.1")
    async with opening(make_dsn(**parts), resolver) as catalog:
        assert await catalog.fetch("cat") == RECORD
    assert resolver.asked == [NAME]


@asynccontextmanager
async def tls_before(port: int, certificate: Path, key: Path) -> AsyncIterator[int]:
    """Yield the port of a relay that speaks TLS as Postgres does, after the request for it (SSLRequest)."""
    tasks: set[asyncio.Task[None]] = set()

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", port)
        with contextlib.suppress(OSError, EOFError):
            await reader.readexactly(8)
            writer.write(b"S")
            await writer.start_tls(server_context(certificate, key))
            await asyncio.gather(copy(reader, back), copy(there, writer))
        for connection in (writer, back):
            connection.close()

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                writer.write(data)
        writer.close()

    def relay_in_task(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.create_task(relay(reader, writer), name="tls-relay"))

    async with await asyncio.start_server(relay_in_task, "127.0.0.1", 0) as server:
        try:
            yield server.sockets[0].getsockname()[1]
        finally:  # the server waits for its connections (Python 3.12)
            server.close()
            await asyncio.gather(*tasks)


async def test_certificates_are_verified_by_the_name(
    postgres_dsn: str, images_table: ImagesTable, tmp_path: Path, resolver: Resolver
) -> None:
    resolver.known = {NAME: ["127.0.0.1"], "other.invalid": ["127.0.0.1"]}
    certificate, key = write_certificate(tmp_path, NAME)
    images_table.put([ROW])
    tls = {"sslmode": "verify-full", "sslrootcert": str(certificate), "channel_binding": "disable"}
    async with tls_before(int(parse_dsn(postgres_dsn)["port"]), certificate, key) as port:
        async with opening(make_dsn(postgres_dsn, host=NAME, port=port, **tls), resolver) as catalog:
            assert await catalog.fetch("cat") == RECORD
        async with opening(make_dsn(postgres_dsn, host="other.invalid", port=port, **tls), resolver) as catalog:
            with pytest.raises(CatalogUnavailable, match="does not match host name"):
                await catalog.fetch("cat")
