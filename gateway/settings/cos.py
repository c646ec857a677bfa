"""The image store."""

from typing import Annotated, Literal

from pydantic import Field, SecretStr

from gateway.settings.section import Section, matches

Bucket = Annotated[str, matches(r"[a-z0-9][a-z0-9-]*-[0-9]+", "a bucket name with its APPID, like photos-1250000000")]
Region = Annotated[str, matches(r"[a-z0-9][a-z0-9-]*[a-z0-9]", "a region, like ap-guangzhou")]
HostPort = Annotated[
    str,
    matches(
        r"(\{bucket\}\.)?[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:[0-9]{1,5})?",
        "host or host:port, without scheme or path; it may start with {bucket}.",
    ),
]


class CosSettings(Section):
    """Where the images are, and how to sign for them.

    ``domain`` is a custom, accelerated or internal domain of ``bucket``; with ``{bucket}.`` in front it serves the
    buckets that rows name, too. ``token_expires_at`` (Unix time) is the end of a temporary ``token``.
    """

    secret_id: SecretStr = Field(min_length=1)
    secret_key: SecretStr = Field(min_length=1)
    token: SecretStr | None = None
    token_expires_at: int | None = None
    region: Region = "ap-guangzhou"
    bucket: Bucket
    scheme: Literal["https", "http"] = "https"
    domain: HostPort | None = None
