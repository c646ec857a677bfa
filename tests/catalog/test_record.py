"""Rows, the ids and object keys in them, and the records that they become."""

import posixpath
import uuid
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.catalog.record import ImageRecord, Viewers, check_object_key, read_row, valid_ids


def read(row: Sequence[Any]) -> ImageRecord:
    """Read a row where two buckets have regions."""
    return read_row(row, "photos-1250000000", {"photos-1250000000": "ap-guangzhou", "eu-1250000001": "eu-moscow"})


@pytest.mark.parametrize(
    "key",
    [
        *("cat.png", "a/b/c.png", "/leading.png", "a//b.png", "./a.png", "a/../b.png", "图片/日落.png", "a%2Fb", "..."),
        *("a b+c%d#e?f&g='h'\"(i)[j].png", " ", "a/", "k" * 850, "图" * 283),
    ],
)
def test_a_key_of_an_object_is_returned_unchanged(key: str) -> None:
    assert check_object_key(key) == key


@pytest.mark.parametrize("key", ["/", "//", ".", "./", "..", "../", "a/..", "/a/../", "a/./../.", "../../..", "././/"])
def test_a_key_that_names_the_bucket_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match="names the bucket"):
        check_object_key(key)


@example("")
@example("k" * 851)
@example("图" * 284)
@example("a\ud800")
@given(st.text(alphabet=st.sampled_from("ab./"), max_size=12) | st.text(alphabet=st.characters(), max_size=300))
def test_no_accepted_key_normalizes_to_the_bucket(key: str) -> None:
    try:
        check_object_key(key)
    except ValueError:
        return
    assert posixpath.normpath("/" + key.strip("/")) != "/"
    assert 1 <= len(key.encode()) <= 850, "the length that COS accepts"


@pytest.mark.parametrize(
    ("id_type", "valid", "invalid"),
    [
        ("text", ["1", "007", "a:b@c"], []),
        ("character varying", ["1", "007"], []),
        (
            "integer",
            ["0", "1", "-1", "2147483647", "-2147483648"],
            ["2147483648", "007", "+1", "-0", "a", "1.0", "1e3"],
        ),
        ("smallint", ["32767", "-32768"], ["32768", "-32769", "00"]),
        ("bigint", ["9223372036854775807"], ["9223372036854775808", "99999999999999999999"]),
        (
            "uuid",
            ["6f9619ff-8b86-d011-b42d-00cf4fc964ff"],
            ["6F9619FF-8B86-D011-B42D-00CF4FC964FF", "6f9619ff8b86d011b42d00cf4fc964ff", "6f9619ff", "1"],
        ),
    ],
)
def test_an_id_is_valid_in_its_canonical_spelling_only(id_type: str, valid: list[str], invalid: list[str]) -> None:
    assert valid_ids([*invalid, *valid], id_type) == valid


@given(st.uuids(), st.integers(-(2**63), 2**63 - 1))
def test_every_id_that_a_column_prints_is_valid(number: uuid.UUID, integer: int) -> None:
    assert valid_ids([str(number)], "uuid") == [str(number)]
    assert valid_ids([str(integer)], "bigint") == [str(integer)]


# Viewers, groups, grants and alias of a table without them; before them width, height, focus, version, placeholder.
NO_VIEWERS = (None, None, None, None)
NO_MORE = (None, None, None, None, None, *NO_VIEWERS)


def test_a_row_becomes_a_record() -> None:
    row = ("cat", "objects/cat.png", "alice", True, "other-1250000001", "ap-beijing", "image/png", *NO_MORE)
    assert read(row) == ImageRecord(
        "cat", "alice", True, "other-1250000001", "ap-beijing", "objects/cat.png", "image/png"
    )


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ((800, 500, "north", "7", "L6Pj0^"), (800, 500, "north", "7", "L6Pj0^")),
        ((0, 50_001, "up", "", ""), (None, None, None, "", None)),
        ((1, 1, "center", "a b", "x" * 2049), (1, 1, "center", "a b", None)),
    ],
)
def test_sizes_focus_and_placeholder_that_no_image_has_are_none(sent: tuple[Any, ...], kept: tuple[Any, ...]) -> None:
    record = read(("cat", "cat.png", None, True, None, None, None, *sent, *NO_VIEWERS))
    assert (record.width, record.height, record.focus, record.version, record.placeholder) == kept


@pytest.mark.parametrize(
    ("viewers", "groups", "grants", "expected"),
    [
        ("bob", ["t1", 7, None, ""], None, Viewers({"bob": None}, {"t1": None, "7": None})),
        ([], "", [], None),
        (None, None, [["bob", None, 9], ["bob", None, 8], [None, "t1", None]], Viewers({"bob": 9}, {"t1": None})),
        ("bob", None, [["bob", "t1", 9]], Viewers({"bob": None}, {"t1": 9})),
        ([str(number) for number in range(1001)], None, None, Viewers(is_complete=False)),
    ],
)
def test_viewers_are_users_and_groups_with_the_longest_of_their_rights(
    viewers: Any, groups: Any, grants: Any, expected: Viewers | None
) -> None:
    row = ("cat", "cat.png", None, False, None, None, None, *NO_MORE[:5], viewers, groups, grants, None)
    assert read(row).viewers == expected


def test_viewers_that_are_no_names_make_a_row_unusable() -> None:
    for value in ({"user": "bob"}, [True], [["bob"]], 1.5):
        with pytest.raises(ValueError, match="neither text nor numbers"):
            read(("cat", "cat.png", None, False, None, None, None, *NO_MORE[:5], value, None, None, None))


@pytest.mark.parametrize(
    ("bucket", "region", "expected"),
    [
        (None, None, ("photos-1250000000", "ap-guangzhou")),
        ("", "", ("photos-1250000000", "ap-guangzhou")),
        ("eu-1250000001", None, ("eu-1250000001", "eu-moscow")),
        ("eu-1250000001", "eu-frankfurt", ("eu-1250000001", "eu-frankfurt")),
        ("other-1250000002", None, ("other-1250000002", "ap-guangzhou")),
    ],
)
def test_a_row_without_bucket_or_region_has_the_configured_one(
    bucket: str | None, region: str | None, expected: tuple[str, str]
) -> None:
    record = read(("cat", "cat.png", None, None, bucket, region, None, *NO_MORE))
    assert (record.bucket, record.region) == expected
    assert (record.owner, record.public, record.content_type) == (None, False, None)


@pytest.mark.parametrize(
    ("key", "bucket", "region"),
    [
        (None, None, None),
        ("", None, None),
        ("a/..", None, None),
        ("k" * 851, None, None),
        ("a", "evil.example.com/", None),
        ("a", "evil@example-1", None),
        ("a", "photos", None),
        ("a", "photos-1250000000\n", None),
        ("a", None, "ap-guangzhou.evil.example.com"),
        ("a", None, "x/y"),
        ("a", None, " "),
    ],
)
def test_a_row_with_an_impossible_key_bucket_or_region_is_refused(
    key: str | None, bucket: str | None, region: str | None
) -> None:
    with pytest.raises(ValueError, match=r"."):
        read(("cat", key, None, True, bucket, region, None, *NO_MORE))


def test_rows_share_the_texts_of_bucket_region_and_type() -> None:
    """A hundred thousand rows in memory name few of them."""

    def own(number: int) -> ImageRecord:
        texts = (text.encode().decode() for text in ("eu-1250000001", "eu-moscow", "image/jpeg"))
        return read((str(number), "k", None, True, *texts, *NO_MORE))

    first, second = own(1), own(2)
    assert first.bucket is second.bucket
    assert first.region is second.region
    assert first.content_type is second.content_type
