"""The canary through nginx."""

from gateway_dev.processes import free_port
from tests.conftest import Images, StartGateway
from tests.nginx.conftest import CONFIG, StartNginx
from tests.waiting import until


async def test_behind_nginx_the_canary_is_known_and_sees_that_nginx_ends(
    start_nginx: StartNginx, start_gateway: StartGateway, images: Images
) -> None:
    """nginx passes the request id on, by which gateways know the canary."""
    await images.add("public")
    await images.add("private", owner="alice", public=False)
    port = free_port()
    upstream = f"upstream image_gateway {{ server 127.0.0.1:{port}; }}"
    nginx = await start_nginx((CONFIG / "gateway.conf").read_text() + upstream)
    gateway = await start_gateway(
        server={"port": port}, canary={"via": [nginx.url], "public": "public", "private": "private", "every": 1}
    )
    await until(lambda: gateway.sample("canary_up", via=nginx.url, check="public"))
    assert gateway.sample("requests_total", route="canary:short", delivery="stream", status="200") >= 1
    assert gateway.sample("requests_total", route="short", delivery="stream", status="200") == 0
    await nginx.stop()
    await until(lambda: gateway.sample("canary_up", via=nginx.url, check="public") == 0)
    [seen] = [each for each in gateway.service.metrics.canary.latest if each.check == "public"]
    assert "no connection to 127.0.0.1" in seen.what
