"""An application with an image proxy of its own: its table, its stored addresses, and its cached URLs in Redis."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp
import yarl
from aiohttp import web
from qcloud_cos import CosConfig, CosS3Client
from redis.asyncio import Redis

from gateway_dev.cos_emulator.server import CosEmulator
from gateway_dev.database import ImagesTable
from tests.conftest import BUCKET, SECRET_ID, SECRET_KEY

STORED: Final = "/api/v1/img-access/"
SCHEMA: Final = """
CREATE TYPE image_status AS ENUM ('draft', 'ready', 'published');
CREATE TABLE images (id serial PRIMARY KEY, cos_key text NOT NULL, status image_status NOT NULL,
    is_private boolean NOT NULL DEFAULT true, deleted_at timestamptz);
"""
_LIFE: Final = 3600  # seconds; of a presigned URL


@dataclass
class OwnProxy:
    """The application. ``served``: the keys that its proxy has answered, in their order."""

    table: ImagesTable
    redis: "Redis"
    cos: CosEmulator
    session: aiohttp.ClientSession
    url: str = ""
    served: list[str] = field(default_factory=list)

    async def execute(self, sql: str, *parameters: object) -> None:
        await asyncio.to_thread(self.table.execute, sql, *parameters)

    async def add(self, key: str, status: str = "ready") -> None:
        """Upload an image."""
        self.cos.store.put(BUCKET, key, f"bytes of {key}".encode(), content_type="image/png")
        await self.execute("INSERT INTO images (cos_key, status) VALUES (%s, %s)", key, status)

    async def clean_up(self) -> None:
        """Delete each cached URL that has ended, and what cannot be parsed, as the hourly task does."""
        async for key in self.redis.scan_iter("image:url:*"):
            try:
                is_current = json.loads(await self.redis.get(key) or "")["expires_at"] > time.time()
            except (ValueError, TypeError, KeyError):
                is_current = False
            if not is_current:
                await self.redis.delete(key)

    async def image(self, request: web.Request) -> web.StreamResponse:
        """Redirect to the presigned URL of a key, or fetch it."""
        key = request.match_info["key"]
        url = await self._presigned(key)
        if request.query.get("mode") == "redirect":
            return web.Response(status=302, headers={"Location": url})
        async with self.session.get(yarl.URL(url, encoded=True)) as answer:
            self.served.append(key)
            return web.Response(status=answer.status, body=await answer.read(), content_type="image/png")

    async def url_of(self, request: web.Request) -> web.StreamResponse:
        """An address of the application that is also one of the gateway."""
        return web.json_response({"application": request.match_info["id"]})

    async def _presigned(self, key: str) -> str:
        cached = await self.redis.get(f"image:url:{key}")
        if cached is not None:
            return str(json.loads(cached)["url"])
        host = f"127.0.0.1:{self.cos.port}"
        config = CosConfig(Region="ap-guangzhou", SecretId=SECRET_ID, SecretKey=SECRET_KEY, Scheme="http", Domain=host)
        url: str = CosS3Client(config).get_presigned_url(BUCKET, key, "GET", Expired=_LIFE)
        value = json.dumps({"url": url, "expires_at": time.time() + _LIFE})
        await self.redis.set(f"image:url:{key}", value, ex=_LIFE)
        return url


@asynccontextmanager
async def running_own_proxy(dsn: str, redis_url: str, cos: CosEmulator) -> AsyncIterator[OwnProxy]:
    """Run the application on a free port, with its table in that database."""
    async with aiohttp.ClientSession() as session, Redis.from_url(redis_url) as redis:
        proxy = OwnProxy(ImagesTable(dsn), redis, cos, session)
        await proxy.execute(SCHEMA)
        application: Any = web.Application()
        application.router.add_get(f"{STORED}{{key:.+}}", proxy.image)
        application.router.add_get("/api/v1/images/{id}/url", proxy.url_of)
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            proxy.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            yield proxy
        finally:
            await runner.cleanup()
