"""The one query, and what its rows become."""

import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.catalog.query import CatalogQuery
from gateway.catalog.record import ImageRecord
from gateway.settings import PostgresSettings


def query(**settings: Any) -> CatalogQuery:
    """On a table of those settings."""
    made = PostgresSettings.model_validate({"dsn": "host=localhost", **settings})
    return CatalogQuery(made, "photos-1250000000", {"photos-1250000000": "ap-guangzhou", "eu-1250000001": "eu-moscow"})


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
    assert CatalogQuery.valid_ids([*invalid, *valid], id_type) == valid


@given(st.uuids(), st.integers(-(2**63), 2**63 - 1))
def test_every_id_that_a_column_prints_is_valid(number: uuid.UUID, integer: int) -> None:
    assert CatalogQuery.valid_ids([str(number)], "uuid") == [str(number)]
    assert CatalogQuery.valid_ids([str(integer)], "bigint") == [str(integer)]


@given(st.text(max_size=40), st.sampled_from(["integer", "bigint", "smallint", "uuid"]))
def test_any_text_is_valid_or_not(text: str, id_type: str) -> None:
    assert CatalogQuery.valid_ids([text], id_type) in ([], [text])


# Width, height, focus, version and placeholder of a table without these columns.
NO_MORE = (None, None, None, None, None)


def test_a_row_becomes_a_record() -> None:
    row = ("cat", "objects/cat.png", "alice", True, "other-1250000001", "ap-beijing", "image/png", *NO_MORE)
    assert query().read(row) == ImageRecord(
        "cat", "alice", True, "other-1250000001", "ap-beijing", "objects/cat.png", "image/png"
    )


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        ((800, 500, "north", "7", "L6Pj0^"), (800, 500, "north", "7", "L6Pj0^")),
        ((0, 50_001, "up", "", ""), (None, None, None, "", None)),
        ((1, 1, "center", "a b", "x" * 2049), (1, 1, "center", "a b", None)),
    ],
)
def test_sizes_focus_and_placeholder_that_no_image_has_are_none(sent: tuple[Any, ...], read: tuple[Any, ...]) -> None:
    record = query().read(("cat", "cat.png", None, True, None, None, None, *sent))
    assert (record.width, record.height, record.focus, record.version, record.placeholder) == read


@pytest.mark.parametrize("unset", [None, ""])
def test_a_row_without_bucket_or_region_has_the_configured_one(unset: str | None) -> None:
    record = query().read(("cat", "cat.png", None, None, unset, unset, None, *NO_MORE))
    assert (record.bucket, record.region) == ("photos-1250000000", "ap-guangzhou")
    assert (record.owner, record.public, record.content_type) == (None, False, None)


@pytest.mark.parametrize(
    ("bucket", "region", "expected"),
    [
        ("eu-1250000001", None, "eu-moscow"),
        ("eu-1250000001", "eu-frankfurt", "eu-frankfurt"),
        ("other-1250000002", None, "ap-guangzhou"),
    ],
)
def test_a_row_without_a_region_has_that_of_its_bucket(bucket: str, region: str | None, expected: str) -> None:
    record = query().read(("cat", "cat.png", None, True, bucket, region, None, *NO_MORE))
    assert (record.bucket, record.region) == (bucket, expected)


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
        query().read(("cat", key, None, True, bucket, region, None, *NO_MORE))


def test_rows_share_the_texts_of_bucket_region_and_type() -> None:
    """A hundred thousand rows in memory name few of them."""

    def read(number: int) -> ImageRecord:
        texts = (text.encode().decode() for text in ("eu-1250000001", "eu-moscow", "image/jpeg"))
        return query().read((str(number), "k", None, True, *texts, *(None,) * 5))

    first, second = read(1), read(2)
    assert first.bucket is second.bucket
    assert first.region is second.region
    assert first.content_type is second.content_type


def test_a_long_content_type_is_kept_with_its_row_alone() -> None:
    text = "image/" + "x" * 100
    row = ("1", "k", None, True, None, None, text, *(None,) * 5)
    assert query().read(row).content_type is text
