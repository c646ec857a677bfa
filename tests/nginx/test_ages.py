"""How long nginx sends the old image after a change: the table in ``docs/delivery.md``, with short times."""

import time
from typing import Any

import pytest

from tests.conftest import Images, RunningGateway, StartGateway
from tests.nginx.conftest import Nginx, StartNginx
from tests.nginx.test_accel import SMALL
from tests.nginx.test_gateway_conf import upstream, with_cache
from tests.nginx.test_private_cache import is_hit, private_cache
from tests.waiting import until, until_answered, until_listening_to_changes

_CLOCK = 1  # HTTP and nginx count whole seconds


async def until_gone(nginx: Nginx, *, end: float) -> int:
    """Return the status that takes the place of the old image. No request that begins after ``end`` may get it."""
    while True:
        begun = time.time()
        answered = await nginx.get("/i/a")
        if answered.status != 200:
            return answered.status
        assert begun < end, f"the old image {begun - end:.1f} s too late"


async def made_private(gateway: RunningGateway, images: Images) -> float:
    """Make the image private, and return a time at which the gateway has heard of it."""
    await images.execute("UPDATE images SET is_public = false WHERE id = 'a'")
    await until_answered(gateway, "/i/a", 404)
    return time.time()


@pytest.mark.parametrize(
    ("ages", "bound"),
    [
        ({"max_age": 1, "stale_while_revalidate": 0, "stale_if_error": 60}, 1),
        ({"max_age": 1, "stale_while_revalidate": 2, "stale_if_error": 60}, 3),
        ({"max_age": 60, "shared_max_age": 1, "stale_while_revalidate": 1, "stale_if_error": 60}, 2),
    ],
)
async def test_gateway_conf_after_a_change(
    start_gateway: StartGateway, start_nginx: StartNginx, images: Images, ages: dict[str, Any], bound: int
) -> None:
    gateway = await start_gateway(image_proxy=ages)
    nginx = await start_nginx(with_cache(upstream(gateway.ports.public.removeprefix("http://"))))
    await until_listening_to_changes(gateway.ports.admin)
    await images.add("a", SMALL)
    assert (await nginx.get("/i/a")).body == SMALL
    changed = await made_private(gateway, images)
    assert await until_gone(nginx, end=changed + bound + _CLOCK) == 404


@pytest.mark.parametrize("stale_if_error", [0, 2])
async def test_gateway_conf_while_no_gateway_can_be_reached(
    start_gateway: StartGateway, start_nginx: StartNginx, images: Images, stale_if_error: int
) -> None:
    gateway = await start_gateway(
        image_proxy={"max_age": 1, "stale_while_revalidate": 1, "stale_if_error": stale_if_error}
    )
    nginx = await start_nginx(with_cache(upstream(gateway.ports.public.removeprefix("http://"))))
    await images.add("a", SMALL)
    assert (await nginx.get("/i/a")).body == SMALL
    await gateway.close()
    assert await until_gone(nginx, end=time.time() + 1 + max(1, stale_if_error) + _CLOCK) == 503


async def test_a_hit_of_gateway_conf_tells_browsers_its_age(
    start_gateway: StartGateway, start_nginx: StartNginx, images: Images
) -> None:
    """nginx sends no Age, but the date of the gateway's response."""
    gateway = await start_gateway()
    nginx = await start_nginx(with_cache(upstream(gateway.ports.public.removeprefix("http://"))))
    await images.add("a", SMALL)
    stored = (await nginx.get("/i/a")).headers["Date"]

    async def is_later() -> bool:
        return (await nginx.get("/healthz")).headers["Date"] != stored

    await until(is_later, what="the next second")
    hit = await nginx.get("/i/a")
    assert is_hit(hit)
    assert [value for name, value in hit.headers.items() if name == "Date"] == [stored]


async def test_private_cache_conf_without_njs_keeps_changed_bytes_for_ten_minutes(
    start_gateway: StartGateway, start_nginx: StartNginx, images: Images
) -> None:
    """Also for the first request after that time, which gets no older copy."""
    gateway = await start_gateway()
    address = gateway.ports.public.removeprefix("http://")
    nginx = await start_nginx(private_cache(address), changes={"proxy_cache_valid 200 10m": "proxy_cache_valid 200 2s"})
    await until_listening_to_changes(gateway.ports.admin)
    await images.add("a", SMALL)
    assert (await nginx.get("/i/a")).body == SMALL
    await images.add("a", b"another version", key="elsewhere.png")

    async def is_heard() -> bool:
        return (await gateway.get("/i/a")).body == b"another version"

    await until(is_heard, what="the change")
    end = time.time() + 2 + _CLOCK
    await until(lambda: time.time() > end, what="the end of nginx's copy")
    assert (await nginx.get("/i/a")).body == b"another version"
