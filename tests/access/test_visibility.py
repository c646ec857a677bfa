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

EACH_DELIVERY = pytest.mark.parametrize("delivery", DELIVERIES)

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


async def start(start_gateway: StartGateway, images: Images, delivery: str, **access: Any) -> RunningGateway:
    """Start a gateway with two private images of alice's: ``mine`` is cached, ``cold`` is not."""
    gateway = await start_gateway(image_proxy={"delivery": delivery}, access={**ACCESS, **access})
    for image_id in ("mine", "cold"):
        await images.add(image_id, BODY, owner="alice", public=False)
    assert DELIVERIES[delivery](await ask(gateway, "/i/mine", ACCEPTED["token"]))
    return gateway


@EACH_DELIVERY
@pytest.mark.parametrize("sent", ACCEPTED.values(), ids=ACCEPTED)
@pytest.mark.usefixtures("links_table")
async def test_the_owner_and_valid_links_get_the_image(
    start_gateway: StartGateway, images: Images, delivery: str, sent: Sent
) -> None:
    gateway = await start(start_gateway, images, delivery)
    for path in (*PATHS, "/i/cold"):
        assert DELIVERIES[delivery](await ask(gateway, path, sent))
        head = await ask(gateway, path, sent, method="HEAD")
        assert head.status in (200, 302)
        assert head.headers["Vary"] == f"Authorization, Cookie, {USER_HEADER}"
        assert head.headers["Cache-Control"].startswith("private")


@EACH_DELIVERY
@pytest.mark.parametrize("sent", STRANGERS.values(), ids=STRANGERS)
@pytest.mark.usefixtures("links_table")
async def test_a_stranger_gets_404(start_gateway: StartGateway, images: Images, delivery: str, sent: Sent) -> None:
    gateway = await start(start_gateway, images, delivery)
    await _refused(gateway, sent, 404, "image_not_found")


@EACH_DELIVERY
@pytest.mark.parametrize("sent", BAD_CREDENTIALS.values(), ids=BAD_CREDENTIALS)
@pytest.mark.usefixtures("links_table")
async def test_bad_credentials_get_401_whether_the_image_exists_or_not(
    start_gateway: StartGateway, images: Images, delivery: str, sent: Sent
) -> None:
    gateway = await start(start_gateway, images, delivery)
    answer = await _refused(gateway, sent, 401, "unauthorized")
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="image-gateway"'


async def _refused(gateway: RunningGateway, sent: Sent, status: int, code: str) -> Answer:
    """Assert one response for cached, uncached and unknown images under every condition; return it."""
    answers = await asyncio.gather(
        *(
            ask(gateway, path, sent, headers=condition)
            for path in (*PATHS, "/i/cold", "/i/never-there")
            for condition in CONDITIONS.values()
        )
    )
    for answer in answers:
        assert (answer.status, answer.json()["code"]) == (status, code)
        assert reveals_nothing(answer)
        assert answer.headers["Cache-Control"] == "no-store"
    assert len({_without_request_id(answer) for answer in answers}) == 1
    heads = (ask(gateway, path, sent, method="HEAD") for path in ("/i/mine", "/i/never-there"))
    for head in await asyncio.gather(*heads):
        assert (head.status, head.body) == (status, b"")
        assert reveals_nothing(head)
    return answers[0]


def _without_request_id(answer: Answer) -> bytes:
    """The response without the fields that differ in every response."""
    new = {"x-request-id", "date", "server-timing"}
    fields = sorted((name, value) for name, value in answer.headers.items() if name.lower() not in new)
    return repr(fields).encode() + answer.body.replace(answer.headers["X-Request-Id"].encode(), b"")


@EACH_DELIVERY
@pytest.mark.usefixtures("links_table")
async def test_a_public_image_needs_no_credentials(start_gateway: StartGateway, images: Images, delivery: str) -> None:
    gateway = await start(start_gateway, images, delivery)
    await images.add("open", BODY, owner="alice", public=True)
    for name, sent in (STRANGERS | BAD_CREDENTIALS).items():
        answer = await ask(gateway, "/i/open", sent)
        assert DELIVERIES[delivery](answer), name
        cache_field = "X-Image-Cache-Control" if delivery == "accel" else "Cache-Control"  # nginx takes it from there
        assert answer.headers[cache_field].startswith("public")


@EACH_DELIVERY
@pytest.mark.usefixtures("links_table")
async def test_unknown_deleted_and_forbidden_get_the_same_response(
    start_gateway: StartGateway, images: Images, delivery: str
) -> None:
    gateway = await start(start_gateway, images, delivery)
    await images.add("gone", BODY, owner="bob", public=True, status="deleted")
    await images.add("unowned", BODY, owner=None, public=False)
    for sent, status in ((STRANGERS["another-user"], 404), (BAD_CREDENTIALS["token-forged"], 401)):
        image_ids = ("mine", "gone", "unowned", "never-there")
        answers = await asyncio.gather(*(ask(gateway, f"/i/{image_id}", sent) for image_id in image_ids))
        assert {answer.status for answer in answers} == {status}
        assert len({_without_request_id(answer) for answer in answers}) == 1


@EACH_DELIVERY
@pytest.mark.usefixtures("links_table")
async def test_a_forwarded_user_of_an_untrusted_peer_is_ignored(
    start_gateway: StartGateway, images: Images, delivery: str
) -> None:
    """Forwarding headers do not change the peer address, which is that of the socket."""
    gateway = await start(
        start_gateway, images, delivery, forwarded_user={"header": USER_HEADER, "trusted_proxies": ["10.0.0.0/8"]}
    )
    for claimed in ({}, {"X-Forwarded-For": "10.0.0.1"}, {"Forwarded": "for=10.0.0.1"}, {"X-Real-IP": "10.0.0.1"}):
        answer = await ask(gateway, "/i/mine", forwarded("alice"), headers=claimed)
        assert (answer.status, reveals_nothing(answer)) == (404, True)
        # A 401 for two values would reveal that the header is read.
        assert (await ask(gateway, "/i/mine", forwarded("alice", "bob"), headers=claimed)).status == 404


@EACH_DELIVERY
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


@EACH_DELIVERY
async def test_an_image_that_becomes_private_is_denied_after_its_next_lookup(
    start_gateway: StartGateway, images: Images, links_table: ImagesTable, delivery: str
) -> None:
    gateway = await start(start_gateway, images, delivery)
    await images.add("open", BODY, owner="alice", public=True)
    assert DELIVERIES[delivery](await ask(gateway, "/i/open", Sent()))
    await images.execute("UPDATE images SET is_public = false WHERE id = 'open'")
    refreshed = await gateway.request("POST", "/api/v1/images/open/url/refresh", headers=bearer(token()))
    assert refreshed.status == 200
    assert (await ask(gateway, "/i/open", Sent())).status == 404


class TestControl:
    """URL renewal and status are for the owner; a link only reads the image."""

    CALLS = (("POST", "/api/v1/images/{}/url/refresh"), ("GET", "/api/v1/images/{}/status"))

    @pytest.mark.parametrize(("method", "form"), CALLS)
    async def test_the_owner_may(self, gateway: RunningGateway, images: Images, method: str, form: str) -> None:
        for public in (False, True):
            await images.add(f"mine-{public}", owner="alice", public=public)
            for sent in (ACCEPTED["token"], ACCEPTED["cookie"], ACCEPTED["forwarded-user"]):
                assert (await ask(gateway, form.format(f"mine-{public}"), sent, method=method)).status == 200

    @pytest.mark.parametrize(("method", "form"), CALLS)
    async def test_others_may_not(self, gateway: RunningGateway, images: Images, method: str, form: str) -> None:
        await images.add("mine", owner="alice", public=False)
        await images.add("open", owner="alice", public=True)
        callers = {
            name: sent
            for name, sent in (STRANGERS | BAD_CREDENTIALS).items()
            if method == "GET" or not name.startswith("link")
        }

        async def ask_each(image_id: str) -> dict[str, Answer]:
            asked = (ask(gateway, form.format(image_id), sent, method=method) for sent in callers.values())
            return dict(zip(callers, await asyncio.gather(*asked), strict=True))

        for image_id in ("mine", "never-there"):
            for name, answer in (await ask_each(image_id)).items():
                status = 404 if name in STRANGERS else 401
                assert (answer.status, reveals_nothing(answer)) == (status, True), name
        for name, answer in (await ask_each("open")).items():
            user = name in {
                "another-user",
                "another-users-cookie",
                "another-forwarded-user",
                "a-user-of-another-case",
            }
            assert answer.status == (404 if user else 401), name

    @pytest.mark.parametrize(("method", "form"), CALLS)
    async def test_a_link_only_reads_the_image(
        self, gateway: RunningGateway, images: Images, method: str, form: str
    ) -> None:
        await images.add("mine", owner="alice", public=False)
        for path in (form.format("mine"), "/api/v1/images/mine/links", "/api/v1/images/mine/link"):
            signed = Sent(query=link_query)
            chosen = "DELETE" if path.endswith("links") else "POST" if path.endswith("link") else method
            answer = await gateway.request(chosen, f"{path}?{signed.query(path)}", json={"expires_in": 60})
            assert answer.status in (401, 404), path
            assert reveals_nothing(answer)


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
