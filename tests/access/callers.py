"""Credentials that callers send: accepted ones, those of other users, and bad ones."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tests.access.credentials import (
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
from tests.conftest import ADMIN_TOKEN

PATHS = ("/i/mine", "/api/v1/images/mine/proxy")


@dataclass(frozen=True)
class Sent:
    """Credentials of a request: header fields, which may repeat, and a query built from the path."""

    headers: tuple[tuple[str, str], ...] = ()
    query: Callable[[str], str] = lambda _: ""


def header(fields: Mapping[str, str]) -> Sent:
    """These header fields."""
    return Sent(tuple(fields.items()))


def cookie(value: str) -> Sent:
    """The token in the cookie."""
    return Sent((("Cookie", f"theme=dark; {COOKIE}={value}"),))


def forwarded(*users: str) -> Sent:
    """The user header that a proxy sets."""
    return Sent(tuple((USER_HEADER, user) for user in users))


def link(**changes: Any) -> Sent:
    """A signed link to the path with ``changes`` applied."""
    return Sent(query=lambda path: link_query(path, **changes))


def altered_link(alter: Callable[[str], str]) -> Sent:
    """A genuine link to the path, altered."""
    return Sent(query=lambda path: alter(link_query(path)))


NOW = int(time.time())
CLAIMS = {"sub": "alice", "exp": NOW + 3600, "aud": "images", "iss": "the-shop"}
OTHER_SECRET = "another secret of at least thirty-two bytes"

ACCEPTED = {
    "token": header(bearer(token(exp=NOW + 3600))),
    "cookie": cookie(token(exp=NOW + 3600)),
    "forwarded-user": forwarded("alice"),
    "link": link(exp=NOW + 3600),
    "link-of-an-older-key": link(exp=NOW + 3600, kid="old", key=OLD_LINK_KEY),
    "link-beside-a-strangers-token": Sent(tuple(bearer(token(sub="bob", exp=NOW + 3600)).items()), link_query),
    "link-beside-a-forged-token": Sent(tuple(bearer("rubbish").items()), link_query),
    "token-beside-a-forged-link": Sent(
        tuple(bearer(token(exp=NOW + 3600)).items()), lambda path: link_query(path, key=OTHER_SECRET)
    ),
}

# No credentials, or valid credentials of another user: the response is 404.
STRANGERS = {
    "no-credentials": Sent(),
    "another-user": header(bearer(token(sub="bob", exp=NOW + 3600))),
    "another-users-cookie": cookie(token(sub="bob", exp=NOW + 3600)),
    "another-forwarded-user": forwarded("bob"),
    "a-user-of-another-case": forwarded("Alice"),
    "another-scheme": header({"Authorization": "Basic YWxpY2U6YWxpY2U="}),
    "another-cookie": header({"Cookie": f"other={token(exp=NOW + 3600)}"}),
    "x-forwarded-for": header({"X-Forwarded-For": "127.0.0.1", "X-Forwarded-User": "alice"}),
    "the-token-in-the-query": Sent(query=lambda _: f"token={token(exp=NOW + 3600)}&access_token=a"),
}

# Invalid credentials: the response is 401.
BAD_CREDENTIALS = {
    "token-rubbish": header(bearer("rubbish")),
    "token-forged": header(bearer(token(key=OTHER_SECRET, exp=NOW + 3600))),
    "token-expired": header(bearer(token(exp=NOW - 60))),
    "token-alg-none": header(bearer(forged({"alg": "none", "typ": "JWT"}, CLAIMS))),
    "token-under-a-public-key": header(bearer(signed_with_hmac(public_pem(ED_KEY).encode(), exp=NOW + 3600))),
    "two-tokens": Sent(tuple(("Authorization", f"Bearer {token(sub=user)}") for user in ("alice", "bob"))),
    "the-admin-token": header(bearer(ADMIN_TOKEN)),
    "cookie-forged": cookie(token(key=OTHER_SECRET, exp=NOW + 3600)),
    "cookie-expired": cookie(token(exp=NOW - 60)),
    "cookie-twice": header({"Cookie": f"{COOKIE}={token(sub='bob')}; {COOKIE}={token()}"}),
    "forwarded-user-twice": forwarded("alice", "alice"),
    "forwarded-user-and-another": forwarded("bob", "alice"),
    "forwarded-user-too-long": forwarded("alice" * 100),
    "forwarded-user-behind-a-forged-token": Sent((("Authorization", "Bearer rubbish"), (USER_HEADER, "alice"))),
    "link-forged": link(key=OTHER_SECRET),
    "link-expired": link(exp=NOW - 1),
    "link-of-an-unknown-key": link(kid="newer"),
    "link-of-the-wrong-key": link(kid="old", key=LINK_KEY),
    "link-with-a-later-end": altered_link(lambda query: query.replace(query.split("exp=")[1][:10], str(NOW + 9999))),
    "link-to-another-image": Sent(query=lambda _: link_query("/i/other")),
    "link-to-the-other-address": Sent(
        query=lambda path: link_query(next(another for another in PATHS if another != path))
    ),
    "link-for-links-never-killed": link(killed=1),
    "link-cut-short": altered_link(lambda query: query[:-1]),
    "link-signed-twice": altered_link(lambda query: f"{query}&sig={'A' * 43}"),
}
