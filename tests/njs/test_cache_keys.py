"""The keys of ``gateway-cache.conf``, as ``tests/nginx/test_cache_keys.py`` tests those of files without njs."""

import logging

import pytest

from tests.conftest import Images, StartGateway
from tests.nginx.test_cache_keys import BYPASSED, FILES, Cached, add_images, expect_own_answers, logging_keys, stored_by
from tests.njs.conftest import StartNjs
from tests.njs.test_withdrawal import in_front
from tests.waiting import until

KEY = FILES["gateway.conf"].key
SHORT, LONG = b"/i/a?style=s&format=auto", b"/api/v1/images/a/proxy?style=s"


@pytest.mark.parametrize("address", [SHORT, LONG], ids=["short", "long"])
async def test_no_answer_is_stored_under_the_key_of_another_address(
    start_njs: StartNjs, start_gateway: StartGateway, images: Images, caplog: pytest.LogCaptureFixture, address: bytes
) -> None:
    caplog.set_level(logging.CRITICAL, "aiohttp.server")  # one line for each address that is not HTTP
    cached = Cached(KEY, address)
    await add_images(images)
    gateway = await start_gateway(**cached.settings)
    nginx = await start_njs(logging_keys(in_front([gateway]), cached.key), BYPASSED)
    await until(lambda: gateway.sample("nginx_floors_total", reason="start") == 1, what="an epoch")
    await expect_own_answers(gateway, await stored_by(nginx, cached))
