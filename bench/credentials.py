"""Two gateways whose credentials end every minute, under load for ten minutes: no request fails.

    python -m bench.credentials [--seconds 600] [--rate 200] [--token-life 60]

Uses the Redis and PostgreSQL of the development stack and the COS emulator, which verifies every signature and token,
with a metadata service for each gateway. Half of the requests are for bytes, half for URLs, which are then fetched.
Exits with 1 if a request fails, or a URL ends after its token.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import aiohttp
from yarl import URL

from bench.databases import BUCKET, Databases, running_databases
from gateway.service.metrics import Metrics
from gateway.service.serving import serve
from gateway.settings import Settings
from gateway_dev.cos_emulator.access import Credential
from gateway_dev.cos_emulator.credential_services import CredentialServices
from gateway_dev.cos_emulator.server import CosEmulator
from gateway_dev.cos_emulator.store import ObjectStore
from gateway_dev.cos_emulator.tokens import TokenIssuer
from gateway_dev.database import ImageRow

IMAGES = 500


class Run:
    """Requests at a steady rate; ``failures`` counts the answers that are not 200, by kind of request."""

    def __init__(self, bases: list[str], credentials: dict[str, Credential], session: aiohttp.ClientSession) -> None:
        self._bases = bases
        self._credentials = credentials
        self._session = session
        self.requests = 0
        self.slowest = 0.0
        self.past_their_token = 0
        self.failures: Counter[str] = Counter()

    async def run(self, seconds: float, rate: float) -> None:
        """Send requests for this time, each on schedule even if others are late."""
        began = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for number in range(int(seconds * rate)):
                await asyncio.sleep(began + number / rate - time.monotonic())
                group.create_task(self._request(number), name=f"request-{number}")

    async def _request(self, number: int) -> None:
        base, image_id, began = self._bases[number % len(self._bases)], f"id-{number % IMAGES}", time.monotonic()
        self.requests += 1
        if number % 4 < len(self._bases):
            await self._get(f"{base}/i/{image_id}", "bytes")
        else:
            answer = await self._get(f"{base}/api/v1/images/{image_id}/url", "url")
            if answer is not None:
                url = (await answer.json())["data"]["url"]
                query = parse_qs(urlsplit(url).query)
                end = self._credentials[query["q-ak"][0]].expires_at
                self.past_their_token += end is None or int(query["q-sign-time"][0].partition(";")[2]) > end
                await self._get(url, "presigned url")
        self.slowest = max(self.slowest, time.monotonic() - began)

    async def _get(self, url: str, what: str) -> aiohttp.ClientResponse | None:
        try:
            async with self._session.get(URL(url, encoded=True)) as answer:
                await answer.read()
        except aiohttp.ClientError as error:
            self.failures[f"{what}: {type(error).__name__}"] += 1
            return None
        if answer.status == 200:
            return answer
        self.failures[f"{what}: {answer.status}"] += 1
        return None


async def measure(databases: Databases, options: argparse.Namespace) -> bool:
    """Start both gateways, send the requests, and print the result; return whether none failed."""
    store, credentials = ObjectStore(), dict[str, Credential]()
    for number in range(IMAGES):
        store.put(BUCKET, f"{number}.png", b"x" * 4096, content_type="image/png")
    async with AsyncExitStack() as stack:
        cos = await stack.enter_async_context(CosEmulator(store, credentials, default_bucket=BUCKET))
        metrics, bases = [Metrics(), Metrics()], []
        for collectors in metrics:
            issuer = TokenIssuer(credentials, life=options.token_life)
            instance = await stack.enter_async_context(CredentialServices(issuer))
            sections = {
                "server": {"host": "127.0.0.1", "port": 0},
                "admin": {"port": 0},
                "redis": {
                    "url": databases.redis.url,
                    "timeout": 5,
                    "entry_key": "a-key-of-thirty-two-bytes-or-more",
                },
                "postgres": {"dsn": databases.postgres.dsn, "listen": False},
                "cos": {
                    "bucket": BUCKET,
                    "scheme": "http",
                    "domain": f"127.0.0.1:{cos.port}",
                    "credentials": {"source": "cvm_role", "metadata_url": instance.url},
                },
                "image_proxy": {"memory_cache": {"max_bytes": 0}},
            }
            running = await stack.enter_async_context(serve(Settings.model_validate(sections), collectors))
            bases.append(running.ports.public)
        session = await stack.enter_async_context(aiohttp.ClientSession())
        run = Run(bases, credentials, session)
        began = time.monotonic()
        await run.run(options.seconds, options.rate)
        took = time.monotonic() - began
        refused = sum(seen.status not in (200, 304) for seen in cos.request_log.requests if seen.key)
        sets = [
            collectors.registry.get_sample_value("image_gateway_credentials_refresh_total", {"result": "refreshed"})
            for collectors in metrics
        ]
    print(f"{run.requests} requests in {took:.0f} s, tokens of {options.token_life} s")
    print(f"the slowest took {run.slowest:.2f} s")
    print(f"sets of credentials: {sets[0]:g} and {sets[1]:g}; refused by COS of the latest 10,000: {refused}")
    print(f"failures: {dict(run.failures) or 'none'}; URLs past their token: {run.past_their_token}")
    return not (run.failures or run.past_their_token)


def main() -> None:
    """Start the servers and measure."""
    parser = argparse.ArgumentParser(prog="python -m bench.credentials")
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--rate", type=float, default=200, help="requests a second to both gateways together")
    parser.add_argument("--token-life", type=int, default=60, help="seconds")
    options = parser.parse_args()
    rows = (ImageRow(f"id-{number}", None, f"{number}.png", public=True) for number in range(IMAGES))
    with tempfile.TemporaryDirectory() as folder, running_databases(Path(folder), rows) as databases:
        is_well = asyncio.run(measure(databases, options))
    sys.exit(0 if is_well else 1)


if __name__ == "__main__":
    main()
