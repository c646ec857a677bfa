"""The servers of the soak, and the gateways as processes that can be killed and restarted."""

import asyncio
import signal
import sys
import time
from collections.abc import AsyncIterator, Collection
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import yaml

from bench.soak.pictures import BUCKET, Picture, put_objects
from gateway.cos_emulator.access import Credential
from gateway.cos_emulator.server import CosEmulator
from gateway.cos_emulator.store import ObjectStore
from gateway.dev.database import ImagesTable
from gateway.dev.postgres_server import PostgresServer
from gateway.dev.processes import free_port
from gateway.dev.redis_server import RedisServer

SECRET_ID, SECRET_KEY = "AKIDsoak0123456789", "soak-secret-key-that-no-log-may-show"
JWT_SECRET = "soak-jwt-secret-of-thirty-two-bytes-or-more"  # noqa: S105
LINK_KEY = "soak-link-key-of-thirty-two-bytes-or-more"
ADMIN_TOKEN = "soak-admin-token"  # noqa: S105
# Short, so that every URL is renewed many times in ten minutes.
TTL, THRESHOLD, MIN_REMAINING = 120, 60, 20
_START_TIMEOUT = 60.0  # seconds


@dataclass
class Replica:
    """One gateway process; its log is appended to ``log``."""

    name: str
    config: Path
    public: str
    admin: str
    log: Path
    process: asyncio.subprocess.Process | None = None
    started: list[float] = field(default_factory=list)

    @property
    def running(self) -> asyncio.subprocess.Process:
        """The process; raises RuntimeError before the start."""
        if self.process is None:
            raise RuntimeError(f"{self.name} was not started")
        return self.process

    async def start(self, *, ready_statuses: Collection[int] = (200,)) -> None:
        """Start the process and wait until ``/readyz`` answers with one of these statuses."""
        with self.log.open("ab") as output:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "gateway", "serve", "--config", str(self.config), stdout=output, stderr=output
            )
        self.started.append(time.monotonic())
        async with asyncio.timeout(_START_TIMEOUT), aiohttp.ClientSession() as session:
            while True:
                try:
                    async with session.get(self.admin + "/readyz") as answer:
                        if answer.status in ready_statuses:
                            return
                except aiohttp.ClientError:
                    pass
                if self.process.returncode is not None:
                    raise RuntimeError(f"{self.name} ended at once:\n" + self.log.read_text())
                await asyncio.sleep(0.1)

    async def stop(self, number: signal.Signals) -> int:
        """Send the signal, and return the exit code."""
        self.running.send_signal(number)
        return await self.running.wait()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal that does not end the process."""
        self.running.send_signal(number)

    def memory(self) -> int:
        """Return the resident bytes of the process."""
        return int(psutil.Process(self.running.pid).memory_info().rss)

    def descriptors(self) -> int:
        """Return the number of open files of the process."""
        return sum(1 for _ in Path(f"/proc/{self.running.pid}/fd").iterdir())


@dataclass
class Stack:
    """Everything that the soak runs."""

    redis: RedisServer
    postgres: PostgresServer
    table: ImagesTable
    cos: CosEmulator
    replicas: list[Replica]
    pictures: dict[str, Picture]


def _sections(redis: RedisServer, postgres: PostgresServer, cos_port: int, ports: tuple[int, int]) -> dict[str, Any]:
    return {
        "server": {"host": "127.0.0.1", "port": ports[0], "shutdown_grace": 20},
        "admin": {"port": ports[1], "token": ADMIN_TOKEN},
        "redis": {"url": redis.url},
        "postgres": {"dsn": postgres.dsn},
        "cos": {
            "secret_id": SECRET_ID,
            "secret_key": SECRET_KEY,
            "bucket": BUCKET,
            "scheme": "http",
            "domain": f"127.0.0.1:{cos_port}",
        },
        "url_cache": {"default_ttl": TTL, "min_remaining": MIN_REMAINING, "local_ttl": 5, "sign_window": 10},
        "url_prerefresh": {"interval": 5, "threshold": THRESHOLD, "lease": 10},
        # Small, so that bytes come from COS as well as from memory.
        "image_proxy": {"timeout": 10, "memory_cache": {"max_bytes": 16_000_000}},
        "image_styles": {"card": {"process": "imageMogr2/thumbnail/{width}x>/strip", "widths": [160, 320]}},
        "access": {"jwt": {"secret": JWT_SECRET}, "signed_links": {"keys": {"k1": LINK_KEY}}},
    }


@asynccontextmanager
async def running_stack(folder: Path, replicas: int) -> AsyncIterator[Stack]:
    """Start the servers and the gateways; stop them at the end."""
    async with AsyncExitStack() as stack:
        redis = stack.enter_context(RedisServer(folder / "redis"))
        postgres = stack.enter_context(PostgresServer(folder / "postgres"))
        store = ObjectStore()
        pictures, rows = put_objects(store)
        table = ImagesTable(postgres.dsn)
        table.create()
        table.create_links()
        table.put(rows)
        credentials = {SECRET_ID: Credential(SECRET_KEY)}
        cos = CosEmulator(store, credentials, port=free_port(), default_bucket=BUCKET)
        await stack.enter_async_context(cos)
        started = []
        for number in range(replicas):
            ports = free_port(), free_port()
            config = folder / f"gateway-{number}.yaml"
            config.write_text(yaml.safe_dump(_sections(redis, postgres, cos.port, ports)))
            public, admin = (f"http://127.0.0.1:{port}" for port in ports)
            replica = Replica(f"gateway-{number}", config, public, admin, folder / f"gateway-{number}.log")
            await replica.start()
            started.append(replica)
            stack.push_async_callback(stopped, replica)
        yield Stack(redis, postgres, table, cos, started, pictures)


async def stopped(replica: Replica) -> None:
    """Kill the process, if it still runs, and wait for its end."""
    if replica.process is not None and replica.process.returncode is None:
        await replica.stop(signal.SIGKILL)
