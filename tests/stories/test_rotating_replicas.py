"""Two replicas with different credentials that end every few seconds, Redis between them, under load."""

import asyncio
import time
from collections import Counter
from collections.abc import MutableMapping
from contextlib import AsyncExitStack
from typing import cast
from urllib.parse import parse_qs, urlsplit

import aiohttp
from yarl import URL

from gateway_dev.cos_emulator.access import Credential
from gateway_dev.cos_emulator.credential_services import CredentialServices, TokenIssuer
from gateway_dev.cos_emulator.server import CosEmulator
from tests.conftest import Images, RunningGateway, StartGateway
from tests.stories.test_credential_sources import cvm_role

TOKEN_LIFE = 24  # seconds
TOKENS = 3  # of each replica, which gets a new token every twelve seconds
# Of each client, in seconds. Four clients ask again and again in each second of a token's life, and leave the processor
# to other tests.
PAUSE = 0.1
NO_MEMORY = {"memory_cache": {"max_bytes": 0}}


async def start_replicas(start_gateway: StartGateway, stack: AsyncExitStack, cos: CosEmulator) -> list[RunningGateway]:
    """Start two gateways, each on an instance with different credentials."""
    known = cast("MutableMapping[str, Credential]", cos.credentials)
    instances = [
        await stack.enter_async_context(CredentialServices(TokenIssuer(known, life=TOKEN_LIFE), kept=0.8))
        for _ in range(2)
    ]
    cache = {"min_remaining": 6, "local_ttl": 0.5}
    return [
        await start_gateway(**cvm_role(instance), url_cache=cache, image_proxy=NO_MEMORY, server={"max_streams": 200})
        for instance in instances
    ]


class Load:
    """Requests for images in every way; ``statuses`` counts the answers by way and status."""

    def __init__(self, gateways: list[RunningGateway], cos: CosEmulator, session: aiohttp.ClientSession) -> None:
        self._gateways = gateways
        self._cos = cos
        self._session = session
        self.statuses: Counter[tuple[str, int]] = Counter()
        self.late: list[str] = []

    def is_over(self) -> bool:
        """Return whether each replica has got its tokens and survived the end of the first, and enough was asked."""
        got = min(gateway.sample("credentials_refresh_total", result="refreshed") for gateway in self._gateways)
        ends = (credential.expires_at for credential in self._cos.credentials.values())
        ended = sum(end is not None and end < time.time() for end in ends)
        return got >= TOKENS and ended >= len(self._gateways) and self.statuses.total() > 1000

    async def run(self, worker: int) -> None:
        """Ask both replicas in turn until it is over."""
        number = worker
        while not self.is_over():
            number += 1
            gateway, image_id = self._gateways[number % 2], f"image-{number % 20}"
            for way, path in (
                ("stream", f"/i/{image_id}"),
                ("url", f"/api/v1/images/{image_id}/url"),
                ("redirect", f"/i/{image_id}?redirect=true"),
            ):
                answer = await gateway.get(path)
                self.statuses[way, answer.status] += 1
                if answer.status == 200 and way == "url":
                    await self._follow(answer.json()["data"]["url"])
                elif answer.status == 302:
                    await self._follow(answer.headers["Location"])
            await asyncio.sleep(PAUSE)

    async def _follow(self, url: str) -> None:
        query = parse_qs(urlsplit(url).query)
        token_end = self._cos.credentials[query["q-ak"][0]].expires_at
        if token_end is None or int(query["q-sign-time"][0].partition(";")[2]) > token_end:
            self.late.append(url)
        async with self._session.get(URL(url, encoded=True)) as response:
            self.statuses["cos", response.status] += 1


async def test_no_request_fails_and_no_url_outlives_its_token(start_gateway: StartGateway, images: Images) -> None:
    for number in range(20):
        await images.add(f"image-{number}", b"body of an image" * 100)
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(aiohttp.ClientSession())
        gateways = await start_replicas(start_gateway, stack, images.cos)
        load = Load(gateways, images.cos, session)
        await asyncio.gather(*(load.run(worker) for worker in range(4)))
        assert load.statuses.keys() == {("stream", 200), ("url", 200), ("redirect", 302), ("cos", 200)}
        assert load.late == []
        assert {seen.status for seen in images.cos.request_log.requests if seen.key} == {200}
        for gateway in gateways:
            assert gateway.sample("url_cache_lookups_total", tier="redis", result="hit") > 0
