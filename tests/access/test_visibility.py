"""Image access over a socket, for every kind of credentials and every delivery mode.

A denial is held for 25 ms at least, so denials are asked for at the same time.
"""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from gateway_dev.database import ImagesTable
from tests.access.callers import ACCEPTED, BAD_CREDENTIALS, PATHS, STRANGERS, Sent, forwarded
from tests.access.credentials import (
    ACCESS,
    USER_HEADER,
    bearer,
    link_query,
    token,
)
from tests.access.deliveries import BODY, DELIVERIES, reveals_nothing
from tests.conftest import Answer, Images, RunningGateway, StartGateway

# Request headers whose responses could reveal that an image exists.
CONDITIONS: dict[str, dict[str, str]] = {
    "plain": {},
    "range": {"Range": "bytes=0-3"},
    "range-beyond-the-end": {"Range": "bytes=999999-"},
    "any-version": {"If-None-Match": "*"},
    "modified-since": {"If-Modified-Since": "Fri, 01 Jan 2100 00:00:00 GMT"},
    "failed-precondition": {"If-Match": '"nothing"'},
}


async def ask(
    gateway: RunningGateway, path: str, sent: Sent, *, method: str = "GET", headers: Mapping[str, str] | None = None
) -> Answer:
    """Send one request with the credentials ``sent``."""
    query = sent.query(path)
    fields = [*sent.headers, *(headers or {}).items()]
    return await gateway.request(method, f"{path}?{query}" if query else path, headers=fields)


@pytest.fixture(params=DELIVERIES)
def delivery(request: pytest.FixtureRequest) -> str:
    """Each way of delivery."""
    return str(request.param)


@pytest.fixture
async def delivering(
    start_gateway: StartGateway, images: Images, links_table: ImagesTable, delivery: str
) -> RunningGateway:
    """A gateway with two private images of alice's: ``mine`` is cached, ``cold`` is not."""
    del links_table
    gateway = await start_gateway(image_proxy={"delivery": delivery}, access=ACCESS)
    for image_id in ("mine", "cold"):
        await images.add(image_id, BODY, owner="alice", public=False)
    assert DELIVERIES[delivery](await ask(gateway, "/i/mine", ACCEPTED["token"]))
    return gateway


async def test_the_owner_and_valid_links_get_the_image(delivering: RunningGateway, delivery: str) -> None:
    for name, sent in ACCEPTED.items():
        delivering.forget("cold")
        for path in (*PATHS, "/i/cold"):
            assert DELIVERIES[delivery](await ask(delivering, path, sent)), name
            head = await ask(delivering, path, sent, method="HEAD")
            assert head.status in (200, 302), name
            assert head.headers["Vary"] == f"Authorization, Cookie, {USER_HEADER}"
            assert head.headers["Cache-Control"].startswith("private")


async def test_a_stranger_gets_404_and_bad_credentials_get_401_whether_the_image_exists_or_not(
    delivering: RunningGateway,
) -> None:
    for name, sent in STRANGERS.items():
        await _refused(delivering, name, sent, 404, "image_not_found")
    for name, sent in BAD_CREDENTIALS.items():
        answer = await _refused(delivering, name, sent, 401, "unauthorized")
        assert answer.headers["WWW-Authenticate"] == 'Bearer realm="image-gateway"'


async def _refused(gateway: RunningGateway, name: str, sent: Sent, status: int, code: str) -> Answer:
    """Assert one response for cached, uncached and unknown images under every condition; return it."""
    answers = await asyncio.gather(
        *(
            ask(gateway, path, sent, headers=condition)
            for path in (*PATHS, "/i/cold", "/i/never-there")
            for condition in CONDITIONS.values()
        )
    )
    for answer in answers:
        assert (answer.status, answer.json()["code"]) == (status, code), name
        assert reveals_nothing(answer), name
        assert answer.headers["Cache-Control"] == "no-store"
    assert len({_without_request_id(answer) for answer in answers}) == 1
    heads = (ask(gateway, path, sent, method="HEAD") for path in ("/i/mine", "/i/never-there"))
    for head in await asyncio.gather(*heads):
        assert (head.status, head.body, reveals_nothing(head)) == (status, b"", True), name
    return answers[0]


def _without_request_id(answer: Answer) -> bytes:
    """The response without the fields that differ in every response."""
    new = {"x-request-id", "date", "server-timing"}
    fields = sorted((name, value) for name, value in answer.headers.items() if name.lower() not in new)
    return repr(fields).encode() + answer.body.replace(answer.headers["X-Request-Id"].encode(), b"")


async def test_a_public_image_needs_no_credentials_until_it_becomes_private(
    delivering: RunningGateway, images: Images, delivery: str
) -> None:
    await images.add("open", BODY, owner="alice", public=True)
    for name, sent in (STRANGERS | BAD_CREDENTIALS).items():
        answer = await ask(delivering, "/i/open", sent)
        assert DELIVERIES[delivery](answer), name
        cache_field = "X-Image-Cache-Control" if delivery == "accel" else "Cache-Control"  # nginx takes it from there
        assert answer.headers[cache_field].startswith("public")
    await images.execute("UPDATE images SET is_public = false WHERE id = 'open'")
    refreshed = await delivering.request("POST", "/api/v1/images/open/url/refresh", headers=bearer(token()))
    assert refreshed.status == 200
    assert (await ask(delivering, "/i/open", Sent())).status == 404


async def test_unknown_deleted_and_forbidden_get_the_same_response(delivering: RunningGateway, images: Images) -> None:
    await images.add("gone", BODY, owner="bob", public=True, status="deleted")
    await images.add("unowned", BODY, owner=None, public=False)
    for sent, status in ((STRANGERS["another-user"], 404), (BAD_CREDENTIALS["token-forged"], 401)):
        image_ids = ("mine", "gone", "unowned", "never-there")
        answers = await asyncio.gather(*(ask(delivering, f"/i/{image_id}", sent) for image_id in image_ids))
        assert {answer.status for answer in answers} == {status}
        assert len({_without_request_id(answer) for answer in answers}) == 1


@pytest.mark.usefixtures("links_table")
async def test_a_forwarded_user_of_an_untrusted_peer_is_ignored(start_gateway: StartGateway, images: Images) -> None:
    """Forwarding headers do not change the peer address, which is that of the socket."""
    elsewhere = {"header": USER_HEADER, "trusted_proxies": ["10.0.0.0/8"]}
    gateway = await start_gateway(access={**ACCESS, "forwarded_user": elsewhere})
    await images.add("mine", BODY, owner="alice", public=False)
    for claimed in ({}, {"X-Forwarded-For": "10.0.0.1"}, {"Forwarded": "for=10.0.0.1"}, {"X-Real-IP": "10.0.0.1"}):
        answer = await ask(gateway, "/i/mine", forwarded("alice"), headers=claimed)
        assert (answer.status, reveals_nothing(answer)) == (404, True)
        # A 401 for two values would reveal that the header is read.
        assert (await ask(gateway, "/i/mine", forwarded("alice", "bob"), headers=claimed)).status == 404


async def test_credentials_that_are_not_configured_are_ignored(
    start_gateway: StartGateway, images: Images, delivery: str
) -> None:
    """The table of killed links need not exist."""
    await images.execute("DROP TABLE IF EXISTS image_gateway_links")
    gateway = await start_gateway(
        image_proxy={"delivery": delivery},
        access={"jwt": None, "forwarded_user": None, "signed_links": None},
        admin={"token": None},
    )
    await images.add("mine", BODY, owner="alice", public=False)
    sent = (ACCEPTED | BAD_CREDENTIALS).values()
    for answer in await asyncio.gather(*(ask(gateway, "/i/mine", credentials) for credentials in sent)):
        assert (answer.status, reveals_nothing(answer)) == (404, True)


# Renewal of the URL and its state are for the owner.
CALLS = (("POST", "/api/v1/images/{}/url/refresh"), ("GET", "/api/v1/images/{}/status"))


async def test_only_the_owner_controls_an_image(gateway: RunningGateway, images: Images) -> None:
    await images.add("mine", owner="alice", public=False)
    await images.add("open", owner="alice", public=True)
    others = STRANGERS | BAD_CREDENTIALS
    users = {"another-user", "another-users-cookie", "another-forwarded-user", "a-user-of-another-case"}
    for method, form in CALLS:
        for image_id in ("mine", "open"):
            for sent in (ACCEPTED["token"], ACCEPTED["cookie"], ACCEPTED["forwarded-user"]):
                assert (await ask(gateway, form.format(image_id), sent, method=method)).status == 200
        callers = [name for name in others if method == "GET" or not name.startswith("link")]
        for image_id in ("mine", "never-there", "open"):
            path = form.format(image_id)
            answers = await asyncio.gather(*(ask(gateway, path, others[name], method=method) for name in callers))
            for name, answer in zip(callers, answers, strict=True):
                is_404 = name in (users if image_id == "open" else STRANGERS)
                assert answer.status == (404 if is_404 else 401), (path, name)
                assert image_id == "open" or reveals_nothing(answer), (path, name)
    # A link only reads the image.
    for method, form in (*CALLS, ("DELETE", "/api/v1/images/{}/links"), ("POST", "/api/v1/images/{}/link")):
        path = form.format("mine")
        answer = await gateway.request(method, f"{path}?{link_query(path)}", json={"expires_in": 60})
        assert (answer.status in (401, 404), reveals_nothing(answer)) == (True, True), path


async def test_a_batch_omits_images_that_the_caller_may_not_view(gateway: RunningGateway, images: Images) -> None:
    await images.add("open", owner="bob", public=True)
    await images.add("mine", owner="alice", public=False)
    await images.add("bobs", owner="bob", public=False)
    payload = {"image_ids": ["open", "mine", "bobs", "never-there"]}
    path = "/api/v1/images/urls"

    async def batch(sent: Sent) -> dict[str, Any]:
        answer = await gateway.request("POST", f"{path}?{sent.query(path)}", headers=list(sent.headers), json=payload)
        assert answer.status == 200
        found: dict[str, Any] = answer.json()["data"]
        return found

    for name in ("token", "cookie", "forwarded-user"):
        data = await batch(ACCEPTED[name])
        assert data["urls"].keys() == {"open", "mine"}
        assert data["errors"] == {"bobs": "image_not_found", "never-there": "image_not_found"}
    refused = STRANGERS | BAD_CREDENTIALS
    batches = await asyncio.gather(*(batch(sent) for sent in refused.values()))
    for (name, sent), data in zip(refused.items(), batches, strict=True):
        private = {"mine", "never-there"} | (set() if "bob" in str(sent.headers) else {"bobs"})
        assert "mine" not in data["urls"], name
        code = "unauthorized" if name in BAD_CREDENTIALS and not name.startswith("link") else "image_not_found"
        assert {data["errors"].get(image_id, code) for image_id in private} == {code}, name


async def test_a_page_of_another_site_changes_nothing_with_the_users_cookie(
    gateway: RunningGateway, images: Images
) -> None:
    await images.add("mine", owner="alice", public=False)
    cross = {"Sec-Fetch-Site": "cross-site"}
    path = "/api/v1/images/mine/url/refresh"
    assert (await ask(gateway, path, ACCEPTED["cookie"], method="POST", headers=cross)).status == 404
    assert (await ask(gateway, path, ACCEPTED["token"], method="POST", headers=cross)).status == 200
    assert (await ask(gateway, "/i/mine", ACCEPTED["cookie"], headers=cross)).status == 200
