"""Entries of the cache: what was written comes back, anything else is refused."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.presign.presigned_url import PresignedUrl, SignedImage
from gateway.redis_store.entry_codec import decode, encode
from tests.tier import NOW, record

IMAGE = SignedImage(record(), PresignedUrl("https://host/a.png?q", NOW, NOW + 3600), None)


@given(
    owner=st.none() | st.text(st.characters(exclude_categories=["Cs"])),
    public=st.booleans(),
    style=st.none() | st.sampled_from(["thumb", "half"]),
    content_type=st.none() | st.text(st.characters(exclude_categories=["Cs"])),
    key=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=50).map(lambda key: f"k{key}"),
    links_killed=st.none() | st.integers(0, 2**63),
)
def test_an_entry_comes_back_as_it_was(
    owner: str | None, public: bool, style: str | None, content_type: str | None, key: str, links_killed: int | None
) -> None:
    one = record(owner=owner, public=public, content_type=content_type, key=key, links_killed=links_killed)
    image = SignedImage(one, IMAGE.presigned, style)
    assert decode(encode(image), "a", style) == image


def test_the_end_stands_first_in_decimal() -> None:
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
        {"style": "thumb"},
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


def test_a_missing_end_is_refused() -> None:
    with pytest.raises(ValueError):
        decode(encode(IMAGE).partition(b" ")[2], "a", None)
