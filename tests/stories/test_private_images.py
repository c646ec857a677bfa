"""Private images: a cached one is as closed as an uncached one."""

import pytest

from tests.conftest import Images, RunningGateway, token_for


@pytest.mark.parametrize("warm", [False, True])
@pytest.mark.parametrize("path", ["/i/mine", "/i/mine?redirect=true", "/api/v1/images/mine/url"])
async def test_only_the_owner_gets_a_private_image(
    gateway: RunningGateway, images: Images, path: str, warm: bool
) -> None:
    await images.add("mine", owner="alice", public=False)
    if warm:
        assert (await gateway.get("/i/mine", user="alice")).status == 200
    stranger = await gateway.get(path, user="bob")
    assert (stranger.status, stranger.json()["code"]) == (404, "image_not_found")
    assert (await gateway.get(path)).status == 404
    assert (await gateway.get(path, headers={"Authorization": "Bearer nonsense"})).status == 401
    owner = await gateway.get(path, user="alice")
    assert owner.status in (200, 302)
    assert owner.headers["Cache-Control"].startswith("private") or owner.headers["Cache-Control"] == "no-store"


async def test_a_conditional_request_reveals_nothing_to_another_user(gateway: RunningGateway, images: Images) -> None:
    await images.add("mine", owner="alice", public=False)
    etag = (await gateway.get("/i/mine", user="alice")).headers["ETag"]
    assert (await gateway.get("/i/mine", user="alice", headers={"If-None-Match": etag})).status == 304
    assert (await gateway.get("/i/mine", user="bob", headers={"If-None-Match": etag})).status == 404
    assert (await gateway.get("/i/mine", user="bob", headers={"Range": "bytes=9999-"})).status == 404


async def test_unknown_deleted_and_forbidden_images_have_the_same_answer(
    gateway: RunningGateway, images: Images
) -> None:
    await images.add("mine", owner="alice", public=False)
    await images.add("gone", owner="bob", status="deleted")
    bodies = set()
    for image_id in ("mine", "gone", "never-there"):
        answer = await gateway.get(f"/i/{image_id}", user="bob")
        assert answer.status == 404
        body = answer.json()
        assert body.pop("request_id") == answer.headers["X-Request-Id"]
        bodies.add(str(body))
    assert len(bodies) == 1


async def test_bad_credentials_do_not_reveal_whether_an_image_exists(gateway: RunningGateway, images: Images) -> None:
    await images.add("mine", owner="alice", public=False)
    bad = {"Authorization": f"Bearer {token_for('alice', secret='another secret of thirty-two bytes!')}"}
    for image_id in ("mine", "never-there"):
        answer = await gateway.get(f"/i/{image_id}", headers=bad)
        assert (answer.status, answer.json()["code"]) == (401, "unauthorized")
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")


async def test_a_public_image_is_served_despite_bad_credentials(gateway: RunningGateway, images: Images) -> None:
    await images.add("open")
    assert (await gateway.get("/i/open", headers={"Authorization": "Bearer nonsense"})).status == 200
