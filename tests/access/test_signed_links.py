"""Signed links on their own: reading them, making them, and the secrets that neither reveals."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import MultiDict
from pydantic import ValidationError

from gateway.access.signed_links import BadLink, SignedLink, SignedLinks
from gateway.settings import Live, SignedLinksSettings
from tests.access.credentials import LINK_KEY, OLD_LINK_KEY, link_query

NOW = 1_700_000_000
SETTINGS = SignedLinksSettings.model_validate({"keys": {"new": LINK_KEY, "old": OLD_LINK_KEY}})
LINKS = SignedLinks(Live(SETTINGS), now=lambda: float(NOW))
PATH = "/i/a"
GOOD = link_query(PATH, exp=NOW + 60)


def parsed(query: str) -> "MultiDict[str]":
    """The parameters of a query string that needs no decoding."""
    pairs = (pair.partition("=") for pair in query.split("&") if pair)
    return MultiDict((name, value) for name, _, value in pairs)


def read(query: str, path: str = PATH) -> SignedLink:
    """The link in the query, which must hold one."""
    link = LINKS.read(path, parsed(query))
    assert link is not None
    return link


def test_a_link_signed_as_the_contract_says_opens_its_image() -> None:
    assert read(GOOD).is_valid_for(0)


def test_every_key_verifies_and_the_first_signs() -> None:
    assert read(link_query(PATH, exp=NOW + 60, kid="old", key=OLD_LINK_KEY)).is_valid_for(0)
    url, expires_at = LINKS.make(PATH, expires_in=60, links_killed=0)
    assert (url, expires_at) == (f"{PATH}?{GOOD}", NOW + 60)


@pytest.mark.parametrize("killed", [0, 1, 2, 2**31 - 1])
def test_a_link_is_good_for_one_count_of_kills(killed: int) -> None:
    made = read(LINKS.make(PATH, expires_in=60, links_killed=killed)[0].partition("?")[2])
    assert made == read(link_query(PATH, exp=NOW + 60, killed=killed))
    assert made.is_valid_for(killed)
    assert not made.is_valid_for(killed + 1)
    assert not made.is_valid_for(killed - 1)


def test_with_an_unknown_count_of_kills_no_link_is_valid() -> None:
    made = LINKS.make(PATH, expires_in=60, links_killed=None)[0]
    for query in (GOOD, made.partition("?")[2]):
        assert not read(query).is_valid_for(None)
    assert not read(made.partition("?")[2]).is_valid_for(1)


@pytest.mark.parametrize("path", ["/i/b", "/api/v1/images/a/proxy", "/i/a/", "/i/%61", "/I/a", "//i/a"])
def test_a_link_is_valid_for_its_path_only(path: str) -> None:
    assert not read(GOOD, path).is_valid_for(0)


def test_a_changed_expiry_or_key_invalidates_a_link() -> None:
    assert not read(GOOD.replace(str(NOW + 60), str(NOW + 61))).is_valid_for(0)
    assert not read(GOOD.replace("kid=new", "kid=old")).is_valid_for(0)


@pytest.mark.parametrize("query", ["", "style=thumb&download=a.png&redirect=true"])
def test_without_its_parameters_there_is_no_link(query: str) -> None:
    assert LINKS.read(PATH, parsed(query)) is None


MALFORMED = {
    "no-sig": GOOD.rpartition("&")[0],
    "no-kid": GOOD.partition("&")[2],
    "no-exp": GOOD.replace("exp=", "ends="),
    "empty-sig": GOOD.rpartition("=")[0] + "=",
    "short-sig": GOOD[:-1],
    "long-sig": GOOD + "A",
    "padded-sig": GOOD + "=",
    "sig-of-other-letters": GOOD[:-1] + "+",
    "sig-beyond-ascii": GOOD[:-1] + "é",
    "repeated-sig": f"{GOOD}&sig={'A' * 43}",
    "repeated-exp": f"{GOOD}&exp={NOW + 999}",
    "repeated-kid": f"{GOOD}&kid=old",
    "exp-in-hex": GOOD.replace(f"exp={NOW + 60}", "exp=0x7fffffff"),
    "exp-with-a-zero-in-front": GOOD.replace("exp=", "exp=0"),
    "exp-negative": GOOD.replace("exp=", "exp=-"),
    "exp-in-other-digits": GOOD.replace(f"exp={NOW + 60}", "exp=٩٩٩٩٩٩٩٩٩٩"),
    "exp-without-end": GOOD.replace(f"exp={NOW + 60}", "exp=" + "9" * 5000),
    "unknown-kid": GOOD.replace("kid=new", "kid=newer"),
    "kid-with-a-slash": GOOD.replace("kid=new", "kid=../new"),
    "over": link_query(PATH, exp=NOW - 1),
    "over-this-second": link_query(PATH, exp=NOW),
}


@pytest.mark.parametrize("query", MALFORMED.values(), ids=MALFORMED)
def test_invalid_parameters_are_a_bad_link(query: str) -> None:
    with pytest.raises(BadLink):
        LINKS.read(PATH, parsed(query))


@given(position=st.integers(0, 42), letter=st.sampled_from("ABCxyz019-_"))
def test_only_one_spelling_of_a_signature_is_valid(position: int, letter: str) -> None:
    """The last letter carries four bits of six: a decoder would take sixteen spellings of one signature."""
    head, _, signature = GOOD.rpartition("=")
    changed = signature[:position] + letter + signature[position + 1 :]
    assert read(f"{head}={changed}").is_valid_for(0) == (changed == signature)


def test_repr_of_a_link_has_no_secret() -> None:
    signature = GOOD.rpartition("=")[2]
    for printed in (repr(read(GOOD)), str(read(GOOD)), repr(SETTINGS)):
        assert signature not in printed
        assert LINK_KEY not in printed


@pytest.mark.parametrize(
    ("keys", "mistake"),
    [
        ({}, "at least 1 item"),
        ({"k": "short"}, r"keys\.k\n.*must be at least 32 bytes"),
        ({"a b": "x" * 32}, "must be 1 to 32 of"),
        ({"a&b": "x" * 32}, "must be 1 to 32 of"),
    ],
)
def test_invalid_keys_stop_the_start(keys: dict[str, str], mistake: str) -> None:
    with pytest.raises(ValidationError, match=mistake):
        SignedLinksSettings.model_validate({"keys": keys})
