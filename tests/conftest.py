"""Real servers for the whole run, a clean state for each test, and a gateway on real sockets."""

import asyncio
import gc
import io
import json
import logging
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import jwt
import psycopg2
import pytest
import redis
from _pytest.nodeid import NodeId
from aiohttp import web
from blockbuster import BlockBuster
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from prometheus_client import CollectorRegistry
from psycopg2.extensions import make_dsn

from gateway.changes.change_log import ChangeLog
from gateway.delivery.accel import CONFIG_VERSION
from gateway.delivery.nginx_files import ACCEL_CONF
from gateway.objects.object_source import ObjectSource
from gateway.process.logs import LogHandler
from gateway.redis_queue.purge_queue import PurgeQueue
from gateway.server.listener import Listening
from gateway.server.request_log import LOGGER
from gateway.service.metrics import Metrics
from gateway.service.ports import serve
from gateway.service.service import Service
from gateway.service.stores import RedisStores
from gateway.settings import Settings
from gateway.settings.reload_difference import SettingsDifference
from gateway.urls.local_tier import LocalTier
from gateway.urls.resolver import UrlResolver
from gateway_dev.cos_emulator.access import Credential
from gateway_dev.cos_emulator.faults import Fault, Hang
from gateway_dev.cos_emulator.server import CosEmulator
from gateway_dev.cos_emulator.store import ObjectStore
from gateway_dev.database import ImageRow, ImagesTable
from gateway_dev.postgres_server import PostgresServer
from gateway_dev.processes import wait_until
from gateway_dev.redis_server import RedisServer
from tests.cluster import Cluster, running_cluster
from tests.kept_table import KeptTable, hash_password_once
from tests.limits import LIMIT
from tests.processes import FORK_SERVER
from tests.sentinel import Watched, running_sentinel
from tests.stalling import Stalling
from tests.tier import clock, tier

__all__ = ["clock", "tier"]

# Machines are busy, and the first text that a fresh clone draws builds tables of all of Unicode: slow is no finding.
hypothesis_settings.register_profile("gateway", deadline=None, suppress_health_check=[HealthCheck.too_slow])
hypothesis_settings.load_profile("gateway")

BUCKET = "photos-1250000000"
SECRET_ID = "AKIDEXAMPLE"
SECRET_KEY = "the-secret-key-of-the-emulator"
JWT_SECRET = "a-secret-of-at-least-thirty-two-bytes"
ADMIN_TOKEN = "the-admin-token-of-tests"

# Keys that live on without a TTL, each for a reason: the queues are bounded by their own entries, and the number of
# shards says where all other keys are.
KEPT_KEYS = {b"image:refresh:queue", b"image:refresh:dead", b"image:purge:queue", b"image:purge:dead"}


_WORTH_TELLING = 60  # seconds of tests; after fewer, the durations of single tests tell enough
# Folders and modules whose tests take longest: started last, such a test would keep a worker busy when the others have
# ended.
STARTED_FIRST = {
    "workers",
    "nginx",
    "njs",
    "simulation",
    "stories",
    "web",
    "test_denial_timing",
    "test_refresh_worker",
    "test_wheel",
}


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Exempt modules and tests from garbage collection, which would visit them again and again: they remain anyway."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.freeze()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Move the tests of ``STARTED_FIRST`` to the beginning, mark those with servers, and name the group in a test's id.

    pytest-xdist runs a group in one process by that name, but sets an attribute for it that pytest 9.2 does not read.
    """
    for item in items:
        if {"server_folder", "cos", "tier", "stalling"}.intersection(getattr(item, "fixturenames", ())):
            item.add_marker("servers")
    items.sort(key=lambda item: STARTED_FIRST.isdisjoint((item.path.parent.name, item.path.stem)))
    if not config.getoption("loadgroup", default=False):
        return
    for item in items:
        group = item.get_closest_marker("xdist_group")
        if group is not None and "@" not in item.nodeid:
            item._id = NodeId.parse(f"{item.nodeid}@{group.args[0]}")


@pytest.fixture(scope="session", autouse=True)
def open_files() -> None:
    """As many as the hard limit allows: desktops give 1024, and some tests have both ends of a thousand connections."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


@pytest.fixture(scope="session")
def server_folder() -> Iterator[Path]:
    """Where the servers of this run keep their data."""
    with tempfile.TemporaryDirectory(prefix="image-gateway-tests-") as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def redis_url(server_folder: Path) -> Iterator[str]:
    """A real Redis: the one named by GATEWAY_TEST_REDIS_URL, which is emptied, or one of the run's own."""
    if given := os.environ.get("GATEWAY_TEST_REDIS_URL"):
        yield given
        return
    with RedisServer(server_folder / "redis", ephemeral=True) as server:
        yield server.url


@pytest.fixture(scope="session")
def six_nodes(server_folder: Path) -> Iterator[Cluster]:
    """Three masters with a replica each. Tests that request it are in the group ``cluster``: so it starts once."""
    with running_cluster(server_folder / "cluster") as cluster:
        yield cluster


@pytest.fixture(scope="session")
def watched(server_folder: Path) -> Iterator[Watched]:
    """A master with a replica behind Sentinel. Tests that request it are in the group ``cluster``, too."""
    with running_sentinel(server_folder / "sentinel") as watched:
        yield watched


@pytest.fixture(scope="session")
def postgres_dsn(server_folder: Path) -> Iterator[str]:
    """A real Postgres: the one named by GATEWAY_TEST_POSTGRES_DSN, or one of the run's own."""
    if given := os.environ.get("GATEWAY_TEST_POSTGRES_DSN"):
        yield given
        return
    with PostgresServer(server_folder / "postgres", ephemeral=True) as server:
        hash_password_once(server.dsn, server.password)
        yield server.dsn


@pytest.fixture(scope="session")
def made_table(postgres_dsn: str) -> Iterator[ImagesTable]:
    """The application's table, made once: making it takes longer than most tests."""
    with closing(KeptTable(postgres_dsn)) as table:
        table.create()
        yield table


@pytest.fixture
def images_table(made_table: ImagesTable) -> ImagesTable:
    """The application's table, empty. All tests write on one connection; none inherits what another has SET there."""
    made_table.execute("RESET ALL; DELETE FROM images")
    return made_table


@pytest.fixture
def redis_client(redis_url: str) -> Iterator["redis.Redis"]:
    """A look into an empty Redis; afterwards every key has a time to live, or a reason to have none."""
    with redis.Redis.from_url(redis_url) as client:
        client.flushdb()
        yield client
        forever = {key for key in client.scan_iter() if client.ttl(key) == -1}
        # Each prefix has its number of shards.
        assert {key for key in forever if not key.endswith(b":shards")} <= KEPT_KEYS


@pytest.fixture(scope="session")
def fork_server(server_folder: Path) -> Iterator[Path]:
    """The socket of a server that forks a process for each command."""
    address = server_folder / "commands"
    command = (sys.executable, "-m", "tests.fork_server", str(address))
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, cwd=Path(__file__).parents[1]) as server:
        assert wait_until(address.exists, timeout=LIMIT)
        yield address
        server.terminate()


@pytest.fixture
def forked_commands(monkeypatch: pytest.MonkeyPatch, fork_server: Path) -> None:
    """``run_gateway`` and ``gateway_process`` start processes that do not import the gateway anew."""
    monkeypatch.setenv(FORK_SERVER, str(fork_server))


@pytest.fixture
async def stalling(tmp_path: Path) -> AsyncIterator[Stalling]:
    """A Redis for this test alone, whose answers can get lost."""
    async with Stalling.in_folder(tmp_path / "stalling-redis") as server:
        yield server


@pytest.fixture(scope="session")
def blockbuster() -> BlockBuster:
    """Finds the gateway's calls that block the loop. To make it takes a millisecond, and most tests take less."""
    # Tests start and ask servers while a loop runs.
    servers = ("server", "processes", "postgres_server", "redis_server", "database")
    return BlockBuster(["gateway", "gateway_dev"], excluded_modules=[f"gateway_dev.{name}" for name in servers])


@pytest.fixture(autouse=True)
def blocking_calls(blockbuster: BlockBuster) -> Iterator[None]:
    """Fail tests in which the gateway blocks the loop."""
    blockbuster.activate()
    yield
    blockbuster.deactivate()


@pytest.fixture
def far_from_greenwich(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine whose clock shows the time of Shanghai."""
    with monkeypatch.context() as patched:
        patched.setenv("TZ", "Asia/Shanghai")
        time.tzset()
        yield
    time.tzset()


@asynccontextmanager
async def running_cos() -> AsyncIterator[CosEmulator]:
    """Run the COS emulator with one empty bucket."""
    store = ObjectStore()
    store.create_bucket(BUCKET)
    credentials = {SECRET_ID: Credential(SECRET_KEY)}
    async with CosEmulator(store, credentials, default_bucket=BUCKET) as emulator:
        yield emulator


@pytest.fixture
async def cos() -> AsyncIterator[CosEmulator]:
    """The COS emulator with one empty bucket."""
    async with running_cos() as emulator:
        yield emulator


@pytest.fixture
def links_table(made_table: ImagesTable, images_table: ImagesTable) -> ImagesTable:
    """The gateway's own table of killed links, empty, made by the SQL that operators run."""
    made_table.create_links()
    made_table.execute("DELETE FROM image_gateway_links")
    return images_table


@pytest.fixture
def raw_settings(
    redis_url: str, postgres_dsn: str, made_table: ImagesTable, cos: CosEmulator
) -> dict[str, dict[str, Any]]:
    """The sections of a configuration on the run's servers, as the YAML file would contain them."""
    del made_table  # but it is there: without it the gateway does not start
    return {
        "server": {"host": "127.0.0.1", "port": 0, "shutdown_grace": 5},
        "admin": {"port": 0, "token": ADMIN_TOKEN},
        # Nothing is late on a busy machine; what a time-out does is tested with its own.
        "redis": {"url": redis_url, "timeout": 5},
        "postgres": {"dsn": postgres_dsn, "timeout": 30},
        "cos": {
            "secret_id": SECRET_ID,
            "secret_key": SECRET_KEY,
            "bucket": BUCKET,
            "scheme": "http",
            "domain": f"127.0.0.1:{cos.port}",
        },
        "image_proxy": {"timeout": 30},
        "access": {"jwt": {"secret": JWT_SECRET}},
    }


@dataclass
class Images:
    """Puts images where they belong: the row into Postgres, the object into the emulator."""

    table: ImagesTable
    cos: CosEmulator

    async def add(
        self,
        image_id: str,
        data: bytes = b"bytes of an image",
        *,
        key: str | None = None,
        owner: str | None = None,
        public: bool = True,
        content_type: str = "image/png",
        status: str = "active",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """One image; private ones want an ``owner``."""
        key = key if key is not None else f"objects/{image_id}.png"
        self.cos.store.put(BUCKET, key, data, content_type=content_type, headers=headers)
        await self.add_row(ImageRow(image_id, owner, key, content_type=content_type, public=public, status=status))

    async def add_hanging(self, image_id: str) -> None:
        """A public image of 1 MB; COS's next answer stops in the middle of it."""
        await self.add(image_id, b"x" * 1_000_000)
        self.cos.faults.add(Fault(action=Hang(at=500_000)))

    async def add_row(self, row: ImageRow) -> None:
        """The row alone."""
        await asyncio.to_thread(self.table.put, [row])

    async def execute(self, sql: str, *parameters: object) -> None:
        """Something the application does to its table."""
        await asyncio.to_thread(self.table.execute, sql, *parameters)


@pytest.fixture
def metrics() -> Metrics:
    """The collectors of this test."""
    return Metrics()


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis for this test alone, to be broken."""
    with RedisServer(tmp_path / "redis") as server:
        yield server


@pytest.fixture
def own_dsn(postgres_dsn: str) -> Iterator[str]:
    """The DSN of an empty database for this test alone."""
    with closing(psycopg2.connect(postgres_dsn)) as connection:
        connection.autocommit = True
        connection.cursor().execute("CREATE DATABASE own")
        yield make_dsn(postgres_dsn, dbname="own")
        connection.cursor().execute("DROP DATABASE own WITH (FORCE)")


@pytest.fixture
def images(images_table: ImagesTable, cos: CosEmulator) -> Images:
    """The images of this test, none at first."""
    return Images(images_table, cos)


@dataclass
class Answer:
    """An answer read to its end."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body, which must be JSON."""
        return json.loads(self.body)


@dataclass(repr=False)
class RunningGateway:
    """A gateway on two free ports, and a client that neither follows nor decodes anything.

    With ``accel`` the client names the nginx files of the release, as ``accel.conf`` does.
    """

    service: Service
    registry: CollectorRegistry
    ports: Listening
    session: aiohttp.ClientSession
    close: Callable[[], Awaitable[None]]
    sections: dict[str, dict[str, Any]]

    @property
    def address(self) -> str:
        """Host and public port."""
        return self.ports.public.removeprefix("http://")

    @property
    def redis(self) -> RedisStores:
        """What speaks Redis; the URL cache must be enabled."""
        assert self.service.stores.redis is not None
        return self.service.stores.redis

    @property
    def purge_queue(self) -> PurgeQueue:
        """The queue of purges; ``purge`` must be configured."""
        assert self.service.purges is not None
        return self.service.purges.queue

    @property
    def replica_name(self) -> str:
        """The name by which other replicas know this one."""
        return self.service.diagnostics.replica.name

    @property
    def changes(self) -> ChangeLog:
        """What this gateway knows of changes."""
        return self.service.changes.log

    @property
    def resolver(self) -> UrlResolver:
        """Looks presigned URLs up."""
        return self.service.urls.resolver

    @property
    def local(self) -> LocalTier:
        """The URLs in the memory of this gateway."""
        return self.service.urls.local

    @property
    def source(self) -> ObjectSource:
        """The bytes of objects."""
        return self.service.images.source

    def forget(self, image_id: str) -> None:
        """Drop an image from this gateway's memory, as if another one had purged it."""
        self.service.urls.invalidation.drop_here(image_id)

    async def forget_everywhere(self, image_id: str) -> None:
        """Drop an image, as a purge does."""
        await self.service.urls.invalidation.drop([image_id])

    async def publish_replica(self) -> None:
        """Tell the other replicas now what this one does; it does so every few seconds."""
        await self.service.diagnostics.replica.record()

    async def flush_uses(self) -> None:
        """Write the counted uses to Redis."""
        await self.service.urls.usage.flush()

    def flush_request_log(self) -> None:
        """Write the lines of requests that wait for others."""
        self.service.requests.request_log.flush()

    def drain(self) -> None:
        """Begin to drain."""
        self.service.diagnostics.health.drain()

    async def reload(self, **changes: Mapping[str, Any]) -> SettingsDifference:
        """Change keys of sections, or the whole of ``image_styles``, and reload the configuration, as SIGHUP does."""
        for name, changed in changes.items():
            others = self.sections.get(name, {}) if name != "image_styles" else {}
            self.sections[name] = {**others, **changed}
        return await self.service.reloader.reload()

    async def request(self, method: str, path: str, *, admin: bool = False, **options: Any) -> Answer:
        """Send one request to the public port, or the admin port."""
        base = self.ports.admin if admin else self.ports.public
        async with self.session.request(method, base + path, allow_redirects=False, **options) as response:
            return Answer(response.status, response.headers, await response.read())

    async def get(self, path: str, *, user: str | None = None, **options: Any) -> Answer:
        """GET, as ``user`` if one is named."""
        headers = dict(options.pop("headers", {}))
        if user is not None:
            headers["Authorization"] = f"Bearer {token_for(user)}"
        return await self.request("GET", path, headers=headers, **options)

    def sample(self, name: str, **labels: str) -> float:
        """The value of a metric now; 0.0 when it was never touched."""
        return self.registry.get_sample_value(f"image_gateway_{name}", labels) or 0.0


StartGateway = Callable[..., Awaitable[RunningGateway]]


@asynccontextmanager
async def starting_gateways(raw_settings: dict[str, dict[str, Any]]) -> AsyncIterator[StartGateway]:
    """Yield a function that starts gateways; they end with the context. ``extend`` may add routes to one."""
    async with AsyncExitStack() as all_of_them:

        async def start(
            *, extend: Callable[[Service, web.Application], None] | None = None, **changes: Mapping[str, Any]
        ) -> RunningGateway:
            sections = {
                name: {**raw_settings.get(name, {}), **changes.get(name, {})} for name in raw_settings | changes
            }
            metrics = Metrics()
            opening = serve(
                Settings.model_validate(sections),
                metrics,
                lambda: Settings.model_validate(sections),
                extend=extend,
            )
            stack = await all_of_them.enter_async_context(AsyncExitStack())
            serving = await stack.enter_async_context(opening)
            through = {CONFIG_VERSION: ACCEL_CONF} if sections["image_proxy"].get("delivery") == "accel" else {}
            session = await stack.enter_async_context(aiohttp.ClientSession(headers=through, auto_decompress=False))
            return RunningGateway(serving.service, metrics.registry, serving.ports, session, stack.aclose, sections)

        yield start


@pytest.fixture
async def start_gateway(
    raw_settings: dict[str, dict[str, Any]], images_table: ImagesTable, redis_client: "redis.Redis"
) -> AsyncIterator[StartGateway]:
    """Starts gateways that end with the test; keyword arguments change sections: ``url_cache={"local_ttl": 0}``."""
    async with starting_gateways(raw_settings) as start:
        yield start


@pytest.fixture
def access_lines() -> Iterator[io.StringIO]:
    """Where the access log goes, which is at its level; to be requested before the gateway."""
    text = io.StringIO()
    access, handler = logging.getLogger(LOGGER), LogHandler(text, "json", None)
    access.addHandler(handler)
    access.setLevel(logging.INFO)
    yield text
    access.setLevel(logging.NOTSET)
    access.removeHandler(handler)


@pytest.fixture
async def gateway(start_gateway: StartGateway) -> RunningGateway:
    """A gateway as it is configured by default."""
    return await start_gateway()


def token_for(user: str, *, secret: str = JWT_SECRET, **claims: Any) -> str:
    """A bearer token of the user that is valid for an hour."""
    return jwt.encode({"sub": user, "exp": int(time.time()) + 3600, **claims}, secret, algorithm="HS256")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say where the time went: seconds by folder, added up over all processes."""
    seconds: defaultdict[str, float] = defaultdict(float)
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport):
                seconds["/".join(report.nodeid.split("::")[0].split("/")[:2])] += report.duration
    if sum(seconds.values()) > _WORTH_TELLING:
        by_time = sorted(seconds.items(), key=lambda entry: -entry[1])
        terminalreporter.section("seconds by folder")
        terminalreporter.write_line(", ".join(f"{folder} {took:.0f}" for folder, took in by_time))
