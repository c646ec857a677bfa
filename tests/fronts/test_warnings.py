"""What the page warns of happens: each of its lines is needed, and each thing that it advises against goes wrong."""

import asyncio
import time
from collections.abc import Mapping

import aiohttp
import pytest

from gateway_dev.cos_emulator.faults import Fault, Refuse
from gateway_dev.cos_emulator.server import CosEmulator
from gateway_dev.database import ImagesTable
from tests.access.credentials import ACCESS, bearer, token
from tests.conftest import Images, RunningGateway, StartGateway
from tests.fronts.conftest import running_front
from tests.fronts.front import Front
from tests.fronts.test_idle import far_away
from tests.waiting import until, until_listening_to_changes

BODY = bytes(range(256)) * 1000
OTHER = BODY[::-1]


async def test_squid_without_passthru_refuses_every_private_image(
    start_gateway: StartGateway, links_table: ImagesTable, images: Images
) -> None:
    del links_table
    gateway = await start_gateway(access=ACCESS)
    await images.add("mine", BODY, owner="alice", public=False)
    async with running_front("squid", gateway, {" login=PASSTHRU": ""}) as front:
        assert (await front.get("/i/mine", **bearer(token()))).status == 404


async def test_haproxy_with_plain_httpchk_uses_no_gateway(gateway: RunningGateway) -> None:
    plain = {"    http-check send meth GET uri /readyz ver HTTP/1.1 hdr Host readyz\n": "", "inter 2s": "inter 100ms"}
    async with running_front("haproxy", gateway, plain, readiness=503) as front:
        assert (await front.get("/healthz")).status == 503


async def test_the_cache_of_haproxy_answers_a_range_with_the_whole_image(
    gateway: RunningGateway, images: Images
) -> None:
    await images.add("a", BODY)
    cache = "\ncache images\n    total-max-size 64\n    max-object-size 10000000\n    max-age 60\n\nbackend gateways\n"
    used = {"\nbackend gateways\n": f"{cache}    http-request cache-use images\n    http-response cache-store images\n"}
    async with running_front("haproxy", gateway, used) as front:
        assert (await front.get("/i/a", Range="bytes=0-4")).body == BODY[:5]
        assert (await front.get("/i/a")).body == BODY
        part = await front.get("/i/a", Range="bytes=0-4")
        assert (part.status, part.body) == (200, BODY)


async def test_the_cache_filter_of_envoy_answers_a_get_with_a_part(gateway: RunningGateway, images: Images) -> None:
    await images.add("a", BODY)
    kind = "type.googleapis.com/envoy.extensions"
    simple = f'{{"@type": {kind}.http.cache.simple_http_cache.v3.SimpleHttpCacheConfig}}'
    config = f'{{"@type": {kind}.filters.http.cache.v3.CacheConfig, typed_config: {simple}}}'
    cache = f"- {{name: envoy.filters.http.cache, typed_config: {config}}}\n                  "
    at = "- name: envoy.filters.http.router"
    async with running_front("envoy", gateway, {at: cache + at}) as front:
        assert (await front.get("/i/a", Range="bytes=0-4")).body == BODY[:5]
        assert (await front.get("/i/a")).body == BODY[:5]


async def test_envoy_without_idle_timeout_fails_requests_after_a_pause(start_gateway: StartGateway) -> None:
    unlimited = {"          common_http_protocol_options: {idle_timeout: 60s}\n": ""}
    gateway, closed = await start_gateway(server={"keepalive_timeout": 1}), asyncio.Event()
    async with (
        far_away(gateway, closed) as address,
        running_front("envoy", gateway, unlimited, address=address) as front,
    ):

        async def fails() -> bool:
            closed.clear()
            # The first may be on such a connection, too, which then closed before.
            if (await front.request("POST", "/api/v1/monitoring/beacons")).status == 503:
                return True
            await until(closed.is_set, what="the end of a connection")
            return (await front.request("POST", "/api/v1/monitoring/beacons")).status == 503

        await until(fails, what="a request on a connection that the gateway has just closed")


async def test_varnish_without_abandon_sends_one_stale_image_and_then_errors(
    start_gateway: StartGateway, images: Images, cos: CosEmulator
) -> None:
    ages = {"max_age": 1, "stale_while_revalidate": 60, "retry_count": 0, "memory_cache": {"max_bytes": 0, "ttl": 0}}
    gateway = await start_gateway(image_proxy=ages)
    await images.add("a", BODY)
    once = "    if (bereq.is_bgfetch && beresp.status >= 500) {\n        return (abandon);\n    }\n"
    async with running_front("varnish", gateway, {once: ""}) as front:
        assert (await front.get("/i/a")).status == 200
        cos.faults.add(Fault(action=Refuse(status=500, code="InternalError"), times=None))
        assert await until_not_the_image(front) >= 502


async def until_not_the_image(front: Front) -> int:
    """Return the first status that is not 200."""
    statuses: list[int] = []

    async def has_ended() -> bool:
        statuses.append((await front.get("/i/a")).status)
        return statuses[-1] != 200

    await until(has_ended, what="another answer than the image")
    return statuses[-1]


@pytest.mark.parametrize(
    ("front_name", "changes"),
    [
        ("apache", {"CacheStaleOnError off": "CacheStaleOnError on"}),
        ("nginx", {"proxy_cache_background_update on;": "proxy_cache_use_stale http_503 error;"}),
    ],
)
async def test_old_images_without_a_limit(
    start_gateway: StartGateway, images: Images, front_name: str, changes: Mapping[str, str]
) -> None:
    gateway = await start_gateway(
        image_proxy={"max_age": 1, "stale_while_revalidate": 0, "stale_if_error": 0, "memory_cache": {"ttl": 0}}
    )
    await images.add("a", BODY)
    async with running_front(front_name, gateway, changes) as front:
        assert (await front.get("/i/a")).status == 200
        await gateway.close()
        end = time.monotonic() + 4  # with the recipe 1, and 1 for the clocks
        await until(lambda: time.monotonic() > end, what="the end of the promise")
        assert (await front.get("/i/a")).body == BODY


async def test_nginx_without_cache_control_gives_strangers_what_an_owner_saw(
    start_gateway: StartGateway, links_table: ImagesTable, images: Images
) -> None:
    """The cookie is not in the map of the recipe."""
    del links_table
    gateway = await start_gateway(access=ACCESS)
    await images.add("mine", BODY, owner="alice", public=False)
    ignored = "proxy_ignore_headers Cache-Control Vary;\n        proxy_cache_valid 200 1m;\n        "
    at = "proxy_cache_background_update"
    async with running_front("nginx", gateway, {at: ignored + at}) as front:
        assert (await front.get("/i/mine", Cookie=f"{ACCESS['jwt']['cookie']}={token()}")).status == 200
        assert (await front.get("/i/mine")).body == BODY


SLICED = {
    "proxy_cache_key $request_uri;": (
        "slice 64k;\n        proxy_cache_key $request_uri$slice_range;\n        proxy_set_header Range $slice_range;"
    ),
    "$http_range$http_if_match": "$http_if_match",
}


async def test_the_slice_module_at_an_address_without_v_cuts_the_image_after_a_change(
    gateway: RunningGateway, images: Images
) -> None:
    await until_listening_to_changes(gateway.ports.admin)
    await images.add("a", BODY)
    async with running_front("nginx", gateway, SLICED) as front:
        assert (await front.get("/i/a", Range="bytes=0-4")).body == BODY[:5]
        await images.add("a", OTHER, key="elsewhere.png")
        await until_sent(gateway, OTHER)
        with pytest.raises(aiohttp.ClientPayloadError):
            await front.get("/i/a")


async def test_the_slice_module_at_addresses_with_v_sends_one_version(gateway: RunningGateway, images: Images) -> None:
    await until_listening_to_changes(gateway.ports.admin)
    async with running_front("nginx", gateway, SLICED) as front:
        for body, key in ((BODY, "here.png"), (OTHER, "elsewhere.png")):
            await images.add("a", body, key=key)
            await until_sent(gateway, body)
            version = (await gateway.get("/api/v1/images/a/meta")).json()["data"]["version"]
            part = await front.get(f"/i/a?v={version}", Range="bytes=70000-140000")
            assert (part.status, part.body) == (206, body[70_000:140_001])
            assert (await front.get(f"/i/a?v={version}")).body == body


async def until_sent(gateway: RunningGateway, body: bytes) -> None:
    """Return when the gateway sends these bytes."""

    async def is_sent() -> bool:
        return (await gateway.get("/i/a")).body == body

    await until(is_sent, what="the image")
