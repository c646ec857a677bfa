"""No log of nginx has a presigned URL or the signature of a link: either would give readers of the log the image."""

from gateway_dev.cos_emulator.faults import Fault, Reset
from gateway_dev.processes import free_port
from tests.conftest import Images, RunningGateway
from tests.nginx.conftest import Nginx, StartNginx, in_front_of
from tests.nginx.test_accel import SMALL
from tests.waiting import until


async def test_failures_of_cos_are_logged_without_the_presigned_url(nginx: Nginx, images: Images) -> None:
    await images.add("a", SMALL)
    reset = images.cos.faults.add(Fault(action=Reset(), method="GET", times=2))
    assert (await nginx.get("/i/a")).body == SMALL
    assert reset.fired
    assert "q-signature" not in nginx.log


async def test_an_unreachable_cos_is_logged_without_the_presigned_url(
    start_nginx: StartNginx, gateway: RunningGateway, images: Images
) -> None:
    nginx = await start_nginx(in_front_of(gateway.address, "accel.conf", free_port()))
    await images.add("a", SMALL)
    assert (await nginx.get("/i/a")).body == SMALL  # streamed
    assert "q-sign" not in nginx.log


async def test_requests_are_logged_without_their_query(nginx: Nginx, images: Images) -> None:
    await images.add("a", SMALL)
    await nginx.get("/i/a?download=a.png&kid=k&exp=1&sig=the-signature", X_Request_Id="an-id-of-its-own")
    await until(lambda: "an-id-of-its-own" in nginx.access_log, what="the line of the request")
    assert '"GET /i/a" ' in nginx.access_log
    assert "signature" not in nginx.access_log
    assert "_cos" not in nginx.access_log  # the path is the client's, not the internal one
