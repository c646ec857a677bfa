"""Ages of what nginx keeps, beside those of any cache (``tests/fronts/test_ages.py``)."""

import time

from tests.conftest import Images, StartGateway
from tests.nginx.conftest import StartNginx, in_front_of
from tests.nginx.test_accel import SMALL
from tests.nginx.test_private_cache import is_hit
from tests.waiting import until, until_listening_to_changes

_CLOCK = 1  # HTTP and nginx count whole seconds


async def test_a_hit_of_gateway_conf_tells_browsers_its_age(
    start_gateway: StartGateway, start_nginx: StartNginx, images: Images
) -> None:
    """nginx sends no Age, but the date of the gateway's response."""
    gateway = await start_gateway()
    nginx = await start_nginx(in_front_of(gateway.address, "gateway.conf"))
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
    address = gateway.address
    nginx = await start_nginx(
        in_front_of(address, "private-cache.conf"), changes={"proxy_cache_valid 200 10m": "proxy_cache_valid 200 2s"}
    )
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
