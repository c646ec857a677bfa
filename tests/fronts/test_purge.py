"""``config/purge/receiver.py`` drops changed images from Varnish and Squid, at each address that the documents show."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from psycopg2.extensions import make_dsn, parse_dsn

from gateway_dev.processes import free_port
from tests.conftest import Images, StartGateway
from tests.cos_emulator.pictures import gradient
from tests.fronts.conftest import SITE, running_front
from tests.limits import LIMIT
from tests.valve import Valve
from tests.waiting import until, until_answered, until_listening_to_changes

RECEIVER = Path(__file__).parents[2] / "config" / "purge" / "receiver.py"
TOKEN = "the-token-of-the-receiver"
ADDRESSES = ("", "?style=card", "?style=card&w=20", "?style=card&w=20&format=webp", "?style=card&w=20&format=auto")


@asynccontextmanager
async def receiver(port: int, *caches: str, file: Path = RECEIVER) -> AsyncIterator[str]:
    """Run the receiver for these caches, and yield its address."""
    command = (sys.executable, str(file), f"127.0.0.1:{port}", *caches)
    process = await asyncio.create_subprocess_exec(
        *command, env={"PURGE_TOKEN": TOKEN}, stderr=asyncio.subprocess.DEVNULL
    )
    url = f"http://127.0.0.1:{port}/"
    try:
        async with aiohttp.ClientSession() as session:

            async def listens() -> bool:
                try:
                    async with session.post(url) as answer:
                        return answer.status == 403  # without the token
                except aiohttp.ClientConnectionError:
                    return False

            await until(listens, what="the receiver")
        yield url
    finally:
        process.terminate()
        await process.wait()
        process._transport.close()  # type: ignore[attr-defined]


def purging_settings(port: int) -> dict[str, Any]:
    """Settings of a gateway that sends its purges to a receiver on ``port``."""
    purge = {"target": "webhook", "url": f"http://127.0.0.1:{port}/", "token": TOKEN, "base_urls": [f"http://{SITE}"]}
    return {"purge": {**purge, "per_second": 100}}


@pytest.mark.parametrize("front_name", ["varnish", "squid"])
@pytest.mark.parametrize("change", ["DELETE FROM images", "UPDATE images SET is_public = false"])
async def test_a_changed_image_is_gone_from_each_of_its_addresses(
    start_gateway: StartGateway, images: Images, front_name: str, change: str
) -> None:
    port = free_port()
    settings: dict[str, Any] = {
        "image_styles": {"card": {"widths": [20], "formats": ["webp"]}},
        "image_variants": {"negotiate": "accept"},
        **purging_settings(port),
    }
    gateway = await start_gateway(**settings)
    await until_listening_to_changes(gateway.ports.admin)
    await images.add("a", gradient(40, 30))
    async with (
        running_front(front_name, gateway) as front,
        receiver(port, f"{front_name}={front.url.removeprefix('http://')}"),
    ):
        for query in ADDRESSES:
            for _ in range(2):
                answer = await front.get(f"/i/a{query}")
                assert answer.status == 200
                assert "Cache-Tag" not in answer.headers
        assert gateway.sample("requests_total", route="short", delivery="stream", status="200") == len(ADDRESSES)
        await images.execute(change)
        await until_answered(gateway, "/i/a", 404)
        await until(lambda: gateway.sample("purges_total", result="sent") >= 1, what="the purge")
        for query in ADDRESSES:
            assert (await front.get(f"/i/a{query}")).status == 404, query


async def test_a_cache_that_fetched_a_deleted_image_from_a_gateway_that_had_not_heard_is_purged_again(
    start_gateway: StartGateway, images: Images, postgres_dsn: str
) -> None:
    port, server = free_port(), parse_dsn(postgres_dsn)
    await images.add("a")
    async with Valve.before(int(server["port"])) as valve:
        hearing = await start_gateway(**purging_settings(port))
        listen = {"listen_dsn": make_dsn(postgres_dsn, host="127.0.0.1", port=valve.port)}
        deaf = await start_gateway(**purging_settings(port), postgres=listen, image_proxy={"shared_max_age": 86_400})
        gateways = (hearing, deaf)
        for gateway in gateways:
            await until_listening_to_changes(gateway.ports.admin)
            await gateway.publish_replica()
        async with (
            running_front("varnish", deaf) as front,
            receiver(port, f"varnish={front.url.removeprefix('http://')}"),
        ):
            await until_answered(deaf, "/i/a", 200)
            valve.close()
            await images.execute("DELETE FROM images")
            # Either of them sends the purges.
            await until(lambda: sum(gateway.sample("purge_repeats_total") for gateway in gateways) == 1)
            await front.get("/i/a")  # the cache keeps the answer for a day
            await until(lambda: sum(gateway.sample("purges_total", result="sent") for gateway in gateways) == 2)
            assert (await front.get("/i/a")).status == 404


@pytest.mark.parametrize("front_name", ["varnish", "squid"])
async def test_a_gateway_that_cannot_read_rows_puts_a_withdrawn_image_into_a_cache_for_five_seconds_at_most(
    start_gateway: StartGateway, images: Images, postgres_dsn: str, front_name: str
) -> None:
    """Both purges come before it, and nobody sends another."""
    port = free_port()
    await images.add("a")
    async with Valve.before(int(parse_dsn(postgres_dsn)["port"])) as valve:
        hearing = await start_gateway(**purging_settings(port))
        alone = {"dsn": make_dsn(postgres_dsn, host="127.0.0.1", port=valve.port), "timeout": 0.5}
        cut_off = await start_gateway(**purging_settings(port), postgres=alone, image_proxy={"shared_max_age": 86_400})
        gateways = (hearing, cut_off)
        for gateway in gateways:
            await until_listening_to_changes(gateway.ports.admin)
            await gateway.publish_replica()
        async with (
            running_front(front_name, cut_off) as front,
            receiver(port, f"{front_name}={front.url.removeprefix('http://')}"),
        ):
            assert (await front.get("/i/a")).status == 200
            valve.close()
            await images.execute("DELETE FROM images")
            # Either of them sends the purges.
            await until(lambda: sum(gateway.sample("purges_total", result="sent") for gateway in gateways) == 2)
            answer = await front.get("/i/a")
            assert (answer.status, answer.headers["Cache-Control"]) == (200, "public, max-age=5")
            valve.open()
            await until_answered(cut_off, "/i/a", 404)

            async def is_gone() -> bool:
                return (await front.get("/i/a")).status == 404

            await until(is_gone, seconds=7, what="the end of the copy")  # a cache counts whole seconds


async def test_the_receiver_refuses_bodies_without_an_end_and_disconnects_strangers_that_send_nothing(
    tmp_path: Path,
) -> None:
    """There are more of them than the connections that it takes at a time."""
    port, file = free_port(), tmp_path / "receiver.py"
    file.write_text(RECEIVER.read_text().replace("SECONDS = 10.0", "SECONDS = 2.0"))
    head = f"POST / HTTP/1.1\r\nHost: receiver\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: "
    async with receiver(port, "varnish=127.0.0.1:1", file=file), AsyncExitStack() as stack:

        async def connect(sent: str = "") -> asyncio.StreamReader:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            stack.callback(writer.close)
            writer.write(sent.encode())
            return reader

        for length in ("-1", "1000001", "9" * 30, "x", ""):
            answer = await connect(f"{head}{length}\r\n\r\n")
            assert b" 400 " in await asyncio.wait_for(answer.readline(), LIMIT), length
        strangers = [await connect(sent) for sent in ("", "POST / HT", f"{head}10\r\n\r\n[") for _ in range(15)]
        answer = await connect(f"{head}2\r\n\r\n[]")
        assert b" 400 " in await asyncio.wait_for(answer.readline(), LIMIT), "[] is no purge"
        for stranger in strangers:
            with suppress(ConnectionResetError):
                await asyncio.wait_for(stranger.read(), LIMIT)


async def test_a_cache_that_cannot_be_reached_is_tried_again(start_gateway: StartGateway) -> None:
    async with receiver(free_port(), "varnish=127.0.0.1:1") as url, aiohttp.ClientSession() as session:
        fields = {"Authorization": f"Bearer {TOKEN}"}
        body = {"image_ids": ["a"], "cache_tags": ["image-a"], "urls": []}
        async with session.post(url, json=body, headers=fields) as answer:
            assert answer.status == 502
        async with session.post(url, data=b"[]", headers=fields) as answer:
            assert answer.status == 400
