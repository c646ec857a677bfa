"""``GET /api/v1/monitoring/preview/{id}``: the bytes of an image, for the console."""

import logging

import pytest

from gateway_dev.cos_emulator.faults import Fault, Refuse
from tests.conftest import ADMIN_TOKEN, BUCKET, Images, RunningGateway, StartGateway, token_for

ADMIN = {"Authorization": f"Bearer {ADMIN_TOKEN}"}


def path(image_id: str) -> str:
    return f"/api/v1/monitoring/preview/{image_id}"


@pytest.mark.parametrize("size", [1000, 3_000_000])
async def test_a_private_image_is_sent_to_the_admin_from_cos_and_from_memory(
    gateway: RunningGateway, images: Images, caplog: pytest.LogCaptureFixture, size: int
) -> None:
    data = b"x" * size
    await images.add("a", data, owner="alice", public=False, headers={"x-cos-meta-secret": "1"})
    caplog.set_level(logging.INFO)
    for _ in range(2):  # the second small one is in memory
        answer = await gateway.get(path("a"), admin=True, headers=ADMIN)
        assert (answer.status, answer.body) == (200, data)
        assert answer.headers["Content-Type"] == "image/png"
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "sandbox" in answer.headers["Content-Security-Policy"]
        assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert [name for name in answer.headers if name.lower().startswith(("access-control", "x-cos", "vary"))] == []
    assert len(images.cos.request_log.requests) == (1 if size == 1000 else 2)
    assert "image shown to the admin: image=a" in caplog.messages
    assert gateway.sample("requests_total", route="admin:preview", delivery="none", status="200") == 2
    usage = (await gateway.get("/api/v1/images/a/status", user="alice")).json()["data"]
    assert usage["access_count"] == 0


async def test_nobody_else_gets_it(gateway: RunningGateway, images: Images, start_gateway: StartGateway) -> None:
    await images.add("a", owner="alice", public=False)
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Bearer {token_for('alice')}"}):
        answer = await gateway.get(path("a"), admin=True, headers=headers)
        assert (answer.status, answer.json()["code"]) == (401, "unauthorized")
    assert (await gateway.get(path("a"), headers=ADMIN)).status == 404  # the public port does not have it
    without_token = await start_gateway(admin={"token": None})
    assert (await without_token.get(path("a"), admin=True, headers=ADMIN)).status == 403
    assert len(images.cos.request_log.requests) == 0


async def test_what_cannot_be_shown_says_why(gateway: RunningGateway, images: Images) -> None:
    await images.add("page", b"<html>", content_type="text/html")
    await images.add("inactive", status="deleted")
    await images.add("gone")
    images.cos.store.delete(BUCKET, "objects/gone.png")
    for image_id, status, code in (
        ("page", 502, "not_an_image"),
        ("inactive", 404, "image_not_found"),
        ("gone", 404, "image_not_found"),
        ("never-there", 404, "image_not_found"),
        ("a%00b", 400, "invalid_image_id"),
    ):
        answer = await gateway.get(path(image_id), admin=True, headers=ADMIN)
        assert (answer.status, answer.json()["code"]) == (status, code), image_id


async def test_a_row_that_moved_meanwhile_is_looked_up_again(start_gateway: StartGateway, images: Images) -> None:
    gateway = await start_gateway(postgres={"listen": False}, url_cache={"local_ttl": 300})
    await images.add("a", b"old", key="objects/old.png")
    assert (await gateway.get(path("a"), admin=True, headers=ADMIN)).body == b"old"
    gateway.forget("a")
    await images.add("a", b"new", key="objects/new.png")
    images.cos.faults.add(Fault(action=Refuse(status=403, code="AccessDenied"), key="objects/old.png"))
    assert (await gateway.get(path("a"), admin=True, headers=ADMIN)).body == b"new"
