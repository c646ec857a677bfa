"""Errors of COS: the client sees the gateway's error and nothing of COS's answer."""

from typing import Any

import pytest

from gateway.cos_emulator.faults import Fault, Html, Redirect, Refuse
from gateway.cos_emulator.server import CosEmulator
from tests.conftest import BUCKET, Images, RunningGateway


async def test_a_refused_url_is_signed_again_before_the_client_sees_anything(
    gateway: RunningGateway, images: Images, cos: CosEmulator
) -> None:
    await images.add("a", b"body")
    refused = cos.faults.add(Fault(action=Refuse(status=403, code="AccessDenied", message="Request has expired")))
    answer = await gateway.get("/i/a")
    assert (answer.status, answer.body, refused.fired) == (200, b"body", 1)


@pytest.mark.parametrize(
    ("status", "code", "seen", "seen_code"),
    [
        (403, "AccessDenied", 502, "origin_refused"),
        (404, "NoSuchKey", 404, "image_not_found"),
        (400, "ExpiredToken", 503, "credentials_expired"),
        (500, "InternalError", 502, "origin_unavailable"),
        (503, "SlowDown", 503, "origin_throttled"),
        (451, "UnavailableForLegalReasons", 451, "image_blocked"),
    ],
)
async def test_an_error_of_cos_becomes_an_error_of_the_gateway(
    gateway: RunningGateway,
    images: Images,
    cos: CosEmulator,
    status: int,
    code: str,
    seen: int,
    seen_code: str,
) -> None:
    await images.add("a")
    cos.faults.add(Fault(action=Refuse(status=status, code=code), times=None))
    answer = await gateway.get("/i/a")
    assert (answer.status, answer.json()["code"]) == (seen, seen_code)
    assert answer.headers["Content-Type"].startswith("application/json")
    assert answer.headers["Cache-Control"] == "no-store"
    text = answer.body.decode() + str(answer.headers)
    for secret in ("<Error>", code, "objects/a.png", BUCKET, "q-sign", "x-cos"):
        assert secret not in text


async def test_a_lasting_refusal_costs_two_requests_to_cos(
    gateway: RunningGateway, images: Images, cos: CosEmulator
) -> None:
    await images.add("a")
    cos.faults.add(Fault(action=Refuse(status=403, code="AccessDenied"), times=None))
    assert (await gateway.get("/i/a")).status == 502
    assert len(cos.request_log.of("objects/a.png")) == 2


@pytest.mark.parametrize(
    "action", [Html(), Redirect(location="http://169.254.169.254/latest/meta-data/")], ids=["html", "redirect"]
)
async def test_an_answer_that_is_not_an_image_is_refused(
    gateway: RunningGateway, images: Images, cos: CosEmulator, action: Any
) -> None:
    await images.add("a")
    cos.faults.add(Fault(action=action, times=None))
    answer = await gateway.get("/i/a")
    assert answer.status == 502
    assert b"<" not in answer.body
