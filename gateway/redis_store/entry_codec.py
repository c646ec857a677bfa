"""A signed image as the bytes kept in Redis, and back: what comes back is checked, never trusted."""

import json
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError, model_validator

from gateway.catalog.record import ImageRecord, check_object_key, check_place
from gateway.presign.presigned_url import PresignedUrl, SignedImage

_to_json = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode


class _Entry(BaseModel):
    """The JSON in Redis. ``v`` grows when its meaning changes: replicas of two releases then do not read each other."""

    model_config = ConfigDict(extra="forbid", strict=True)

    v: Literal[3]
    id: str
    style: str | None
    owner: str | None
    public: bool
    bucket: str
    region: str
    key: Annotated[str, AfterValidator(check_object_key)]
    type: str | None
    url: str
    signed_at: int
    read_at: int
    killed: int | None

    @model_validator(mode="after")
    def _lies_where_cos_could_have_it(self) -> Self:
        check_place(self.bucket, self.region)
        return self


def encode(image: SignedImage) -> bytes:
    """The entry: its end in decimal, a space, JSON. The end comes first so that a script can compare it unparsed."""
    record, presigned = image.record, image.presigned
    entry = {
        "v": 3,
        "id": record.image_id,
        "style": image.style,
        "owner": record.owner,
        "public": record.public,
        "bucket": record.bucket,
        "region": record.region,
        "key": record.key,
        "type": record.content_type,
        "url": presigned.url,
        "signed_at": presigned.signed_at,
        "read_at": image.read_at,
        "killed": record.links_killed,
    }
    return b"%d %s" % (presigned.expires_at, _to_json(entry).encode())


def decode(data: bytes, image_id: str, style: str | None) -> SignedImage:
    """The entry of ``image_id`` and ``style``; raises ``ValueError`` for anything else, garbage included."""
    end, _, body = data.partition(b" ")
    try:
        entry = _Entry.model_validate_json(body)
    except ValidationError:
        raise ValueError("not an entry of this release") from None
    if (entry.id, entry.style) != (image_id, style):
        raise ValueError("the entry of another image")
    return SignedImage(
        record=ImageRecord(
            image_id=entry.id,
            owner=entry.owner,
            public=entry.public,
            bucket=entry.bucket,
            region=entry.region,
            key=entry.key,
            content_type=entry.type,
            links_killed=entry.killed,
        ),
        presigned=PresignedUrl(entry.url, entry.signed_at, int(end)),
        style=style,
        read_at=entry.read_at,
    )
