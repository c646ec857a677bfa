"""What COS answers, in an explanation."""

import time
from email.utils import formatdate

from gateway_dev.cos_emulator.faults import Fault, Headers, Refuse
from gateway_dev.cos_emulator.server import CosEmulator
from tests.access.credentials import token
from tests.conftest import Images, RunningGateway, StartGateway
from tests.explain.test_explainer import KEY, asked, explained

__all__ = ["asked"]


ERRORS = (
    ((404, "NoSuchKey"), 404, "image_not_found", "postgres.columns.key"),
    ((404, "NoSuchBucket"), 502, "origin_misconfigured", "cos.bucket"),
    ((403, "AccessDenied"), 502, "origin_refused", "GetObject"),
    ((403, "SignatureDoesNotMatch"), 502, "origin_refused", "cos.secret_key"),
    ((400, "ExpiredToken"), 503, "credentials_expired", "cos.token"),
    ((503, "SlowDown"), 503, "origin_throttled", "fewer requests"),
)


async def test_an_error_of_cos_is_named_with_its_request_id(
    start_gateway: StartGateway, images: Images, cos: CosEmulator
) -> None:
    gateway = await start_gateway(image_proxy={"retry_count": 0})
    for refusal, status, code, advice in ERRORS:
        name = refusal[1]
        await images.add(name)
        cos.faults.clear()
        cos.faults.add(Fault(action=Refuse(status=refusal[0], code=name), key=f"objects/{name}.png", times=None))
        data = await explained(gateway, name)
        assert (data["verdict"]["status"], data["verdict"]["code"]) == (status, code)
        assert name in data["verdict"]["reason"]
        assert advice in data["verdict"]["advice"]
        first = data["cos"]["first_byte"]
        assert (first["status"], first["code"]) == refusal
        last = data["cos"].get("first_byte_again", first)
        assert last["request_id"] in data["verdict"]["reason"]
        answer = await gateway.get(f"/i/{name}")
        assert (answer.status, answer.json()["code"]) == (status, code), "what is explained is what a client gets"


async def test_a_cached_url_that_cos_refuses_is_tried_again_as_the_gateway_does(
    asked: RunningGateway, images: Images, cos: CosEmulator
) -> None:
    await images.add("cat")
    await asked.get("/i/cat")
    cos.faults.add(Fault(action=Refuse(status=403, code="AccessDenied"), key=KEY, times=1))
    data = await explained(asked)
    assert data["verdict"]["served"]
    assert "COS refused the first URL" in data["verdict"]["reason"]
    assert (data["cos"]["first_byte"]["status"], data["cos"]["first_byte_again"]["status"]) == (403, 206)


async def test_a_newly_signed_url_that_cos_refuses_once_is_tried_again_as_a_request_does(
    asked: RunningGateway, images: Images, cos: CosEmulator
) -> None:
    refused_once = Fault(action=Refuse(status=403, code="AccessDenied"), key=KEY, times=1)
    await images.add("cat")
    cos.faults.add(refused_once)
    data = await explained(asked)
    cos.faults.add(refused_once)
    assert (await asked.get("/i/cat")).status == data["verdict"]["status"] == 200
    assert (data["cos"]["first_byte"]["status"], data["cos"]["first_byte_again"]["status"]) == (403, 206)


async def test_bad_credentials_do_not_hide_that_cos_has_no_object_of_a_public_image(
    asked: RunningGateway, images: Images, cos: CosEmulator
) -> None:
    await images.add("cat")
    cos.faults.add(Fault(action=Refuse(status=404, code="NoSuchKey"), key=KEY, times=None))
    expired = token(exp=1)
    verdict = (await explained(asked, headers={"X-Explain-Token": expired}))["verdict"]
    answer = await asked.get("/i/cat", headers={"Authorization": f"Bearer {expired}"})
    assert (verdict["status"], verdict["code"]) == (answer.status, answer.json()["code"]) == (404, "image_not_found")


async def test_an_error_of_cos_that_the_gateway_holds_is_explained(
    asked: RunningGateway, images: Images, cos: CosEmulator
) -> None:
    await images.add("cat")
    asked.service.images.failures.monotonic = lambda: 0.0  # what is held stays held
    cos.faults.add(Fault(action=Refuse(status=404, code="NoSuchKey"), key=KEY, times=1))
    assert (await asked.get("/i/cat")).status == 404
    data = await explained(asked)
    assert data["cos"]["first_byte"]["status"] == 206
    assert (data["verdict"]["status"], data["verdict"]["code"]) == (404, "image_not_found")
    assert "COS is not asked again yet" in data["verdict"]["reason"]


async def test_an_object_without_bytes_is_explained_as_a_request_gets_it(asked: RunningGateway, images: Images) -> None:
    await images.add("cat", b"")
    data = await explained(asked)
    answer = await asked.get("/i/cat")
    assert data["verdict"]["status"] == answer.status == 200
    assert data["delivery"]["headers"]["Content-Length"] == 0


async def test_a_newly_signed_url_that_is_refused_at_another_time_is_tried_again_by_that_time(
    asked: RunningGateway, images: Images, cos: CosEmulator
) -> None:
    await images.add("cat")
    later = [("Date", formatdate(time.time() + 3600, usegmt=True))]
    cos.faults.add(Fault(action=Refuse(status=403, code="AccessDenied"), key=KEY, times=None))
    cos.faults.add(Fault(action=Headers(remove=["Date"], add=later), key=KEY, times=None))
    data = await explained(asked)
    assert (data["cos"]["first_byte"]["status"], data["cos"]["first_byte_again"]["status"]) == (403, 403)
    assert asked.sample("cos_clock_offset_seconds") > 3000
    methods = [request.method for request in cos.request_log.requests]
    assert methods == ["GET", "GET", "GET", "HEAD"], "a request renews the URL once, and again by COS's time"


async def test_an_object_that_is_no_image_is_explained(asked: RunningGateway, images: Images) -> None:
    await images.add("cat", content_type="text/html")
    verdict = (await explained(asked))["verdict"]
    assert (verdict["status"], verdict["code"]) == (502, "not_an_image")
    assert "text/html" in verdict["reason"]


async def test_a_cos_that_does_not_answer_is_explained(start_gateway: StartGateway, images: Images) -> None:
    gateway = await start_gateway(cos={"domain": "127.0.0.1:1"})
    await images.add("cat")
    verdict = (await explained(gateway))["verdict"]
    assert (verdict["status"], verdict["code"]) == (502, "origin_unavailable")
    assert "cos.region" in verdict["advice"]
