"""Run the tests of http-cache-tests that apply to the gateway: ``make conformance``. Needs node and npm."""

import asyncio
import json
import logging
import os
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import aiohttp

from gateway.service.metrics import Metrics
from gateway.service.ports import serve
from gateway.settings import Settings
from gateway_dev.database import ImagesTable
from gateway_dev.postgres_server import PostgresServer
from gateway_dev.processes import HOST, free_port
from gateway_dev.redis_server import RedisServer
from tests.conformance.cache_tests.adapter import Adapter
from tests.conformance.cache_tests.verdicts import LEFT_OUT, RUN, Outcome, report
from tests.serving import serving

VERSION = "0.4.5"
# The suite lists npm, with four hundred packages, among its dependencies, but does not use it.
PACKAGE = {
    "private": True,
    "dependencies": {"http-cache-tests": VERSION, "node-fetch": "2.7.0"},
    "overrides": {"npm": "file:./no-npm"},
}
CLIENT = Path(__file__).with_name("client.mjs")
START_TIMEOUT = 10  # seconds for the suite's server
TIMEOUT = 120  # seconds for npm, and for all tests together, which take ten


async def run(*command: str | Path, folder: Path) -> bytes:
    """Return the output of a program. Raises ``RuntimeError`` if it fails, ``TimeoutError`` if it does not end."""
    process = await asyncio.create_subprocess_exec(*command, cwd=folder, stdout=asyncio.subprocess.PIPE)
    try:
        async with asyncio.timeout(TIMEOUT):
            output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        raise RuntimeError(f"{command[0]} failed with {process.returncode}")
    return output


async def install(folder: Path) -> Path:
    """Install the suite into a temporary folder."""
    (folder / "no-npm").mkdir()
    (folder / "no-npm/package.json").write_text(json.dumps({"name": "npm", "version": "6.14.18"}))
    (folder / "package.json").write_text(json.dumps(PACKAGE))
    quietly = ("--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
    await run("npm", "install", *quietly, folder=folder)
    return folder / "node_modules/http-cache-tests"


@asynccontextmanager
async def suite_server(suite: Path, folder: Path) -> AsyncIterator[str]:
    """Run the origin of the suite, which reads its settings from npm's variables."""
    port = free_port()
    settings = {"protocol": "http", "port": str(port), "pidfile": str(folder / "pid")}
    environment = os.environ | {f"npm_config_{key}": value for key, value in settings.items()}
    process = await asyncio.create_subprocess_exec(
        "node", "server/server.mjs", cwd=suite, env=environment, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(START_TIMEOUT):
            line = await process.stdout.readline()
        if not line.startswith(b"Listening"):
            raise RuntimeError("the suite's server did not start")
        warnings = asyncio.create_task(process.stdout.read(), name="warnings")  # a full pipe would block it
        yield f"http://{HOST}:{port}"
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
    await warnings


def settings_for(origin: str, redis_url: str, dsn: str, ttl: int) -> Settings:
    """Return the settings of a gateway with the suite as its COS."""
    return Settings.model_validate(
        {
            "server": {"host": HOST, "port": 0, "shutdown_grace": 1},
            "admin": {"port": 0},
            "redis": {"url": redis_url},
            "postgres": {"dsn": dsn},
            "cos": {
                "secret_id": "any",
                "secret_key": "any",
                "bucket": "suite-1250000000",
                "scheme": "http",
                "domain": origin.removeprefix("http://"),
            },
            "image_proxy": {"memory_cache": {"ttl": ttl}},
        }
    )


async def conform(folder: Path) -> list[Outcome]:
    """Return the outcome of each test of the suite."""
    suite = await install(folder)
    async with AsyncExitStack() as stack:
        redis = stack.enter_context(RedisServer(folder / "redis", ephemeral=True))
        postgres = stack.enter_context(PostgresServer(folder / "postgres", ephemeral=True))
        table = ImagesTable(postgres.dsn)
        table.create()
        session = await stack.enter_async_context(aiohttp.ClientSession(auto_decompress=False))
        server = await stack.enter_async_context(suite_server(suite, folder))
        adapter = Adapter(session, server, table)
        origin = await stack.enter_async_context(serving(adapter.origin()))
        for name, ttl in (("fresh", 60), ("stale", 1), ("failing", 1)):
            settings = settings_for(origin, redis.url, postgres.dsn, ttl)
            running = await stack.enter_async_context(serve(settings, Metrics()))
            adapter.gateways[name] = running.ports.public
        front = await stack.enter_async_context(serving(adapter.front()))
        found = await run("node", CLIENT, suite, front, ",".join(RUN), LEFT_OUT, folder=folder)
    return [Outcome(**outcome) for outcome in json.loads(found)]


def main() -> int:
    """Return 0 if every test has its expected outcome."""
    if missing := [program for program in ("node", "npm") if shutil.which(program) is None]:
        print(f"http-cache-tests was NOT run: {' and '.join(missing)} not found")
        return 1
    logging.getLogger("gateway").addHandler(logging.NullHandler())  # the suite's origin fails on purpose
    with tempfile.TemporaryDirectory(prefix="image-gateway-conformance-") as folder:
        found = asyncio.run(conform(Path(folder)))
    return report(found)


if __name__ == "__main__":
    sys.exit(main())
