"""The caller by the Authorization header, and by the header of a proxy."""

import json
import time
from collections.abc import Mapping
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict
from pydantic import ValidationError

from gateway.access.caller import ANONYMOUS, Caller
from gateway.access.identity import Authenticator
from gateway.settings import AccessSettings, ForwardedUserSettings, Live
from tests.access.credentials import token
from tests.conftest import JWT_SECRET

REJECTED = Caller(rejected=True)


def authenticator(**settings: Any) -> Authenticator:
    """One that knows tokens."""
    return Authenticator(Live(AccessSettings.model_validate({"jwt": {"secret": JWT_SECRET, **settings}})))


def identified(bearer: str, **settings: Any) -> Caller:
    """The caller who shows this token."""
    return authenticator(**settings).identify({"Authorization": f"Bearer {bearer}"})


def test_a_valid_token_names_the_user() -> None:
    for scheme in ("Bearer ", "bearer ", "BEARER ", "Bearer   "):
        assert authenticator().identify({"Authorization": scheme + token()}) == Caller("alice")
    assert identified(token(aud="anything")) == Caller("alice"), "no audience is configured"


def test_without_a_bearer_token_or_without_tokens_configured_the_caller_is_anonymous() -> None:
    assert authenticator().identify({}) == ANONYMOUS
    for header in ("", "Bearer", "Bearer ", "Basic YWxpY2U6c2VjcmV0", "Digest alice", "alice"):
        assert authenticator().identify({"Authorization": header}) == ANONYMOUS
    assert Authenticator(Live(AccessSettings())).identify({"Authorization": "Bearer rubbish"}) == ANONYMOUS


claim_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


@given(
    claims=st.dictionaries(
        st.sampled_from(["exp", "sub", "nbf", "iat", "aud", "iss", "jti"]), claim_values, max_size=4
    ),
    configured=st.fixed_dictionaries({}, optional={"audience": st.just("images"), "issuer": st.just("shop")}),
)
def test_no_claim_of_a_signed_token_causes_a_crash(claims: dict[str, Any], configured: dict[str, str]) -> None:
    header = {"alg": "HS256", "typ": "JWT"}
    payload = json.dumps({"exp": int(time.time()) + 3600, **claims}).encode()
    signed = jwt.PyJWS().encode(payload, JWT_SECRET, "HS256", headers=header)
    caller = identified(signed, **configured)
    assert caller.rejected == (caller.user is None)


FORWARDED = {"header": "X-User-Id", "trusted_proxies": ["10.0.0.0/8", "fd00::/8", "::ffff:172.16.0.0/108"]}
BEHIND_PROXY = Authenticator(Live(AccessSettings.model_validate({"forwarded_user": FORWARDED})))


def sent_through_proxy(headers: Mapping[str, str], peer: str | None = "10.0.0.1") -> Caller:
    """The sender of these header fields."""
    return BEHIND_PROXY.identify(headers, peer=peer)


def test_the_header_of_a_trusted_peer_names_the_user() -> None:
    for peer in ("10.0.0.1", "10.255.255.255", "fd00::1", "::ffff:10.0.0.1", "172.31.0.1", "::ffff:172.16.0.1"):
        assert sent_through_proxy({"x-user-id": " alice "}, peer) == Caller("alice")
    assert sent_through_proxy({"X-User-Id": "a" * 256}) == Caller("a" * 256)
    assert sent_through_proxy({}) == sent_through_proxy({"X-User-Id": "  "}) == ANONYMOUS
    for user in ("a" * 257, "a\x00", "a\x1b[2J", "\udcff"):
        assert sent_through_proxy({"X-User-Id": user}) == REJECTED, user
    assert sent_through_proxy(CIMultiDict([("X-User-Id", "alice"), ("x-user-id", "alice")])) == REJECTED


def test_the_header_of_any_other_peer_is_not_looked_at() -> None:
    for peer in ("11.0.0.1", "127.0.0.1", "fe80::1", "::ffff:11.0.0.1", "::10.0.0.1", "172.32.0.1", "", "/run/s", None):
        for headers in (CIMultiDict({"X-User-Id": "alice"}), CIMultiDict([("X-User-Id", "a"), ("X-User-Id", "b")])):
            assert sent_through_proxy(headers, peer) == ANONYMOUS, peer


@pytest.mark.parametrize(
    ("settings", "mistake"),
    [
        ({"trusted_proxies": []}, "at least 1 item"),
        ({"trusted_proxies": ["0.0.0.0/0"]}, "must not contain every address"),
        ({"trusted_proxies": ["10.0.0.0/8", "::/0"]}, "must not contain every address"),
        ({"trusted_proxies": ["10.0.0.0/8"], "header": "Authorization"}, "has another meaning"),
        ({"trusted_proxies": ["10.0.0.0/8"], "header": "x-forwarded-for"}, "has another meaning"),
        ({"trusted_proxies": ["10.0.0.0/8"], "header": "X User"}, "must be a header name"),
    ],
)
def test_settings_that_would_trust_every_client_stop_the_start(settings: dict[str, object], mistake: str) -> None:
    with pytest.raises(ValidationError, match=mistake):
        ForwardedUserSettings.model_validate(settings)
