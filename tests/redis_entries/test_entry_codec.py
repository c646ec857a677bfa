"""The encoding of cached entries and their MAC: a written entry is read unchanged, any other text is refused."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.catalog.record import ImageRecord
from gateway.presign.credentials import Credentials
from gateway.presign.signer import PresignedUrl, Signer
from gateway.presign.style_variants import ImageVariant, Renditions
from gateway.redis_entries.url_entries import EntryMac, decode, encode
from gateway.service.metrics import Metrics
from gateway.settings import Live
from tests.signed_images import signed_image
from tests.tier import NOW, RENDITIONS, record, signer_of

A = ImageVariant("a")
CREDENTIALS = Credentials("AKID" + "x" * 32, "y" * 32)
ENTRY = b'1700000000 {"owner":"alice"}'
MAC = EntryMac(Live(("secret", None)), "sources")


def signer(credentials: Credentials = CREDENTIALS, renditions: Renditions = RENDITIONS, **cos: Any) -> Signer:
    return signer_of(credentials, Metrics(), lambda: float(NOW), renditions=renditions, **cos)


SIGNER = signer()
IMAGE = SIGNER.sign_image(record(), read_at=NOW)
_TEXT = st.text(st.characters(exclude_categories=["Cs"]))


_ASCII = st.characters(codec="ascii", exclude_categories=["Cc"])
ROWS = st.builds(
    record,
    image_id=st.from_regex(r"[A-Za-z0-9_-]{1,40}", fullmatch=True),
    key=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=50).map(lambda key: f"k{key}"),
    owner=st.none() | _TEXT,
    public=st.booleans(),
    content_type=st.none() | _TEXT,
    links_killed=st.none() | st.integers(0, 2**63),
    version=st.none() | _TEXT,
)


@given(
    row=ROWS,
    style=st.none() | st.just("thumb"),
    secret_id=st.text(_ASCII, min_size=1, max_size=50),
    token=st.none() | st.text(_ASCII, min_size=1, max_size=500),
)
def test_a_decoded_entry_equals_the_encoded_one_and_its_url_to_the_byte(
    row: ImageRecord, style: str | None, secret_id: str, token: str | None
) -> None:
    signs = signer(Credentials(secret_id, "y", token))
    image = signs.sign_image(row, style, read_at=NOW)
    variant = ImageVariant(row.image_id, style)
    entry = MAC.sign(encode(image, signs), variant)
    assert b"\n" not in entry, "a tombstone follows a line break"
    # Another replica has other credentials.
    assert decode(MAC.verify(entry, variant), variant, SIGNER, RENDITIONS) == image


def test_an_entry_of_a_usual_image_fits_in_320_bytes_of_redis() -> None:
    """Redis allocates 320 bytes, six of them for the length; the next size is 384."""
    usual = record("image-00000123", "photos/123.jpg", owner="u-12345", region="ap-guangzhou", content_type=None)
    image = SIGNER.sign_image(usual, read_at=NOW)
    assert len(MAC.sign(encode(image, SIGNER), ImageVariant("image-00000123"))) <= 320 - 6
    thumb = SIGNER.sign_image(usual, "thumb", read_at=NOW)
    assert len(encode(thumb, SIGNER)) == len(encode(image, SIGNER)), "a rule costs nothing"


def test_decoded_entries_share_their_times() -> None:
    """A hundred thousand URLs in memory begin and end within few different seconds."""
    first, second = (decode(encode(IMAGE, SIGNER), A, SIGNER, RENDITIONS) for _ in range(2))
    assert first.presigned.signed_at is second.presigned.signed_at
    assert first.presigned.expires_at is second.presigned.expires_at
    assert first.read_at is second.read_at


def test_a_url_that_no_signer_made_is_not_encoded() -> None:
    with pytest.raises(ValueError, match="not a URL of a signer"):
        encode(signed_image(record(), PresignedUrl("https://host/a.png?q", NOW, NOW + 3600)), SIGNER)


@pytest.mark.parametrize(
    "other",
    [
        signer(scheme="http"),
        signer(domain="images.example.com"),
        signer(renditions=Renditions({"thumb": "imageMogr2/thumbnail/200x200"})),
        signer(renditions=Renditions({})),
    ],
    ids=["scheme", "domain", "rule", "no such style"],
)
def test_an_entry_of_another_configuration_is_refused(other: Signer) -> None:
    variant = ImageVariant("a", "thumb")
    entry = encode(SIGNER.sign_image(record(), "thumb", read_at=NOW), SIGNER)
    with pytest.raises(ValueError, match="another configuration"):
        decode(entry, variant, other, RENDITIONS)


def test_an_entry_of_another_key_end_or_start_is_refused() -> None:
    presigned = IMAGE.presigned
    for altered in (
        replace(IMAGE, record=record(key="b.png")),
        replace(IMAGE, presigned=PresignedUrl(presigned.url, presigned.signed_at, presigned.expires_at - 1)),
        replace(IMAGE, presigned=PresignedUrl(presigned.url, presigned.signed_at + 1, presigned.expires_at)),
    ):
        with pytest.raises(ValueError, match="another configuration"):
            decode(encode(altered, SIGNER), A, SIGNER, RENDITIONS)


@given(st.binary(max_size=200))
@example(encode(IMAGE, SIGNER).partition(b" ")[2])  # without its end
def test_garbage_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError):
        decode(data, A, SIGNER, RENDITIONS)


ALTERED: list[Mapping[str, object]] = [
    *({"v": version} for version in (3, 4, 6)),
    {"v": 4, "id": "a", "rendition": None, "url": IMAGE.presigned.url},
    *({"bucket": name} for name in ("evil.example/x?-1", "photos-1.evil-1", "p" * 60 + "-1")),
    *({"region": name} for name in ("x/../y", "evil.example", "-")),
    *({"signed_at": at} for at in ("soon", None)),
    *({"key": key} for key in ("", "/../")),
    *({"ak": secret_id} for secret_id in (None, "other")),
    *({"sig": "0" * 40}, {"token": "token"}, {"check": ""}, {"killed": "0"}, {"public": "yes"}, {"owner": 7}),
    *({"id": "b"}, {"rendition": "thumb"}, {"url": "https://evil.example/"}, {"extra": 1}),
]


@pytest.mark.parametrize("change", ALTERED, ids=str)
def test_an_altered_entry_is_refused(change: Mapping[str, object]) -> None:
    end, _, body = encode(IMAGE, SIGNER).partition(b" ")
    data = end + b" " + json.dumps({**json.loads(body), **change}).encode()
    with pytest.raises(ValueError, match="entry"):
        decode(data, A, SIGNER, RENDITIONS)


def test_a_signed_entry_begins_with_its_expiry_for_scripts_to_compare() -> None:
    end, digest, body = MAC.sign(ENTRY, A).split(b" ", 2)
    assert (end, body) == (b"1700000000", b'{"owner":"alice"}')
    assert len(digest) == 22, "128 bits"


@given(st.integers(0, len(MAC.sign(ENTRY, A)) - 1), st.integers(1, 255))
def test_a_change_of_one_byte_breaks_the_mac(position: int, difference: int) -> None:
    signed = bytearray(MAC.sign(ENTRY, A))
    signed[position] ^= difference
    with pytest.raises(ValueError, match="not signed"):
        MAC.verify(bytes(signed), A)


@pytest.mark.parametrize("other", [ImageVariant("b"), ImageVariant("a", "thumb")], ids=str)
def test_the_mac_binds_an_entry_to_its_image_and_style(other: ImageVariant) -> None:
    with pytest.raises(ValueError, match="not signed"):
        MAC.verify(MAC.sign(ENTRY, A), other)


def test_while_the_secret_changes_entries_of_both_are_accepted() -> None:
    old, new = EntryMac(Live(("old", None)), "sources"), EntryMac(Live(("new", "old")), "sources")
    assert new.verify(old.sign(b"1 {}", A), A) == b"1 {}"
    assert new.sign(b"1 {}", A) == EntryMac(Live(("new", None)), "sources").sign(b"1 {}", A)
    with pytest.raises(ValueError, match="not signed"):
        old.verify(new.sign(b"1 {}", A), A)


def test_the_mac_binds_an_entry_to_the_sources_of_rows() -> None:
    other = EntryMac(Live(("secret", None)), "other sources")
    with pytest.raises(ValueError, match="not signed"):
        other.verify(MAC.sign(ENTRY, A), A)
    assert other.fingerprint == MAC.fingerprint, "the secret is the same"
