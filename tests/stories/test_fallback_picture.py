"""``image_proxy.fallback``: browsers that ask for an image get a picture with the error's own status."""

import time
from pathlib import Path
from typing import Any

import pytest

from gateway_dev.cos_emulator.faults import Fault, Hang, Refuse
from gateway_dev.database import ImagesTable
from tests.access.credentials import ACCESS, bearer, link_query, token
from tests.conftest import Answer, Images, RunningGateway, StartGateway

PICTURE = Path(__file__).parents[2] / "config" / "fallback.svg"
IMG = {"Sec-Fetch-Dest": "image", "Accept": "image/avif,image/webp,image/*,*/*;q=0.8"}
FALLBACK = {"path": str(PICTURE)}


@pytest.fixture
async def gateway(start_gateway: StartGateway, links_table: ImagesTable) -> RunningGateway:
    """A gateway with the picture, without retries."""
    return await start_gateway(
        access=ACCESS, image_proxy={"fallback": FALLBACK, "retry_count": 0, "timeout": 4}, url_cache={"local_ttl": 0}
    )


def is_picture(answer: Answer, status: int, code: str) -> bool:
    """Whether an answer is the error with the picture as its body."""
    fields = ("Content-Type", "Cache-Control", "X-Error-Code", "X-Content-Type-Options")
    expected = ["image/svg+xml", "no-store", code, "nosniff"]
    return (answer.status, answer.body) == (status, PICTURE.read_bytes()) and (
        [answer.headers.get(name) for name in fields] == expected
    )


def of_one_request(answer: Answer) -> tuple[int, bytes, dict[str, str]]:
    """Return an answer without the fields that differ each time: the request id and the date."""
    own = {"x-request-id", "date"}
    return (
        answer.status,
        answer.body,
        {name: value for name, value in answer.headers.items() if name.lower() not in own},
    )


FOR_AN_IMG = (IMG, {"Sec-Fetch-Dest": "image"}, {"Accept": "image/webp,*/*"})
FOR_A_PROGRAM: tuple[dict[str, str], ...] = (
    {},
    {"Accept": "application/json"},
    {"Sec-Fetch-Dest": "empty", "Accept": "image/*"},
)


async def test_a_missing_image_is_the_picture_for_an_img_and_the_error_for_a_program(
    gateway: RunningGateway, images: Images
) -> None:
    for address in ("/i/missing", "/i/miss%69ng", "/api/v1/images/missing/proxy"):
        for headers in FOR_AN_IMG:
            answer = await gateway.get(address, headers=headers)
            assert is_picture(answer, 404, "image_not_found")
            assert "sandbox" in answer.headers["Content-Security-Policy"]
            assert answer.headers["Vary"].startswith("Accept, Sec-Fetch-Dest, Authorization")
            assert answer.headers["Access-Control-Allow-Origin"] == "*"
            assert "X-Error-Code" in answer.headers["Access-Control-Expose-Headers"].split(", ")
            assert answer.headers["Cross-Origin-Resource-Policy"] == "cross-origin"
        for headers in FOR_A_PROGRAM:
            answer = await gateway.get(address, headers=headers)
            assert (answer.status, answer.json()["code"]) == (404, "image_not_found")
            assert "X-Error-Code" not in answer.headers
        head = await gateway.request("HEAD", address, headers=IMG)
        assert (head.status, head.body, head.headers["X-Error-Code"]) == (404, b"", "image_not_found")
        assert head.headers["Content-Length"] == str(PICTURE.stat().st_size)
        assert head.headers["Cache-Control"] == "no-store"
    await images.add("a", b"an image")
    answer = await gateway.get("/i/a", headers=IMG)
    assert (answer.status, answer.body) == (200, b"an image")
    assert "X-Error-Code" not in answer.headers


async def test_unknown_and_forbidden_images_get_the_same_answer(gateway: RunningGateway, images: Images) -> None:
    await images.add("mine", owner="alice", public=False)
    await images.add("deleted", owner="alice", status="deleted")
    for headers in (IMG, {**IMG, **bearer(token(sub="bob"))}):
        answers = [await gateway.get(f"/i/{image_id}", headers=headers) for image_id in ("mine", "deleted", "never")]
        assert all(is_picture(answer, 404, "image_not_found") for answer in answers)
        assert [of_one_request(answer) for answer in answers] == [of_one_request(answers[0])] * 3
        assert all("Server-Timing" not in answer.headers for answer in answers)


async def test_a_denial_with_the_picture_is_delayed_as_any_other(gateway: RunningGateway, images: Images) -> None:
    """25 ms is the shortest time of a denial; answering from memory takes less than a millisecond."""
    await images.add("mine", owner="alice", public=False)
    for image_id in ("mine", "never", "mine", "never"):
        started = time.perf_counter()
        await gateway.get(f"/i/{image_id}", headers=IMG)
        assert time.perf_counter() - started >= 0.02


async def test_a_bad_credential_is_an_error_without_a_picture_unless_configured(
    gateway: RunningGateway, start_gateway: StartGateway, images: Images
) -> None:
    await images.add("mine", owner="alice", public=False)
    expired = f"/i/mine?{link_query('/i/mine', exp=1_000_000_000)}"
    answer = await gateway.get(expired, headers=IMG)
    assert (answer.status, answer.json()["code"]) == (401, "unauthorized")
    with_401 = await start_gateway(access=ACCESS, image_proxy={"fallback": {**FALLBACK, "statuses": [401]}})
    for image_id in ("mine", "never"):
        answer = await with_401.get(f"/i/{image_id}?{link_query('/i/other')}", headers=IMG)
        assert is_picture(answer, 401, "unauthorized")
        assert answer.headers["WWW-Authenticate"].startswith("Bearer ")
        assert "Server-Timing" not in answer.headers


async def test_failures_of_cos_are_the_picture_with_their_own_status(gateway: RunningGateway, images: Images) -> None:
    failures: tuple[tuple[Any, int, str], ...] = (
        (Refuse(status=500, code="InternalError"), 502, "origin_unavailable"),
        (Refuse(status=503, code="SlowDown"), 503, "origin_throttled"),
        (Hang(), 504, "origin_timeout"),
    )
    for action, status, code in failures:
        await images.add(code)
        images.cos.faults.add(Fault(action=action, times=None, key=f"objects/{code}.png"))
        answer = await gateway.get(f"/i/{code}", headers=IMG)
        assert is_picture(answer, status, code)
        assert ("Retry-After" in answer.headers) is (status == 503)


async def test_an_overloaded_gateway_sends_the_picture_with_retry_after(
    start_gateway: StartGateway, images: Images
) -> None:
    gateway = await start_gateway(server={"max_streams": 1}, image_proxy={"fallback": FALLBACK})
    await images.add_hanging("a")
    async with gateway.session.get(gateway.ports.public + "/i/a") as first:
        await first.content.readexactly(1000)
        answer = await gateway.get("/i/b", headers=IMG)
        assert is_picture(answer, 503, "overloaded")
        assert answer.headers["Retry-After"] == "1"


async def test_errors_with_other_statuses_and_of_other_addresses_have_no_picture(gateway: RunningGateway) -> None:
    for method, path, status in (
        ("GET", "/i/a?redirect=maybe", 400),
        ("GET", "/i/%00", 400),
        ("GET", "/api/v1/images/missing/url", 404),
        ("GET", "/i/a/b", 404),
        ("POST", "/i/missing", 405),
    ):
        answer = await gateway.request(method, path, headers=IMG)
        assert (answer.status, answer.json()["status"]) == (status, "error")


async def test_without_the_setting_every_error_is_json(start_gateway: StartGateway) -> None:
    gateway = await start_gateway()
    assert (await gateway.get("/i/missing", headers=IMG)).json()["code"] == "image_not_found"


@pytest.mark.parametrize("delivery", ["redirect", "accel"])
async def test_every_delivery_has_the_picture(start_gateway: StartGateway, delivery: str) -> None:
    gateway = await start_gateway(image_proxy={"fallback": FALLBACK, "delivery": delivery})
    assert is_picture(await gateway.get("/i/missing", headers=IMG), 404, "image_not_found")


async def test_the_picture_of_a_negotiated_address_varies_by_each_field_once(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(
        image_styles={"card": {"widths": [10]}},
        image_variants={"negotiate": "accept"},
        image_proxy={"fallback": FALLBACK},
    )
    picture = await gateway.get("/i/missing?style=card&format=auto", headers=IMG)
    assert is_picture(picture, 404, "image_not_found")
    assert picture.headers["Vary"].startswith("Accept, Sec-Fetch-Dest, Authorization")
    assert (await gateway.get("/i/missing?style=card&format=auto")).headers["Vary"] == "Authorization, Accept"
