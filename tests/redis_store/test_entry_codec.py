"""The encoding of cached entries and their MAC: what was written comes back, anything else is refused."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.presign.signed_image import PresignedUrl
from gateway.redis_store.entry_codec import EntryMac, decode, encode
from tests.signed_images import signed_image
from tests.tier import NOW, record

IMAGE = signed_image(record(), PresignedUrl("https://host/a.png?q", NOW, NOW + 3600), None)
ENTRY = b'1700000000 {"owner":"alice"}'
MAC = EntryMac("secret")


@given(
    owner=st.none() | st.text(st.characters(exclude_categories=["Cs"])),
    public=st.booleans(),
    style=st.none() | st.sampled_from(["thumb", "half"]),
    content_type=st.none() | st.text(st.characters(exclude_categories=["Cs"])),
    key=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=50).map(lambda key: f"k{key}"),
    links_killed=st.none() | st.integers(0, 2**63),
)
def test_a_decoded_entry_equals_the_encoded_one(
    owner: str | None, public: bool, style: str | None, content_type: str | None, key: str, links_killed: int | None
) -> None:
    one = record(owner=owner, public=public, content_type=content_type, key=key, links_killed=links_killed)
    image = signed_image(one, IMAGE.presigned, style)
    assert decode(encode(image), "a", style) == image


def test_an_encoded_entry_begins_with_its_expiry_in_decimal() -> None:
    assert encode(IMAGE).startswith(b"%d {" % (NOW + 3600))


@given(st.binary(max_size=200))
def test_garbage_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError):
        decode(data, "a", None)


@pytest.mark.parametrize(
    "change",
    [
        {"v": 1},
        {"v": 2, "killed": 0},  # of a release that wrote 0 for what it had not looked at
        {"id": "b"},
        {"rendition": "thumb"},
        {"public": "yes"},
        {"owner": 7},
        {"key": ""},
        {"key": "/../"},
        {"signed_at": "soon"},
        {"signed_at": None},
        {"url": None},
        {"killed": "0"},
        {"bucket": "evil.example/x?-1"},
        {"bucket": "photos-1.evil-1"},
        {"bucket": "p" * 60 + "-1"},
        {"region": "x/../y"},
        {"region": "evil.example"},
        {"region": "-"},
        {"extra": 1},
    ],
)
def test_an_altered_entry_is_refused(change: dict[str, object]) -> None:
    end, _, body = encode(IMAGE).partition(b" ")
    data = end + b" " + json.dumps({**json.loads(body), **change}).encode()
    with pytest.raises(ValueError, match="entry"):
        decode(data, "a", None)


def test_a_missing_expiry_is_refused() -> None:
    with pytest.raises(ValueError):
        decode(encode(IMAGE).partition(b" ")[2], "a", None)


def test_a_signed_entry_begins_with_its_expiry_for_scripts_to_compare() -> None:
    end, digest, body = MAC.sign(ENTRY).split(b" ", 2)
    assert (end, body) == (b"1700000000", b'{"owner":"alice"}')
    assert len(digest) == 32


@given(st.integers(0, 10**12), st.binary(max_size=100))
def test_a_signed_entry_is_verified(end: int, body: bytes) -> None:
    entry = b"%d %s" % (end, body)
    assert MAC.verify(MAC.sign(entry)) == entry


@given(st.integers(0, len(MAC.sign(ENTRY)) - 1), st.integers(1, 255))
def test_a_change_of_one_byte_breaks_the_mac(position: int, difference: int) -> None:
    signed = bytearray(MAC.sign(ENTRY))
    signed[position] ^= difference
    with pytest.raises(ValueError, match="not signed"):
        MAC.verify(bytes(signed))


@given(st.binary(max_size=200))
def test_garbage_has_no_mac(data: bytes) -> None:
    with pytest.raises(ValueError, match="not signed"):
        MAC.verify(data)


def test_another_secret_makes_another_mac() -> None:
    with pytest.raises(ValueError, match="not signed"):
        EntryMac("another secret").verify(MAC.sign(ENTRY))


def test_while_the_secret_changes_entries_of_both_are_accepted() -> None:
    old, new = EntryMac("old"), EntryMac("new", "old")
    assert new.verify(old.sign(b"1 {}")) == b"1 {}"
    assert new.sign(b"1 {}") == EntryMac("new").sign(b"1 {}")
    with pytest.raises(ValueError, match="not signed"):
        old.verify(new.sign(b"1 {}"))
    with pytest.raises(ValueError, match="not signed"):
        EntryMac("new").verify(old.sign(b"1 {}"))
