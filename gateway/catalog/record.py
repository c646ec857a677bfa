"""A row of the application's table, and the checks of its values."""

import hashlib
import posixpath
import re
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import lru_cache
from operator import attrgetter
from typing import Any, Final, NamedTuple, Protocol, Self

from gateway.errors import CatalogUnavailable


class Viewers(NamedTuple):
    """The users and groups that may view an image besides its owner, each with the end of the right in Unix seconds.

    None is no end. Where more than ``MOST_GRANTS`` rows and values name viewers, nobody is: ``is_complete`` is False.
    """

    users: Mapping[str, int | None] = {}
    groups: Mapping[str, int | None] = {}
    is_complete: bool = True


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """A row of the application's table that may be served: where the object is in COS, and who may view the image.

    ``key`` is the object key, not percent-encoded. ``owner`` is None if the image has no owner, ``content_type`` if the
    application recorded none. ``links_killed`` is how often the image's signed links were made invalid. None if the
    query did not read it. The rest is None where the table has no such column: ``width`` and ``height`` in pixels,
    ``focus`` (the part that a crop keeps), ``version`` (any text that changes with the image), ``placeholder`` (a small
    preview, as the application encodes it), ``viewers`` (who may view it besides the owner, None for nobody),
    ``alias`` (a further address).
    """

    image_id: str
    owner: str | None
    public: bool
    bucket: str
    region: str
    key: str
    content_type: str | None = None
    links_killed: int | None = None
    width: int | None = None
    height: int | None = None
    focus: str | None = None
    version: str | None = None
    placeholder: str | None = None
    alias: str | None = None
    viewers: Viewers | None = field(default=None, hash=False)  # it has dictionaries

    @classmethod
    def from_row(cls, image_id: str, row: Sequence[Any]) -> Self:
        """Return the record of a row that ``as_row`` returned."""
        owner, public, bucket, region, *others = row
        if len(row) == _FIELDS:
            others[-1] = Viewers(*others[-1])
        return cls(image_id, owner, public, *check_bucket_and_region(bucket, region), *others)

    def as_row(self) -> Sequence[Any]:
        """Return the fields after the id in their order. Most rows lack the last ones: None at the end is left out."""
        row = _row_of(self)
        length = len(row)
        while row[length - 1] is None:
            length -= 1
        return row[:length]

    @property
    def has_size(self) -> bool:
        return self.width is not None and self.height is not None

    def is_visible_like(self, other: "ImageRecord") -> bool:
        """Return whether ``gateway.access.policy`` lets the same callers view both."""
        return _visibility(self) == _visibility(other)

    @property
    def version_token(self) -> str:
        """The version in addresses (``v=``): the row's, hashed if it needs to be, else a hash of where the object is.

        Without a version column, an object that is overwritten under its key keeps its token.
        """
        return self.version if self.version is not None and _TOKEN.fullmatch(self.version) else self.object_version

    @property
    def object_version(self) -> str:
        """A hash of where the object is and of the row's version: rows of two tables may have equal versions."""
        return _hashed(self.version, self.bucket, self.region, self.key)


# Pages request the same few thousand images again and again.
@lru_cache(maxsize=4096)
def _hashed(version: str | None, bucket: str, region: str, key: str) -> str:
    named = "\n".join((version or "", bucket, region, key))
    return hashlib.blake2b(named.encode(), digest_size=8).hexdigest()


_FIELDS: Final = len(fields(ImageRecord)) - 1  # of a row; the viewers are the last
_row_of: Final = attrgetter(*[each.name for each in fields(ImageRecord)[1:]])


class ImageMetadata(NamedTuple):
    """What COS says of an image: sides in pixels, average colour as ``#rrggbb``. None for what is unknown.

    placeholder: a tiny copy as a data URL. Empty if COS makes none, None if it was not asked.
    """

    width: int | None = None
    height: int | None = None
    color: str | None = None
    placeholder: str | None = None

    def is_complete_for(self, record: ImageRecord) -> bool:
        """Return whether the colour and both sides are known, from here or from the row."""
        return self.color is not None and (record.has_size or None not in (self.width, self.height))


_visibility: Final = attrgetter("owner", "public", "links_killed", "viewers")
_TOKEN = re.compile(r"[A-Za-z0-9._-]{1,64}")
MOST_GRANTS: Final = 1_000  # of an image; they are kept with every cached URL
# The words of COS for the part of an image that a crop keeps (document 44880).
FOCUSES = frozenset({"center", "north", "northwest", "northeast", "south", "southwest", "southeast", "west", "east"})
_LONGEST_SIDE = 50_000  # pixels; COS processes no larger image (document api/1045/40716)
_LONGEST_PLACEHOLDER = 2048  # characters: it is kept with every cached URL
_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,18}")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_RANGES: Final = {"smallint": 2**15, "integer": 2**31, "bigint": 2**63}


def side_of(value: int | None) -> int | None:
    """Return a width or height in pixels, or None if no image has it."""
    return value if value is not None and 1 <= value <= _LONGEST_SIDE else None


# Stricter than the SDK's own check: the SDK must never be given a name that it refuses.
_BUCKET = re.compile(r"[a-z0-9][a-z0-9-]*-[0-9]+")
_REGION = re.compile(r"[a-z0-9][a-z0-9-]{0,61}[a-z0-9]")  # a label of a host name has at most 63 characters


# A hundred thousand rows in memory name few buckets, regions and types: equal texts are one object, checked once.
@lru_cache(maxsize=1024)
def check_bucket_and_region(bucket: str, region: str) -> tuple[str, str]:
    """Return both, or raise ``ValueError`` if COS allows no such names; both become part of a host name."""
    if not _BUCKET.fullmatch(bucket) or not _REGION.fullmatch(region) or len(bucket) > 60:
        raise ValueError("the bucket or region is not a name that COS allows")
    return bucket, region


@dataclass(frozen=True, slots=True)
class Rows:
    """The result of a query of image rows, by image id: the records, and the reasons why other rows are unusable."""

    records: Mapping[str, ImageRecord]
    unusable: Mapping[str, str]


class RowsUnreadable(CatalogUnavailable):
    """Postgres cannot read the rows of ``image_ids``, and has none of the other images. The table may be at fault."""

    def __init__(self, reason: str, image_ids: Collection[str]) -> None:
        super().__init__(reason)
        self.image_ids = image_ids


class Catalog(Protocol):
    """Reads image rows, as ``PostgresCatalog`` does. Each method may raise ``CatalogUnavailable``."""

    async def fetch_rows(self, image_ids: Sequence[str]) -> Rows:
        """Return the records of those that can be served, and why the others cannot. Raises ``RowsUnreadable``."""

    async def try_query(self) -> None:
        """Return if the query of the other methods works."""


@dataclass(frozen=True, slots=True)
class InspectedRow:
    """A row of an image with any status, for an operator.

    ``record`` is None if COS cannot have such an object. ``reason`` says why the row is not served. None if it is
    served. ``status`` is the text of the status column. None if none is configured, or if it is NULL.
    """

    record: ImageRecord | None
    status: str | None
    reason: str | None


def check_object_key(key: str) -> str:
    """Return ``key`` if it names one object, else raise ``ValueError``.

    COS accepts 1 to 850 bytes of UTF-8 (COS document 14518). A URL presigned for a key that normalizes to ``/`` lists
    the bucket (the SDK refuses such a key in ``get_object``, but not in ``get_presigned_url``).
    """
    try:
        size = len(key.encode())
    except UnicodeEncodeError:
        raise ValueError("the key is not valid Unicode") from None
    if not 1 <= size <= 850:
        raise ValueError(f"the key has {size} bytes, COS accepts 1 to 850")
    if posixpath.normpath(f"/./{key}") == "/":
        raise ValueError("the key names the bucket, not an object")
    return key


def read_row(row: Sequence[Any], default_bucket: str, regions: Mapping[str, str], key_prefix: str = "") -> ImageRecord:
    """Return a ``CatalogQuery`` row as a record. Raises ``ValueError`` if COS allows no such key, bucket or region."""
    image_id, key, owner, public, bucket, region, content_type, width, height, focus, version, placeholder = row[:12]
    viewers, groups, grants, alias = row[12:16]
    bucket = bucket or default_bucket
    bucket, region = check_bucket_and_region(bucket, region or regions.get(bucket) or regions[default_bucket])
    return ImageRecord(
        image_id=image_id,
        owner=owner,
        public=bool(public),
        bucket=bucket,
        region=region,
        key=check_object_key(key_prefix + key if key else ""),
        content_type=sys.intern(content_type) if content_type is not None else None,
        links_killed=row[16] if len(row) > 16 else None,
        width=side_of(width),
        height=side_of(height),
        focus=focus if focus in FOCUSES else None,
        version=version,
        placeholder=placeholder if placeholder and len(placeholder) <= _LONGEST_PLACEHOLDER else None,
        viewers=_viewers_of(viewers, groups, grants),
        alias=alias,
    )


def _viewers_of(viewers: Any, groups: Any, grants: Any) -> Viewers | None:
    """Return who may view an image, by its columns and its grants, as JSON has them. Raises ``ValueError``."""
    users_of_row, groups_of_row, granted = _names(viewers), _names(groups), grants or []
    if not (users_of_row or groups_of_row or granted):
        return None
    if len(users_of_row) + len(groups_of_row) + len(granted) > MOST_GRANTS:
        return Viewers(is_complete=False)
    by_user: dict[str, int | None] = dict.fromkeys(users_of_row)
    by_group: dict[str, int | None] = dict.fromkeys(groups_of_row)
    for user, group, until in granted:
        # A row that names both is for both.
        for names, name in ((by_user, user), (by_group, group)):
            if name:
                known = names.get(name, until)
                names[name] = None if until is None or known is None else max(until, known)
    return Viewers(by_user, by_group)


def _names(value: Any) -> list[str]:
    """Return the ids in a column of one or of many: text, a number, an array, or JSON of these."""
    ids = value if isinstance(value, list) else [] if value is None else [value]
    if any(not isinstance(name, str | int) or isinstance(name, bool) for name in ids if name is not None):
        raise ValueError("a column of viewers or groups holds neither text nor numbers")
    return [str(name) for name in ids if name not in (None, "")]


def valid_ids(image_ids: Sequence[str], id_type: str) -> list[str]:
    """Return those of ``image_ids`` that a column of this type can hold, in the type's canonical spelling.

    ``007`` is not an id of an integer column: an image has a single id, so that invalidating the id invalidates
    every entry. Also, an invalid id makes Postgres refuse the query of a whole batch.
    """
    if (limit := _RANGES.get(id_type)) is not None:
        return [text for text in image_ids if _INTEGER.fullmatch(text) and -limit <= int(text) < limit]
    if id_type == "uuid":
        return [text for text in image_ids if _UUID.fullmatch(text)]
    return list(image_ids)
