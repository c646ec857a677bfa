"""nginx's files of another release are reported: once in the log, and every request in a metric."""

import pytest

from gateway.delivery.nginx_files import ACCEL_CONF, GATEWAY_CONF, VERSION
from gateway_dev.cos_emulator.server import CosEmulator
from tests.conftest import Images, RunningGateway, StartGateway
from tests.nginx.conftest import Nginx, StartNginx, in_front_of
from tests.nginx.test_accel import SMALL

FIELD = "X-Gateway-Config-Version"


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the messages about nginx's files."""
    return [record.getMessage() for record in caplog.records if "nginx's files" in record.getMessage()]


async def test_the_files_of_this_release_are_not_reported(
    nginx: Nginx, gateway: RunningGateway, images: Images, caplog: pytest.LogCaptureFixture
) -> None:
    await images.add("a", SMALL)
    assert (await nginx.get("/i/a")).status == 200
    assert gateway.sample("nginx_config_mismatches_total") == 0
    assert warnings(caplog) == []


async def test_gateway_conf_sends_its_version(
    start_nginx: StartNginx, start_gateway: StartGateway, images: Images
) -> None:
    gateway = await start_gateway()
    nginx = await start_nginx(in_front_of(gateway.address, "gateway.conf", has_cache=False))
    await images.add("a", SMALL)
    assert (await nginx.request("GET", "/i/a", **{FIELD: "gateway.conf 0"})).status == 200
    assert gateway.sample("nginx_config_mismatches_total") == 0, "nginx replaces what the client sends"


@pytest.mark.parametrize("file", [f"accel.conf {VERSION}", f"to-gateway.conf {VERSION}"])
async def test_an_older_file_behind_accel_is_logged_once_and_counted(
    start_nginx: StartNginx,
    gateway: RunningGateway,
    images: Images,
    cos: CosEmulator,
    caplog: pytest.LogCaptureFixture,
    file: str,
) -> None:
    older = f"{file.partition(' ')[0]} 0"
    nginx = await start_nginx(in_front_of(gateway.address, "accel.conf", cos.port), changes={file: older})
    await images.add("a", SMALL)
    for _ in range(3):
        assert (await nginx.get("/i/a")).status == 200
    assert gateway.sample("nginx_config_mismatches_total") == 3
    (message,) = warnings(caplog)
    assert older in message
    assert f"expected={ACCEL_CONF}" in message


async def test_each_delivery_has_its_files(start_gateway: StartGateway, images: Images) -> None:
    await images.add("a", SMALL)
    for delivery, known, older in (
        ("stream", (None, GATEWAY_CONF, ACCEL_CONF), "gateway.conf 0"),
        ("redirect", (), "gateway.conf 99"),
        ("accel", (ACCEL_CONF, GATEWAY_CONF), None),  # the latter is reported as accel_not_configured
    ):
        gateway = await start_gateway(image_proxy={"delivery": delivery})
        for sent in known:
            await gateway.get("/i/a", headers={FIELD: sent} if sent is not None else {})
        assert gateway.sample("nginx_config_mismatches_total") == 0
        if older is not None:
            await gateway.get("/i/a", headers={FIELD: older})
            assert gateway.sample("nginx_config_mismatches_total") == 1


async def test_a_value_that_no_file_sends_is_not_logged(
    start_gateway: StartGateway, images: Images, caplog: pytest.LogCaptureFixture
) -> None:
    await images.add("a", SMALL)
    for sent in ("x" * 1000, "<script>", "gateway.conf one"):
        gateway = await start_gateway()
        caplog.clear()
        await gateway.get("/i/a", headers={FIELD: sent})
        (message,) = warnings(caplog)
        assert "version=none that is known" in message
        assert sent not in message


async def test_only_requests_for_images_count(gateway: RunningGateway) -> None:
    for path in ("/healthz", "/openapi.json", "/api/v1/images/a/url"):
        await gateway.get(path, headers={FIELD: "gateway.conf 0"})
    assert gateway.sample("nginx_config_mismatches_total") == 0
