"""Debian's nginx with its module njs, in front of gateways that a test scripts."""

import asyncio
import json
import secrets
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiohttp import web

from tests.nginx.conftest import CONFIG, Nginx, starting_nginx
from tests.ports import reserved_port

NGINX = "/usr/sbin/nginx"
_MODULES = "".join(
    f"load_module /usr/lib/nginx/modules/{name}.so;\n" for name in ("ngx_stream_module", "ngx_http_js_module")
)
SOON = 0.5  # seconds within which a change must take effect
_STEP = 0.05

StartNjs = Callable[..., Awaitable[Nginx]]


async def until_soon(condition: Callable[[], Awaitable[bool]], *, what: str, seconds: float = SOON) -> None:
    """Return when the condition holds, which must be after at most half a second, or ``seconds``.

    A question that takes longer than a twentieth of a second counts as so much: the machine is busy.
    """
    passed = 0.0
    begun = time.monotonic()
    while not await condition():
        assert passed < seconds, f"{what} did not come within {seconds:g} s, of {time.monotonic() - begun:.2f} s"
        before = time.monotonic()
        await asyncio.sleep(0.01)
        passed += min(time.monotonic() - before, _STEP)


@dataclass
class Scripted:
    """Both ports of a gateway: images as they are in ``images``, and the list of changes.

    skew: how far its clock is ahead, in milliseconds.
    complete_since: None means always.
    process, settings: its name, and the settings that its answers depend on.
    heartbeat_age: milliseconds since the heartbeat that came back last. None: a gateway without heartbeats, which reads
        ``since`` as a time of its own clock.
    status, body: what it answers instead of the list of changes.
    is_hanging: whether it answers nothing.
    decision_for: seconds for which nginx may keep a decision.
    allowed: the values of ``Authorization`` or ``Cookie``, or the user, that may view images; empty: everybody may.
    is_accel: whether it answers for an image with an ``X-Accel-Redirect``. It is COS, too.
    held: while this event is not set, answers about access wait.
    """

    images: dict[str, str] = field(default_factory=dict)
    changes: list[tuple[int, str | None]] = field(default_factory=list)
    skew: int = 0
    complete_since: int | None = None
    access: int = 0
    process: str = field(default_factory=lambda: secrets.token_hex(8))
    settings: str = "before"
    page: int = 10_000
    heartbeat_age: int | None = 1000
    status: int = 200
    body: str | None = None
    is_hanging: bool = False
    is_silent: bool = False
    decision_for: int = 0
    allowed: set[str] = field(default_factory=set)
    is_accel: bool = False
    is_public: bool = True
    held: asyncio.Event | None = None
    asked: list[Mapping[str, str]] = field(default_factory=list)
    requests: Counter[str] = field(default_factory=Counter)
    port: int = 0

    @property
    def address(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self.port}"

    def now(self) -> int:
        """Milliseconds of its clock."""
        return int(time.time() * 1000) + self.skew

    def set(self, image_id: str, content: str) -> None:
        """Change an image, and hear of it."""
        self.images[image_id] = content
        self.changes.append((self.now(), image_id))

    def restart(self, settings: str) -> None:
        """Be another process, with these settings."""
        self.process, self.settings = secrets.token_hex(8), settings

    async def answer_changes(self, request: web.Request) -> web.Response:
        """Answer as ``GET /api/v1/changes`` does."""
        if self.is_silent:
            assert request.transport is not None
            request.transport.abort()
        if self.is_hanging:
            await asyncio.Event().wait()
        assert request.host == "localhost"
        assert "X-Image-Key" not in request.headers
        self.asked.append({**request.query, "arrived": str(time.monotonic_ns())})
        if not request.query["epochs"].isdigit():
            return web.Response(status=400)  # as a gateway of before
        # The changes of the running millisecond come with the next list.
        now, since = self.now() - 1, int(request.query["since"])
        if self.heartbeat_age is not None and "now" in request.query:
            since = now - (int(request.query["now"]) - since)
        found = [{"image_id": name, "at": at} for at, name in self.changes if since <= at <= now]
        answer = {
            "gateway": self.process,
            "now": now,
            "complete_since": self.complete_since if self.complete_since is not None else 0,
            "changes": found[: self.page],
            "access": self.access,
            "settings": self.settings,
            **({"more": True} if len(found) > self.page else {}),
            **({"heartbeat": now - self.heartbeat_age} if self.heartbeat_age is not None else {}),
        }
        return web.Response(status=self.status, text=self.body if self.body is not None else json.dumps(answer))

    def allows(self, request: web.Request) -> bool:
        """Return whether the caller may view images."""
        callers = {request.headers.get(name) for name in ("Authorization", "Cookie", "X-User-Id")}
        return not self.allowed or bool(callers & self.allowed)

    async def answer_image(self, request: web.Request) -> web.Response:
        """Answer with the image as it is."""
        image_id = request.match_info["image_id"]
        self.requests[image_id] += 1
        if not self.allows(request):
            return web.Response(status=404, text="denied", headers={"Cache-Control": "no-store"})
        visibility = "public" if self.is_public else "private"
        headers = {"Cache-Control": f"{visibility}, max-age=3600", "Content-Type": "image/png"}
        if image_id not in self.images:
            return web.Response(text="none", headers={"Cache-Control": "no-store"})
        content = self.images[image_id]
        if not self.is_accel or "X-Accel-Failed" in request.headers:
            return web.Response(text=content, headers=headers)
        headers["X-Image-Cache-Control"] = headers.pop("Cache-Control")
        accel = {
            "X-Accel-Redirect": f"/_cos/{content}",
            "X-Origin-URL": f"http://{self.address}/cos/{image_id}?content={content}",
            "X-Origin-ETag": f'"{content}"',
            "X-Origin-Length": str(len(content)),
            "X-Decision-For": str(self.decision_for),
            "X-Image-Content-Disposition": f'inline; filename="{image_id}.png"',
            "Content-Security-Policy": "sandbox",
            "Access-Control-Allow-Origin": "*",
            "Vary": "Authorization",
            "Cache-Status": "image-gateway; fwd=bypass",
        }
        return web.Response(headers=headers | accel)

    async def answer_cos(self, request: web.Request) -> web.Response:
        """Answer as COS does for a presigned URL; an old URL is refused."""
        self.requests["COS"] += 1
        content = request.query["content"]
        if content != self.images.get(request.match_info["image_id"]):
            return web.Response(status=403)
        return web.Response(text=content, headers={"ETag": f'"{content}"', "Content-Type": "text/html"})

    async def answer_access(self, request: web.Request) -> web.Response:
        """Answer as the check for ``auth_request`` does."""
        self.requests["access"] += 1
        status = 200 if self.allows(request) else 403
        if self.held is not None:
            await self.held.wait()
        return web.Response(status=status, headers={"X-Decision-For": str(self.decision_for)})


@asynccontextmanager
async def scripted_gateways(number: int) -> AsyncIterator[list[Scripted]]:
    """Run scripted gateways."""
    async with AsyncExitStack() as stack:
        gateways = []
        for _ in range(number):
            gateway = Scripted()
            app = web.Application()
            app.router.add_get("/api/v1/changes", gateway.answer_changes)
            app.router.add_get("/api/v1/images/{image_id}/access", gateway.answer_access)
            app.router.add_get("/i/{image_id}", gateway.answer_image)
            app.router.add_get("/cos/{image_id}", gateway.answer_cos)
            runner = web.AppRunner(app, shutdown_timeout=0.1)
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            gateway.port = runner.addresses[0][1]
            gateways.append(gateway)
        yield gateways


@pytest.fixture
async def two() -> AsyncIterator[list[Scripted]]:
    """Two scripted gateways."""
    async with scripted_gateways(2) as gateways:
        yield gateways


@pytest.fixture
def gateway(two: list[Scripted]) -> Scripted:
    """A scripted gateway."""
    return two[0]


def site(file: str, public: list[str], admin: list[str]) -> str:
    """Return a file of ``config/nginx`` with upstreams, and with njs."""
    upstreams = "".join(
        f"upstream {name} {{ {''.join(f'server {address} max_fails=0; ' for address in addresses)} }}\n"
        for name, addresses in (("image_gateway", public), ("image_gateway_admin", admin))
    )
    return upstreams + (CONFIG / file).read_text().replace("include image-gateway/no-", "include image-gateway/")


@pytest.fixture
async def start_njs(tmp_path: Path, two: list[Scripted]) -> AsyncIterator[StartNjs]:
    """Function that starts nginx with njs; ``workers`` is 0 for a single process."""
    del two  # but nginx ends before them
    async with starting_njs(tmp_path) as start:
        yield start


@asynccontextmanager
async def starting_njs(folder: Path) -> AsyncIterator[StartNjs]:
    """Function that starts nginx with njs, as the fixture says."""
    async with AsyncExitStack() as stack:
        start_nginx = await stack.enter_async_context(starting_nginx(folder))

        async def start(http: str, changes: Mapping[str, str] | None = None, *, workers: int = 0) -> Nginx:
            loopback = {"127.0.0.1:9089": f"127.0.0.1:{stack.enter_context(reserved_port())}"}
            main = f"user root; worker_processes {workers};\n" if workers else "master_process off;\n"
            return await start_nginx(http, {**loopback, **(changes or {})}, binary=NGINX, main=main + _MODULES)

        yield start


@pytest.fixture
async def delays() -> AsyncIterator[list[float]]:
    """The longest time in seconds for which this process did not run, which no server can be blamed for."""
    longest = [0.0]

    async def watch() -> None:
        while True:
            before = time.monotonic()
            await asyncio.sleep(0.005)
            longest[0] = max(longest[0], time.monotonic() - before - 0.005)

    watching = asyncio.create_task(watch())
    yield longest
    watching.cancel()
