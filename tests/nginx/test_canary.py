"""The canary through nginx."""

import pytest

from gateway_dev.cos_emulator.server import CosEmulator
from gateway_dev.processes import free_port
from tests.conftest import Images, StartGateway
from tests.nginx.conftest import StartNginx, in_front_of
from tests.waiting import until


@pytest.mark.parametrize(("delivery", "file"), [("stream", "gateway.conf"), ("accel", "accel.conf")])
async def test_behind_nginx_the_canary_is_known_and_sees_that_nginx_ends(
    delivery: str,
    file: str,
    start_nginx: StartNginx,
    start_gateway: StartGateway,
    images: Images,
    cos: CosEmulator,
    links_table: object,
) -> None:
    """nginx passes the request id on, by which gateways know the canary; length and tag are those of COS."""
    del links_table
    await images.add("public")
    await images.add("private", owner="alice", public=False)
    port = free_port()
    address = f"127.0.0.1:{port}"
    nginx = await start_nginx(in_front_of(address, file, cos.port, has_cache=False))
    gateway = await start_gateway(
        server={"port": port},
        image_proxy={"delivery": delivery},
        canary={"via": [nginx.url], "public": "public", "private": "private", "every": 1},
        access={"signed_links": {"keys": {"k": "x" * 32}}},
    )

    def up() -> set[float]:
        checks = ("public", "private_anonymous", "private_link")
        return {gateway.sample("canary_up", via=nginx.url, check=check) for check in checks}

    await until(lambda: up() == {1.0}, what="every check")
    samples = [sample for metric in gateway.registry.collect() for sample in metric.samples]
    counted = [each for each in samples if each.name == "image_gateway_requests_total" and each.value]
    assert {each.labels["route"] for each in counted} <= {"canary:short", "healthz"}
    await nginx.stop()
    await until(lambda: up() == {0.0}, what="that nginx has ended")

    def seen() -> list[str]:
        return [each.what for each in gateway.service.metrics.canary.latest if each.check == "public"]

    await until(lambda: "no connection to 127.0.0.1" in seen()[0], what="the reason")
