"""A user named by the proxy in front: the trusted proxies and the accepted values."""

import pytest
from multidict import CIMultiDict
from pydantic import ValidationError

from gateway.access.forwarded import BadForwardedUser, ForwardedUser
from gateway.settings import ForwardedUserSettings

SETTINGS = {"header": "X-User-Id", "trusted_proxies": ["10.0.0.0/8", "fd00::/8"]}
FORWARDED = ForwardedUser(ForwardedUserSettings.model_validate(SETTINGS))


@pytest.mark.parametrize("peer", ["10.0.0.1", "10.255.255.255", "fd00::1", "::ffff:10.0.0.1"])
def test_the_header_of_a_trusted_peer_names_the_user(peer: str) -> None:
    assert FORWARDED.user_of({"x-user-id": " alice "}, peer) == "alice"


@pytest.mark.parametrize(
    "peer", ["11.0.0.1", "127.0.0.1", "fe80::1", "::ffff:11.0.0.1", "::10.0.0.1", "", "/run/s", None]
)
def test_any_other_is_not_looked_at(peer: str | None) -> None:
    for headers in (CIMultiDict({"X-User-Id": "alice"}), CIMultiDict([("X-User-Id", "a"), ("X-User-Id", "b")])):
        assert FORWARDED.user_of(headers, peer) is None


def test_a_trusted_peer_without_the_header_is_anonymous() -> None:
    assert FORWARDED.user_of({}, "10.0.0.1") is None
    assert FORWARDED.user_of({"X-User-Id": "  "}, "10.0.0.1") is None


@pytest.mark.parametrize("user", ["a" * 257, "a\x00", "a\x1b[2J", "\udcff"])
def test_an_invalid_user_id_is_a_bad_credential(user: str) -> None:
    with pytest.raises(BadForwardedUser):
        FORWARDED.user_of({"X-User-Id": user}, "10.0.0.1")


def test_a_user_id_of_256_characters_is_accepted() -> None:
    assert FORWARDED.user_of({"X-User-Id": "a" * 256}, "10.0.0.1") == "a" * 256


def test_a_repeated_header_is_a_bad_credential() -> None:
    with pytest.raises(BadForwardedUser):
        FORWARDED.user_of(CIMultiDict([("X-User-Id", "alice"), ("x-user-id", "alice")]), "10.0.0.1")


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
