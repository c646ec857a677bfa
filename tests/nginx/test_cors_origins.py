"""``server.cors_origins`` behind nginx's caches: no page gets the response to a page of another origin."""

import pytest

from gateway_dev.cos_emulator.server import CosEmulator
from tests.conftest import Images, StartGateway
from tests.nginx.conftest import StartNginx, in_front_of
from tests.nginx.test_accel import SMALL
from tests.stories.test_cors_origins import values

LISTED, OTHER = "https://www.example.com", "https://other.example"
NO_ORIGINS = 'map $http_origin $image_origin { default ""; }'
ORIGINS = f'map $http_origin $image_origin {{ default ""; "{LISTED}" "{LISTED}"; }}'


@pytest.mark.parametrize("file", ["gateway.conf", "private-cache.conf", "accel.conf"])
async def test_each_origin_gets_its_own_response(
    start_gateway: StartGateway, start_nginx: StartNginx, images: Images, cos: CosEmulator, file: str
) -> None:
    delivery = "accel" if file == "accel.conf" else "stream"
    gateway = await start_gateway(server={"cors_origins": [LISTED]}, image_proxy={"delivery": delivery})
    nginx = await start_nginx(in_front_of(gateway.address, file, cos.port), {NO_ORIGINS: ORIGINS})
    for image_id in ("first", "second"):
        await images.add(image_id, SMALL)
    for path, origins in (("/i/first", [None, OTHER, LISTED, None]), ("/i/second", [LISTED, OTHER, None, LISTED])):
        for origin in origins:
            answer = await nginx.get(path, **({"Origin": origin} if origin else {}))
            allowed = values(answer, "Access-Control-Allow-Origin")
            credentials = values(answer, "Access-Control-Allow-Credentials")
            assert (answer.status, answer.body) == (200, SMALL)
            assert (allowed, credentials) == (([LISTED], ["true"]) if origin == LISTED else (["*"], []))
    missing = await nginx.get("/i/missing", Origin=LISTED)
    assert (missing.status, missing.headers["Access-Control-Allow-Origin"]) == (404, LISTED)
