"""The servers of the soak, and the gateways as processes that can be killed and restarted."""

import asyncio
import signal
import sys
import time
from collections.abc import AsyncIterator, Collection
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import yaml
from aiohttp import web

from bench.soak.pictures import BUCKET, Picture, put_objects, put_samples
from gateway_dev.cos_emulator.access import Credential
from gateway_dev.cos_emulator.credential_services import CredentialServices, TokenIssuer
from gateway_dev.cos_emulator.server import CosEmulator
from gateway_dev.cos_emulator.store import ObjectStore
from gateway_dev.database import ImageRow, ImagesTable
from gateway_dev.playground import Playground
from gateway_dev.postgres_server import PostgresServer
from gateway_dev.processes import free_port
from gateway_dev.stack import JWT_SECRET  # the tokens of the playground's page are signed with it
from gateway_dev.styles import STYLES
from tests.cluster import Cluster, running_cluster
from tests.nginx.conftest import Nginx
from tests.njs.conftest import site, starting_njs
from tests.serving import serving

LINK_KEY = "soak-link-key-of-thirty-two-bytes-or-more"
ENTRY_KEY = "soak-entry-key-of-thirty-two-bytes-or-more"
ADMIN_TOKEN = "soak-admin-token"  # noqa: S105
WORKERS = 2  # of each gateway
# Short, so that every URL is renewed many times in ten minutes, with four sets of credentials.
TTL, THRESHOLD, MIN_REMAINING = 120, 60, 20
TOKEN_LIFE = 300
_START_TIMEOUT = 600.0  # seconds, for all starts together: far more than on a quiet machine
_STARTS = 5


@dataclass
class Replica:
    """A gateway: a process, with ``workers`` above 1 the parent of so many; its log is appended to ``log``."""

    name: str
    config: Path
    public: str
    admin: str
    log: Path
    workers: int = 1
    process: asyncio.subprocess.Process | None = None
    started: list[float] = field(default_factory=list)

    @property
    def running(self) -> asyncio.subprocess.Process:
        """The process; raises RuntimeError before the start."""
        if self.process is None:
            raise RuntimeError(f"{self.name} was not started")
        return self.process

    async def start(self, *, ready_statuses: Collection[int] = (200,)) -> None:
        """Start the process and wait until all workers run and ``/readyz`` answers with one of these statuses.

        A process that ends instead is started again, as systemd does: on a busy machine a worker may take too long.
        """
        async with asyncio.timeout(_START_TIMEOUT), aiohttp.ClientSession() as session:
            for _ in range(_STARTS):
                with self.log.open("ab") as output:
                    earlier = output.tell()
                    self.process = await asyncio.create_subprocess_exec(
                        *(sys.executable, "-m", "gateway", "serve", "--config", str(self.config)),
                        *(("--workers", str(self.workers)) if self.workers > 1 else ()),
                        stdout=output,
                        stderr=output,
                    )
                self.started.append(time.monotonic())
                while self.process.returncode is None:
                    with suppress(aiohttp.ClientError):
                        async with session.get(self.admin + "/readyz") as answer:
                            is_ready = answer.status in ready_statuses
                        if is_ready and self._has_said("listening: ", earlier):
                            return
                    await asyncio.sleep(0.1)
        raise RuntimeError(f"{self.name} does not start:\n" + self.log.read_text()[-5000:])

    def _has_said(self, text: str, earlier: int) -> bool:
        with self.log.open(encoding="utf-8") as lines:
            lines.seek(earlier)
            return any(text in line for line in lines)

    @property
    def has_ended(self) -> bool:
        """Whether the process has ended, though it was started."""
        return self.running.returncode is not None

    async def stop(self, number: signal.Signals) -> int:
        """Send the signal, and return the exit code."""
        self.running.send_signal(number)
        return await self.running.wait()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal that does not end the process."""
        self.running.send_signal(number)

    async def kill(self) -> None:
        """Kill it with its workers, as a supervisor or the kernel does with a control group."""
        for process in (children := self._workers()):
            process.kill()
        await self.stop(signal.SIGKILL)
        await asyncio.to_thread(psutil.wait_procs, children)

    def kill_worker(self, number: int) -> None:
        """Kill a worker; the parent starts another."""
        workers = self._workers()
        workers[number % len(workers)].kill()

    def memory(self) -> int:
        """Return the resident bytes of its processes."""
        return sum(process.memory_info().rss for process in self._all())

    def descriptors(self) -> int:
        """Return the number of open files of its processes."""
        return sum(process.num_fds() for process in self._all())

    def _workers(self) -> list[psutil.Process]:
        return sorted(psutil.Process(self.running.pid).children(), key=lambda process: process.pid)

    def _all(self) -> list[psutil.Process]:
        return [psutil.Process(self.running.pid), *self._workers()]


@dataclass
class Stack:
    """Everything that the soak runs. ``originals``: the bytes of the playground's images that everybody may view."""

    redis: Cluster
    postgres: PostgresServer
    table: ImagesTable
    cos: CosEmulator
    credentials: CredentialServices
    replicas: list[Replica]
    nginx: Nginx
    pictures: dict[str, Picture]
    originals: dict[str, bytes]

    @property
    def addresses(self) -> list[str]:
        """Where requests go in turn: nginx before each gateway, so that the next one is another server."""
        return [address for replica in self.replicas for address in (self.nginx.url, replica.public)]


def _sections(
    redis_url: str, dsn: str, cos_port: int, credentials: CredentialServices, ports: tuple[int, int]
) -> dict[str, Any]:
    return {
        "server": {"host": "127.0.0.1", "port": ports[0], "shutdown_grace": 20},
        "admin": {"port": ports[1], "token": ADMIN_TOKEN},
        "redis": {"url": redis_url, "entry_key": ENTRY_KEY},
        "postgres": {"dsn": dsn},
        "cos": {
            "credentials": {"source": "cvm_role", "metadata_url": credentials.url},
            "bucket": BUCKET,
            "scheme": "http",
            "domain": f"127.0.0.1:{cos_port}",
        },
        "url_cache": {"default_ttl": TTL, "min_remaining": MIN_REMAINING, "local_ttl": 5, "sign_window": 10},
        "url_prerefresh": {"interval": 5, "threshold": THRESHOLD, "lease": 10},
        # Small, so that bytes come from COS as well as from memory.
        "image_proxy": {"timeout": 10, "memory_cache": {"max_bytes": 16_000_000}},
        "image_styles": STYLES,
        "image_variants": {"negotiate": "accept"},
        "access": {"jwt": {"secret": JWT_SECRET}, "signed_links": {"keys": {"k1": LINK_KEY}}},
    }


@asynccontextmanager
async def running_stack(folder: Path, replicas: int) -> AsyncIterator[Stack]:
    """Start the servers and the gateways; stop them at the end."""
    async with AsyncExitStack() as stack:
        redis = stack.enter_context(running_cluster(folder))
        postgres = stack.enter_context(PostgresServer(folder / "postgres"))
        store = ObjectStore()
        pictures, rows = put_objects(store)
        samples, originals = put_samples(store)
        table = ImagesTable(postgres.dsn)
        table.create()
        table.create_links()
        table.put(rows + samples)
        credentials: dict[str, Credential] = {}
        cos = CosEmulator(store, credentials, port=free_port(), default_bucket=BUCKET)
        await stack.enter_async_context(cos)
        metadata = CredentialServices(TokenIssuer(credentials, life=TOKEN_LIFE))
        await stack.enter_async_context(metadata)
        started = []
        for number in range(replicas):
            ports = free_port(), free_port()
            config = folder / f"gateway-{number}.yaml"
            config.write_text(yaml.safe_dump(_sections(redis.url, postgres.dsn, cos.port, metadata, ports)))
            public, admin = (f"http://127.0.0.1:{port}" for port in ports)
            log = folder / f"gateway-{number}.log"
            replica = Replica(f"gateway-{number}", config, public, admin, log, WORKERS)
            stack.push_async_callback(stopped, replica)
            await replica.start()
            started.append(replica)
        playground = await stack.enter_async_context(_playground(samples, cos))
        nginx = await stack.enter_async_context(_nginx(folder, started, playground))
        yield Stack(redis, postgres, table, cos, metadata, started, nginx, pictures, originals)


@asynccontextmanager
async def _playground(rows: list[ImageRow], cos: CosEmulator) -> AsyncIterator[str]:
    """Serve the page of ``gateway dev``; yield its address. Its images are those of the gateways."""
    app = web.Application()
    Playground(rows, cos).add_routes(app, lambda _: None)
    async with serving(app) as address:
        yield address


@asynccontextmanager
async def _nginx(folder: Path, replicas: list[Replica], playground: str) -> AsyncIterator[Nginx]:
    """Run nginx with epochs in front of the gateways; the page of the playground is on the same origin."""
    public, admin = (
        [address.removeprefix("http://") for address in addresses]
        for addresses in ([replica.public for replica in replicas], [replica.admin for replica in replicas])
    )
    others = "    location / {"
    to_playground = f"{{ proxy_pass {playground}; proxy_set_header Host $http_host; }}\n"
    page = f"    location = / {to_playground}    location /dev/ {to_playground}{others}"
    (folder / "nginx").mkdir()
    async with starting_njs(folder / "nginx") as start:
        yield await start(site("gateway-cache.conf", public, admin), {others: page}, workers=2)


async def stopped(replica: Replica) -> None:
    """Kill the process, if it still runs, and wait for its end."""
    if replica.process is not None and replica.process.returncode is None:
        with suppress(psutil.NoSuchProcess):
            await replica.kill()
