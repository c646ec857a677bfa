"""Credentials that are issued: known to COS, with their end."""

from gateway_dev.cos_emulator.access import Credential
from gateway_dev.cos_emulator.credential_services import TokenIssuer


def test_issued_credentials_are_known_with_their_end() -> None:
    known: dict[str, Credential] = {"AKID": Credential("key")}
    issuer = TokenIssuer(known, life=600, now=lambda: 1_700_000_000.9)
    issued = issuer.issue()
    assert known[issued.secret_id] == Credential(issued.secret_key, issued.token, 1_700_000_600)
    assert (issued.expires_at, issued.expiration) == (1_700_000_600, "2023-11-14T22:23:20Z")
    assert len(known) == 2


def test_a_life_is_at_most_that_of_the_issuer() -> None:
    issuer = TokenIssuer({}, life=600, now=lambda: 1_700_000_000.0)
    assert [issuer.issue(life).expires_at - 1_700_000_000 for life in (60, 900, -60)] == [60, 600, -60]


def test_a_token_needs_encoding_in_a_url_and_no_set_is_issued_twice() -> None:
    issuer = TokenIssuer({})
    first, second = issuer.issue(), issuer.issue()
    assert {"+", "/", "="} <= set(first.token)
    assert len({first.secret_id, second.secret_id, first.secret_key, second.secret_key, first.token, second.token}) == 6
    assert first.secret_key not in repr(first) + repr(issuer.credentials)
