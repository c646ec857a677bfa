"""Minimal aiohttp server as a baseline: relay, bytes from memory, redirect, 304.

``python -m bench.bare PORT ORIGIN FOLDER``
"""

import asyncio
import logging
import sys
from pathlib import Path

import aiohttp
import yarl
from aiohttp import web


async def serve(port: int, origin: str, folder: Path) -> None:
    """Serve until the process is killed."""
    bodies = {path.name: path.read_bytes() for path in folder.iterdir() if path.stat().st_size < 2_000_000}

    async def relay(request: web.Request) -> web.StreamResponse:
        url = yarl.URL(f"{origin}/{request.match_info['name']}", encoded=True)
        async with session.get(url) as answer:
            response = web.StreamResponse(status=answer.status, headers={"Content-Type": "image/png"})
            response.content_length = answer.content_length
            await response.prepare(request)
            async for piece in answer.content.iter_chunked(64 * 1024):
                await response.write(piece)
            await response.write_eof()
            return response

    async def memory(request: web.Request) -> web.Response:
        return web.Response(body=bodies[request.match_info["name"]], content_type="image/png")

    async def redirect(request: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": f"{origin}/{request.match_info['name']}"})

    async def not_modified(request: web.Request) -> web.Response:
        etag = request.headers["If-None-Match"]
        if request.match_info["name"] not in bodies:
            raise web.HTTPNotFound
        return web.Response(status=304, headers={"ETag": etag})

    app = web.Application()
    app.router.add_get("/relay/{name}", relay)
    app.router.add_get("/memory/{name}", memory)
    app.router.add_get("/redirect/{name}", redirect)
    app.router.add_get("/not-modified/{name}", not_modified)
    logging.disable()  # of clients that disconnect at the end of a round
    runner = web.AppRunner(app, access_log=None)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, auto_decompress=False) as session:
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), sys.argv[2], Path(sys.argv[3])))
