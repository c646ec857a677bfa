"""Two gateways that restart one after the other under load: no request fails, with each of the nginx files."""

import asyncio
import json
import re
import signal
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from gateway_dev.cos_emulator.server import CosEmulator
from tests.conftest import Images
from tests.nginx.conftest import CONFIG, Nginx, StartNginx, text_of, wheel_binary
from tests.nginx.name_server import name_server
from tests.nginx.scripted import answer, scripted
from tests.ports import reserved_port
from tests.processes import GATEWAY, gateway_process
from tests.waiting import running, until

pytestmark = pytest.mark.usefixtures("forked_commands")

RawSettings = dict[str, dict[str, Any]]

# For accel.conf in tests without requests to COS.
UNUSED_COS = "upstream cos { server 127.0.0.1:9; }\n"

# Concurrent clients, and the pause of each in seconds: enough to have a request at each moment of a restart, and not so
# many that they take the processor from the gateways that start.
READERS = 6
WRITERS = 2
PAUSE = 0.01
IMAGES = 20


class Replica:
    """A gateway that always listens on the same address; each start is a new process. ``admin``: 0 is any port.

    program: what the next start runs.
    lines: the output of every process that has ended.
    """

    def __init__(self, host: str, port: int, config: Path, admin: int = 0, *, program: Sequence[str] = GATEWAY) -> None:
        self.address = f"{host}:{port}"
        self.admin = f"{host}:{admin}"
        self.program = program
        self.lines: list[str] = []
        self._config = config
        self._environment = {
            "GATEWAY_SERVER__HOST": host,
            "GATEWAY_SERVER__PORT": str(port),
            "GATEWAY_ADMIN__PORT": str(admin),
        }
        self._stack = AsyncExitStack()

    async def start(self) -> None:
        """Start a process and wait until it listens."""
        arguments = ("serve", "--config", str(self._config))
        process = gateway_process(*arguments, environment=self._environment, program=self.program)
        self._running = await self._stack.enter_async_context(process)

    async def restart(self) -> None:
        """Send SIGTERM, wait for the end of the process, and start a new one."""
        await self.stop()
        await self.start()

    async def stop(self) -> None:
        """Send SIGTERM, and wait for the end of the process."""
        self._running.terminate()
        assert await self._running.exit_code() == 0
        await self.close()
        self.lines += self._running.lines

    def send_signal(self, number: signal.Signals) -> None:
        """Send the process a signal."""
        self._running.process.send_signal(number)

    async def close(self) -> None:
        """Kill the process if it runs, with SIGKILL."""
        await self._stack.aclose()


StartReplicas = Callable[..., Awaitable[list[Replica]]]


@pytest.fixture
async def start_replicas(raw_settings: RawSettings, images: Images, tmp_path: Path) -> AsyncIterator[StartReplicas]:
    """Function that starts a gateway on each of the addresses, with one delivery."""
    replicas: list[Replica] = []

    async def start(*addresses: tuple[str, int], delivery: str = "stream") -> list[Replica]:
        config = tmp_path / "gateway.yaml"
        raw_settings["image_proxy"]["delivery"] = delivery
        config.write_text(yaml.safe_dump(raw_settings))
        replicas.extend(Replica(host, port, config) for host, port in addresses)
        await asyncio.gather(*(replica.start() for replica in replicas))
        return replicas

    for number in range(IMAGES):
        await images.add(f"a{number}", bytes(1000))
    yield start
    for replica in replicas:
        await replica.close()


@asynccontextmanager
async def load(nginx: Nginx) -> AsyncIterator[Counter[str]]:
    """Run clients that send requests; yield the count of each outcome."""
    outcomes: Counter[str] = Counter()

    async def send(method: str, path: str, **options: Any) -> None:
        try:
            async with nginx.session.request(method, nginx.url + path, **options) as answer:
                body = await answer.read()
                outcomes["200" if answer.ok else f"{method} {answer.status} {json.loads(body)['code']}"] += 1
        except aiohttp.ClientError as error:
            outcomes[f"{method} {error!r}"] += 1
        await asyncio.sleep(PAUSE)

    async def read(start: int) -> None:
        for number in range(start, 1_000_000):
            await send("GET", f"/i/a{number % IMAGES}")

    async def write() -> None:
        while True:
            await send("POST", "/api/v1/images/urls", json={"image_ids": ["a0", "a1"]})

    async with running(*(read(number) for number in range(READERS)), *(write() for _ in range(WRITERS))):
        yield outcomes


async def restart_in_turn(nginx: Nginx, replicas: list[Replica]) -> None:
    """Restart each replica as soon as the one before listens again; check that every request succeeds."""
    async with load(nginx) as outcomes:
        await until(lambda: outcomes.total() > 100, what="answers before the restarts")
        for replica in replicas:
            await replica.restart()
        before = outcomes.total()
        await until(lambda: outcomes.total() > before + 100, what="answers after the restarts")
    assert outcomes.keys() == {"200"}, outcomes


@pytest.fixture
def two_addresses() -> Iterator[list[tuple[str, int]]]:
    """Addresses for two replicas on this machine."""
    with reserved_port() as first, reserved_port() as other:
        yield [("127.0.0.1", first), ("127.0.0.1", other)]


def upstream_of(replicas: list[Replica]) -> str:
    """Return ``upstream.conf`` with a server line for each replica."""
    text = (CONFIG / "upstream.conf").read_text()
    line = re.search(r"^ *server 127\.0\.0\.1:8080.*\n", text, flags=re.MULTILINE)
    assert line is not None
    lines = (line[0].replace("127.0.0.1:8080", replica.address) for replica in replicas)
    return text.replace(line[0], "".join(lines))


@pytest.mark.parametrize("has_cache", [False, True])
async def test_a_rolling_restart_behind_gateway_conf_fails_no_request(
    start_nginx: StartNginx,
    start_replicas: StartReplicas,
    two_addresses: list[tuple[str, int]],
    has_cache: bool,
) -> None:
    replicas = await start_replicas(*two_addresses)
    nginx = await start_nginx(upstream_of(replicas) + text_of("gateway.conf", has_cache=has_cache))
    await restart_in_turn(nginx, replicas)


async def test_a_rolling_restart_behind_accel_conf_fails_no_request(
    start_nginx: StartNginx, start_replicas: StartReplicas, cos: CosEmulator, two_addresses: list[tuple[str, int]]
) -> None:
    replicas = await start_replicas(*two_addresses, delivery="accel")
    to_cos = f"upstream cos {{ server 127.0.0.1:{cos.port}; keepalive 8; }}\n"
    nginx = await start_nginx(upstream_of(replicas) + to_cos + text_of("accel.conf"))
    await restart_in_turn(nginx, replicas)


async def test_a_rolling_restart_behind_the_upstream_of_compose_fails_no_request(
    start_nginx: StartNginx, start_replicas: StartReplicas
) -> None:
    """A DNS server in place of Docker's returns two addresses for "gateway"."""
    async with AsyncExitStack() as stack:
        port = stack.enter_context(reserved_port())
        replicas = await start_replicas(("127.0.0.1", port), ("127.0.0.2", port))
        name_server_port = await stack.enter_async_context(name_server({"gateway": ["127.0.0.1", "127.0.0.2"]}))
        changes = {"127.0.0.11": f"127.0.0.1:{name_server_port} ipv6=off", "gateway:8080": f"gateway:{port}"}
        files = ("upstream.compose.conf", "gateway.conf")
        http = "".join((CONFIG / file).read_text() for file in files)
        nginx = await start_nginx(http, changes, binary=wheel_binary())
        await restart_in_turn(nginx, replicas)


@pytest.mark.parametrize("file", ["gateway.conf", "accel.conf"])
async def test_a_post_whose_connection_closes_without_an_answer_goes_to_the_other_replica(
    start_nginx: StartNginx, file: str
) -> None:
    """A restarting replica closes an idle connection while nginx sends a request on it."""
    seen: list[str] = []

    def replica(head: str) -> str | None:
        if not head.startswith("POST"):
            return answer()
        seen.append(head)
        return answer() if len(seen) == 2 else None

    async with scripted(replica) as first, scripted(replica) as other:
        upstream = f"upstream image_gateway {{ server 127.0.0.1:{first}; server 127.0.0.1:{other}; }}\n"
        nginx = await start_nginx(upstream + UNUSED_COS + (CONFIG / file).read_text())
        assert (await nginx.request("POST", "/api/v1/images/urls")).status == 200
    assert len(seen) == 2
