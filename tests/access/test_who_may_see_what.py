"""Every way to be let in and every way to be kept out, over a socket, in every way that an image can leave."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from gateway.dev.database import ImagesTable
from tests.access.credentials import (
    ACCESS,
    COOKIE,
    ED_KEY,
    LINK_KEY,
    OLD_LINK_KEY,
    USER_HEADER,
    bearer,
    forged,
    link_query,
    public_pem,
    signed_with_hmac,
    token,
)
from tests.access.deliveries import BODY, DELIVERIES, tells_nothing
from tests.conftest import ADMIN_TOKEN, Answer, Images, RunningGateway, StartGateway

EACH_DELIVERY = pytest.mark.parametrize("delivery", DELIVERIES)
PATHS = ("/i/mine", "/api/v1/images/mine/proxy")


@dataclass(frozen=True)
class Shown:
    """What a caller shows: headers, repetitions included, and a query made for the path."""

    headers: tuple[tuple[str, str], ...] = ()
    query: Callable[[str], str] = lambda _: ""


def header(fields: Mapping[str, str]) -> Shown:
    """These header fields."""
    return Shown(tuple(fields.items()))


def cookie(value: str) -> Shown:
    """The token in the cookie."""
    return Shown((("Cookie", f"theme=dark; {COOKIE}={value}"),))


def forwarded(*users: str) -> Shown:
    """The header of the proxy in front."""
    return Shown(tuple((USER_HEADER, user) for user in users))


def link(**changes: Any) -> Shown:
    """A link to the path, but for ``changes``."""
    return Shown(query=lambda path: link_query(path, **changes))


def altered_link(alter: Callable[[str], str]) -> Shown:
    """A genuine link to the path, altered."""
    return Shown(query=lambda path: alter(link_query(path)))


NOW = int(time.time())
CLAIMS = {"sub": "alice", "exp": NOW + 3600, "aud": "images", "iss": "the-shop"}
OTHER_SECRET = "another secret of at least thirty-two bytes"

LET_IN = {
    "token": header(bearer(token(exp=NOW + 3600))),
    "cookie": cookie(token(exp=NOW + 3600)),
    "forwarded-user": forwarded("alice"),
    "link": link(exp=NOW + 3600),
    "link-of-an-older-key": link(exp=NOW + 3600, kid="old", key=OLD_LINK_KEY),
    "link-beside-a-strangers-token": Shown(tuple(bearer(token(sub="bob", exp=NOW + 3600)).items()), link_query),
    "link-beside-a-forged-token": Shown(tuple(bearer("rubbish").items()), link_query),
    "token-beside-a-forged-link": Shown(
        tuple(bearer(token(exp=NOW + 3600)).items()), lambda path: link_query(path, key=OTHER_SECRET)
    ),
}

# Nothing is shown, or something genuine of somebody else: the image is not there for him.
STRANGERS = {
    "nobody": Shown(),
    "another-user": header(bearer(token(sub="bob", exp=NOW + 3600))),
    "another-users-cookie": cookie(token(sub="bob", exp=NOW + 3600)),
    "another-forwarded-user": forwarded("bob"),
    "a-user-of-another-case": forwarded("Alice"),
    "the-admin": header(bearer(ADMIN_TOKEN)),
    "another-scheme": header({"Authorization": "Basic YWxpY2U6YWxpY2U="}),
    "another-cookie": header({"Cookie": f"other={token(exp=NOW + 3600)}"}),
    "x-forwarded-for": header({"X-Forwarded-For": "127.0.0.1", "X-Forwarded-User": "alice"}),
    "the-token-in-the-query": Shown(query=lambda _: f"token={token(exp=NOW + 3600)}&access_token=a"),
}

# Bad credentials are told so.
BAD_CREDENTIALS = {
    "token-rubbish": header(bearer("rubbish")),
    "token-forged": header(bearer(token(key=OTHER_SECRET, exp=NOW + 3600))),
    "token-expired": header(bearer(token(exp=NOW - 60))),
    "token-not-yet-valid": header(bearer(token(nbf=NOW + 3600, exp=NOW + 7200))),
    "token-without-end": header(bearer(token(exp=None))),
    "token-for-another-audience": header(bearer(token(aud="mail", exp=NOW + 3600))),
    "token-without-audience": header(bearer(token(aud=None, exp=NOW + 3600))),
    "token-of-another-issuer": header(bearer(token(iss="mallory", exp=NOW + 3600))),
    "token-without-user": header(bearer(token(sub=None, exp=NOW + 3600))),
    "token-alg-none": header(bearer(forged({"alg": "none", "typ": "JWT"}, CLAIMS))),
    "token-alg-none-spelled-otherwise": header(bearer(forged({"alg": "nOnE", "typ": "JWT"}, CLAIMS))),
    "token-of-another-algorithm": header(bearer(token(key=ED_KEY, algorithm="EdDSA", exp=NOW + 3600))),
    "token-under-a-public-key": header(bearer(signed_with_hmac(public_pem(ED_KEY).encode(), exp=NOW + 3600))),
    "token-under-an-empty-key": header(bearer(signed_with_hmac(b"", exp=NOW + 3600))),
    "two-tokens": Shown(tuple(("Authorization", f"Bearer {token(sub=user)}") for user in ("alice", "bob"))),
    "almost-the-admin-token": header(bearer(ADMIN_TOKEN + "x")),
    "cookie-forged": cookie(token(key=OTHER_SECRET, exp=NOW + 3600)),
    "cookie-expired": cookie(token(exp=NOW - 60)),
    "cookie-twice": header({"Cookie": f"{COOKIE}={token(sub='bob')}; {COOKIE}={token()}"}),
    "forwarded-user-twice": forwarded("alice", "alice"),
    "forwarded-user-and-another": forwarded("bob", "alice"),
    "forwarded-user-too-long": forwarded("alice" * 100),
    "forwarded-user-behind-a-forged-token": Shown((("Authorization", "Bearer rubbish"), (USER_HEADER, "alice"))),
    "link-forged": link(key=OTHER_SECRET),
    "link-expired": link(exp=NOW - 1),
    "link-of-an-unknown-key": link(kid="newer"),
    "link-of-the-wrong-key": link(kid="old", key=LINK_KEY),
    "link-with-a-later-end": altered_link(lambda query: query.replace(query.split("exp=")[1][:10], str(NOW + 9999))),
    "link-to-another-image": Shown(query=lambda _: link_query("/i/other")),
    "link-to-the-other-address": Shown(query=lambda path: link_query(next(one for one in PATHS if one != path))),
    "link-for-links-never-killed": link(killed=1),
    "link-without-signature": altered_link(lambda query: query.rpartition("&")[0]),
    "link-without-end": altered_link(lambda query: query.replace("exp=", "x=")),
    "link-without-kid": altered_link(lambda query: query.replace("kid=", "x=")),
    "link-cut-short": altered_link(lambda query: query[:-1]),
    "link-padded": altered_link(lambda query: f"{query}%3D"),
    "link-signed-twice": altered_link(lambda query: f"{query}&sig={'A' * 43}"),
    "link-ending-twice": altered_link(lambda query: f"{query}&exp={NOW + 9999}"),
}

# The same question asked so that its answer could give something away.
CONDITIONS: dict[str, dict[str, str]] = {
    "plain": {},
    "range": {"Range": "bytes=0-3"},
    "range-beyond-the-end": {"Range": "bytes=999999-"},
    "any-version": {"If-None-Match": "*"},
    "modified-since": {"If-Modified-Since": "Fri, 01 Jan 2100 00:00:00 GMT"},
    "failed-precondition": {"If-Match": '"nothing"'},
}


async def ask(
    gateway: RunningGateway, path: str, shown: Shown, *, method: str = "GET", headers: Mapping[str, str] | None = None
) -> Answer:
    """One request with what is shown."""
    query = shown.query(path)
    fields = [*shown.headers, *(headers or {}).items()]
    return await gateway.request(method, f"{path}?{query}" if query else path, headers=fields)


async def start(start_gateway: StartGateway, images: Images, delivery: str, **access: Any) -> RunningGateway:
    """A gateway that delivers so, with an image of alice's that has been asked for before, and one that has not."""
    gateway = await start_gateway(image_proxy={"delivery": delivery}, access={**ACCESS, **access})
    for image_id in ("mine", "cold"):
        await images.add(image_id, BODY, owner="alice", public=False)
    assert DELIVERIES[delivery](await ask(gateway, "/i/mine", LET_IN["token"]))
    return gateway


@EACH_DELIVERY
@pytest.mark.parametrize("shown", LET_IN.values(), ids=LET_IN)
@pytest.mark.usefixtures("links_table")
async def test_the_owner_and_valid_links_get_the_image(
    start_gateway: StartGateway, images: Images, delivery: str, shown: Shown
) -> None:
    gateway = await start(start_gateway, images, delivery)
    for path in (*PATHS, "/i/cold"):
        assert DELIVERIES[delivery](await ask(gateway, path, shown))
        head = await ask(gateway, path, shown, method="HEAD")
        assert head.status in (200, 302)
        assert head.headers["Vary"] == f"Authorization, Cookie, {USER_HEADER}"
        assert head.headers["Cache-Control"].startswith("private")


@EACH_DELIVERY
@pytest.mark.parametrize("shown", STRANGERS.values(), ids=STRANGERS)
@pytest.mark.usefixtures("links_table")
async def test_a_stranger_gets_404(start_gateway: StartGateway, images: Images, delivery: str, shown: Shown) -> None:
    gateway = await start(start_gateway, images, delivery)
    await _refused(gateway, shown, 404, "image_not_found")


@EACH_DELIVERY
@pytest.mark.parametrize("shown", BAD_CREDENTIALS.values(), ids=BAD_CREDENTIALS)
@pytest.mark.usefixtures("links_table")
async def test_bad_credentials_get_401_whether_the_image_exists_or_not(
    start_gateway: StartGateway, images: Images, delivery: str, shown: Shown
) -> None:
    gateway = await start(start_gateway, images, delivery)
    answer = await _refused(gateway, shown, 401, "unauthorized")
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="image-gateway"'


async def _refused(gateway: RunningGateway, shown: Shown, status: int, code: str) -> Answer:
    """The one answer that a caller gets of an image warm or cold, of one that is not there, and however he asks."""
    answers = [
        await ask(gateway, path, shown, headers=condition)
        for path in (*PATHS, "/i/cold", "/i/never-there")
        for condition in CONDITIONS.values()
    ]
    for answer in answers:
        assert (answer.status, answer.json()["code"]) == (status, code)
        assert tells_nothing(answer)
        assert answer.headers["Cache-Control"] == "no-store"
    assert len({_without_request_id(answer) for answer in answers}) == 1
    for path in ("/i/mine", "/i/never-there"):
        head = await ask(gateway, path, shown, method="HEAD")
        assert (head.status, head.body) == (status, b"")
        assert tells_nothing(head)
    return answers[0]


def _without_request_id(answer: Answer) -> bytes:
    """The whole answer, byte for byte, but for what is new in each."""
    new = {"x-request-id", "date", "server-timing"}
    fields = sorted((name, value) for name, value in answer.headers.items() if name.lower() not in new)
    return repr(fields).encode() + answer.body.replace(answer.headers["X-Request-Id"].encode(), b"")


@EACH_DELIVERY
@pytest.mark.usefixtures("links_table")
async def test_a_public_image_needs_no_credentials(start_gateway: StartGateway, images: Images, delivery: str) -> None:
    gateway = await start(start_gateway, images, delivery)
    await images.add("open", BODY, owner="alice", public=True)
    for name, shown in (STRANGERS | BAD_CREDENTIALS).items():
        answer = await ask(gateway, "/i/open", shown)
        assert DELIVERIES[delivery](answer), name
        told_by = "X-Image-Cache-Control" if delivery == "accel" else "Cache-Control"  # nginx takes it from there
        assert answer.headers[told_by].startswith("public")


@EACH_DELIVERY
@pytest.mark.usefixtures("links_table")
async def test_unknown_deleted_and_forbidden_get_the_same_response(
    start_gateway: StartGateway, images: Images, delivery: str
) -> None:
    gateway = await start(start_gateway, images, delivery)
    await images.add("gone", BODY, owner="bob", public=True, status="deleted")
    await images.add("nobodys", BODY, owner=None, public=False)
    for shown, status in ((STRANGERS["another-user"], 404), (BAD_CREDENTIALS["token-forged"], 401)):
        answers = [await ask(gateway, f"/i/{one}", shown) for one in ("mine", "gone", "nobodys", "never-there")]
        assert {answer.status for answer in answers} == {status}
        assert len({_without_request_id(answer) for answer in answers}) == 1


@EACH_DELIVERY
@pytest.mark.usefixtures("links_table")
async def test_a_forwarded_user_of_an_untrusted_peer_is_ignored(
    start_gateway: StartGateway, images: Images, delivery: str
) -> None:
    """The peer is the other end of the socket, whatever the request says of where it came from."""
    gateway = await start(
        start_gateway, images, delivery, forwarded_user={"header": USER_HEADER, "trusted_proxies": ["10.0.0.0/8"]}
    )
    for claimed in ({}, {"X-Forwarded-For": "10.0.0.1"}, {"Forwarded": "for=10.0.0.1"}, {"X-Real-IP": "10.0.0.1"}):
        answer = await ask(gateway, "/i/mine", forwarded("alice"), headers=claimed)
        assert (answer.status, tells_nothing(answer)) == (404, True)
        # Refusing two of them would tell that one is listened to.
        assert (await ask(gateway, "/i/mine", forwarded("alice", "bob"), headers=claimed)).status == 404


@EACH_DELIVERY
async def test_credentials_that_are_not_configured_are_ignored(
    start_gateway: StartGateway, images: Images, delivery: str
) -> None:
    """Also without the table of killed links in the database."""
    await images.execute("DROP TABLE IF EXISTS image_gateway_links")
    gateway = await start_gateway(
        image_proxy={"delivery": delivery},
        access={"jwt": None, "forwarded_user": None, "signed_links": None},
        admin={"token": None},
    )
    await images.add("mine", BODY, owner="alice", public=False)
    for shown in (LET_IN | BAD_CREDENTIALS).values():
        answer = await ask(gateway, "/i/mine", shown)
        assert (answer.status, tells_nothing(answer)) == (404, True)


@EACH_DELIVERY
async def test_a_visible_image_that_becomes_private_is_closed_when_it_is_looked_up_again(
    start_gateway: StartGateway, images: Images, links_table: ImagesTable, delivery: str
) -> None:
    gateway = await start(start_gateway, images, delivery)
    await images.add("open", BODY, owner="alice", public=True)
    assert DELIVERIES[delivery](await ask(gateway, "/i/open", Shown()))
    await images.execute("UPDATE images SET is_public = false WHERE id = 'open'")
    refreshed = await gateway.request("POST", "/api/v1/images/open/url/refresh", headers=bearer(token()))
    assert refreshed.status == 200
    assert (await ask(gateway, "/i/open", Shown())).status == 404


class TestControl:
    """Renewing a URL and seeing its state: the owner and the admin. A link only reads."""

    CALLS = (("POST", "/api/v1/images/{}/url/refresh"), ("GET", "/api/v1/images/{}/status"))

    @pytest.mark.parametrize(("method", "form"), CALLS)
    async def test_the_owner_and_the_admin_may(
        self, gateway: RunningGateway, images: Images, method: str, form: str
    ) -> None:
        for public in (False, True):
            await images.add(f"mine-{public}", owner="alice", public=public)
            for shown in (LET_IN["token"], LET_IN["cookie"], LET_IN["forwarded-user"], header(bearer(ADMIN_TOKEN))):
                assert (await ask(gateway, form.format(f"mine-{public}"), shown, method=method)).status == 200

    @pytest.mark.parametrize(("method", "form"), CALLS)
    async def test_others_may_not(self, gateway: RunningGateway, images: Images, method: str, form: str) -> None:
        await images.add("mine", owner="alice", public=False)
        await images.add("open", owner="alice", public=True)
        for name, shown in (STRANGERS | BAD_CREDENTIALS).items():
            if name == "the-admin" or (name.startswith("link") and method == "POST"):
                continue
            status = 404 if name in STRANGERS else 401
            for image_id in ("mine", "never-there"):
                answer = await ask(gateway, form.format(image_id), shown, method=method)
                assert (answer.status, tells_nothing(answer)) == (status, True), name
            answer = await ask(gateway, form.format("open"), shown, method=method)
            known = name in {"another-user", "another-users-cookie", "another-forwarded-user", "a-user-of-another-case"}
            assert answer.status == (404 if known else 401), name

    @pytest.mark.parametrize(("method", "form"), CALLS)
    async def test_a_link_only_reads_the_image(
        self, gateway: RunningGateway, images: Images, method: str, form: str
    ) -> None:
        await images.add("mine", owner="alice", public=False)
        for path in (form.format("mine"), "/api/v1/images/mine/links", "/api/v1/images/mine/link"):
            signed = Shown(query=link_query)
            chosen = "DELETE" if path.endswith("links") else "POST" if path.endswith("link") else method
            answer = await gateway.request(chosen, f"{path}?{signed.query(path)}", json={"expires_in": 60})
            assert answer.status in (401, 404), path
            assert tells_nothing(answer)


async def test_a_batch_omits_images_that_the_caller_may_not_view(gateway: RunningGateway, images: Images) -> None:
    await images.add("open", owner="bob", public=True)
    await images.add("mine", owner="alice", public=False)
    await images.add("bobs", owner="bob", public=False)
    asked = {"image_ids": ["open", "mine", "bobs", "never-there"]}
    path = "/api/v1/images/urls"

    async def batch(shown: Shown) -> dict[str, Any]:
        answer = await gateway.request("POST", f"{path}?{shown.query(path)}", headers=list(shown.headers), json=asked)
        assert answer.status == 200
        found: dict[str, Any] = answer.json()["data"]
        return found

    for name in ("token", "cookie", "forwarded-user"):
        data = await batch(LET_IN[name])
        assert data["urls"].keys() == {"open", "mine"}
        assert data["errors"] == {"bobs": "image_not_found", "never-there": "image_not_found"}
    for name, shown in (STRANGERS | BAD_CREDENTIALS).items():
        data = await batch(shown)
        private = {"mine", "never-there"} | (set() if "bob" in str(shown.headers) else {"bobs"})
        assert "mine" not in data["urls"], name
        code = "unauthorized" if name in BAD_CREDENTIALS and not name.startswith("link") else "image_not_found"
        assert {data["errors"].get(one, code) for one in private} == {code}, name


async def test_a_page_of_another_site_changes_nothing_with_the_users_cookie(
    gateway: RunningGateway, images: Images
) -> None:
    await images.add("mine", owner="alice", public=False)
    cross = {"Sec-Fetch-Site": "cross-site"}
    path = "/api/v1/images/mine/url/refresh"
    assert (await ask(gateway, path, LET_IN["cookie"], method="POST", headers=cross)).status == 404
    assert (await ask(gateway, path, LET_IN["token"], method="POST", headers=cross)).status == 200
    assert (await ask(gateway, "/i/mine", LET_IN["cookie"], headers=cross)).status == 200
