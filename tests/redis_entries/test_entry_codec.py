"""The encoding of cached entries and their MAC: a written entry is read unchanged, any other value is refused."""

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.catalog.record import ImageRecord, Viewers
from gateway.presign.credentials import Credentials
from gateway.presign.signer import PresignedUrl, Signer
from gateway.presign.style_variants import ImageVariant, Renditions
from gateway.redis_entries.url_entries import EntryCodec, EntryMac
from gateway.service.metrics import Metrics
from gateway.settings import Live
from tests.signed_images import signed_image
from tests.tier import NOW, RENDITIONS, record, signer_of
from tests.url_settings import url_cache

A = ImageVariant("a")
CREDENTIALS = Credentials("AKID" + "x" * 32, "y" * 32)
SECRET, SOURCES = "secret", "sources"


def signer(
    credentials: Credentials = CREDENTIALS, renditions: Live[Renditions] = RENDITIONS, life: int = 3600, **cos: Any
) -> Signer:
    return signer_of(credentials, Metrics(), lambda: float(NOW), url_cache(life), renditions=renditions, **cos)


def codec(
    signs: Signer | None = None, secret: str = SECRET, previous: str | None = None, sources: str = SOURCES
) -> EntryCodec:
    signs = signs or SIGNER
    return EntryCodec(EntryMac(Live((secret, previous)), sources, signs.hosts.named), signs)


SIGNER = signer()
CODEC = codec()
IMAGE = SIGNER.sign_image(record(), read_at=NOW)
ENTRY = CODEC.encode(IMAGE)
_TEXT = st.text(st.characters(exclude_categories=["Cs"]))


_ASCII = st.characters(codec="ascii", exclude_categories=["Cc"])
_RIGHTS = st.dictionaries(_TEXT, st.none() | st.integers(0, 2**40), max_size=3)
ROWS = st.builds(
    record,
    image_id=st.from_regex(r"[A-Za-z0-9_-]{1,40}", fullmatch=True),
    key=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=50).map(lambda key: f"k{key}"),
    owner=st.none() | _TEXT,
    public=st.booleans(),
    content_type=st.none() | _TEXT,
    links_killed=st.none() | st.integers(0, 2**63),
    width=st.none() | st.integers(1, 50_000),
    version=st.none() | _TEXT,
    placeholder=st.none() | _TEXT,
    viewers=st.none() | st.builds(Viewers, _RIGHTS, _RIGHTS, st.booleans()),
)


@given(row=ROWS)
def test_a_record_is_its_row(row: ImageRecord) -> None:
    assert ImageRecord.from_row(row.image_id, row.as_row()) == row


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
    entry = codec(signs).encode(image)
    assert b"\n" not in entry, "a tombstone follows a line break"
    # Another replica has other credentials.
    assert CODEC.decode(entry, ImageVariant(row.image_id, style)) == image


def test_an_entry_of_a_usual_image_fits_in_224_bytes_of_redis() -> None:
    """Redis allocates 224 bytes, six of them for the length; the next size is 256."""
    usual = record("image-00000123", "photos/123.jpg", owner="u-12345", region="ap-guangzhou", content_type=None)
    entry = CODEC.encode(SIGNER.sign_image(usual, read_at=NOW))
    assert len(entry) <= 224 - 6
    assert len(CODEC.encode(SIGNER.sign_image(usual, "thumb", read_at=NOW))) == len(entry), "a rule costs nothing"


def test_decoded_entries_share_their_times_and_their_places() -> None:
    """A hundred thousand URLs in memory begin and end within few different seconds, and lie in few buckets."""
    first, second = (CODEC.decode(ENTRY, A) for _ in range(2))
    assert first.presigned.signed_at is second.presigned.signed_at
    assert first.presigned.expires_at is second.presigned.expires_at
    assert first.read_at is second.read_at
    assert first.record.bucket is second.record.bucket
    assert first.record.region is second.record.region


def test_a_url_that_no_signer_made_is_not_encoded() -> None:
    with pytest.raises(ValueError, match="not a URL of a signer"):
        CODEC.encode(signed_image(record(), PresignedUrl("https://host/a.png?q", NOW, NOW + 3600)))


_OTHER_RULE = Live(Renditions({"thumb": "imageMogr2/thumbnail/200x200"}))


@pytest.mark.parametrize(
    "other",
    [
        codec(signer(scheme="http")),
        codec(signer(domain="images.example.com")),
        codec(signer(buckets={"more-1250000000": {"domain": "images.example.com"}})),
        codec(signer(renditions=_OTHER_RULE)),
        codec(signer(renditions=Live(Renditions({})))),
        codec(signer(life=600)),
        codec(secret="another secret"),
        codec(sources="other sources"),
    ],
    ids=["scheme", "domain", "domain of a bucket", "rule", "no such style", "shorter life", "secret", "sources"],
)
def test_an_entry_of_another_configuration_is_refused(other: EntryCodec) -> None:
    thumb, variant = SIGNER.sign_image(record(), "thumb", read_at=NOW), ImageVariant("a", "thumb")
    with pytest.raises(ValueError, match="configuration"):
        other.decode(CODEC.encode(thumb), variant)
    assert codec(signer(buckets={"more-1250000000": {}})).decode(CODEC.encode(thumb), variant) == thumb


def test_an_image_that_was_signed_by_the_rule_before_a_reload_is_not_current() -> None:
    renditions = Live(Renditions({"thumb": "imageMogr2/thumbnail/300x300", "other": "imageMogr2/thumbnail/10x"}))
    signs = signer(renditions=renditions)
    images = {name: signs.sign_image(record(), name, read_at=NOW) for name in (None, "thumb", "other")}
    renditions.replace(Renditions({"thumb": "imageMogr2/thumbnail/200x200", "other": "imageMogr2/thumbnail/10x"}))
    current = {name: codec(signs).is_current(image) for name, image in images.items()}
    assert current == {None: True, "thumb": False, "other": True}


@given(st.binary(max_size=200))
@example(ENTRY.partition(b" ")[2])  # without its end
@example(b"1 " + b"[" * 100_000)
@example(b'1700003600 {"v":5,"owner":"alice","public":true,"bucket":"b-1250000000"}')
def test_garbage_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError):
        CODEC.decode(data, A)


def test_an_entry_begins_with_its_end_for_scripts_to_compare_and_a_mac_of_128_bits() -> None:
    end, mac, body = ENTRY.split(b" ", 2)
    assert int(end) == IMAGE.presigned.expires_at
    assert (len(mac), body[:1]) == (22, b"[")


@given(st.integers(0, len(ENTRY) - 1), st.integers(1, 255))
def test_a_change_of_one_byte_breaks_the_mac(position: int, difference: int) -> None:
    changed = bytearray(ENTRY)
    changed[position] ^= difference
    with pytest.raises(ValueError):
        CODEC.decode(bytes(changed), A)


@pytest.mark.parametrize("other", [ImageVariant("b"), ImageVariant("a", "thumb")], ids=str)
def test_the_mac_binds_an_entry_to_its_image_and_style(other: ImageVariant) -> None:
    with pytest.raises(ValueError, match="not signed"):
        CODEC.decode(ENTRY, other)


def test_while_the_secret_changes_entries_of_both_are_accepted() -> None:
    old, new = codec(secret="old"), codec(secret="new", previous="old")
    assert new.decode(old.encode(IMAGE), A) == IMAGE
    assert new.encode(IMAGE) == codec(secret="new").encode(IMAGE)
    with pytest.raises(ValueError, match="not signed"):
        old.decode(new.encode(IMAGE), A)


def test_the_fingerprint_of_a_secret_does_not_depend_on_sources() -> None:
    assert codec(sources="other sources").mac.fingerprint == CODEC.mac.fingerprint
    assert codec(secret="another secret").mac.fingerprint != CODEC.mac.fingerprint
