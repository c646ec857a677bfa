"""The bucket of images."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from gateway.settings.section import Section, Token, matches

Bucket = Annotated[str, matches(r"[a-z0-9][a-z0-9-]*-[0-9]+", "a bucket name with its APPID, like photos-1250000000")]
Region = Annotated[str, matches(r"[a-z0-9][a-z0-9-]*[a-z0-9]", "a region, like ap-guangzhou")]


def _check_port(host_port: str) -> str:
    port = host_port.partition(":")[2]
    if port and not 1 <= int(port) <= 65535:
        raise ValueError("must have a port from 1 to 65535")
    return host_port


HostPort = Annotated[
    str,
    matches(
        r"(\{bucket\}\.)?[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:[0-9]{1,5})?",
        "host or host:port, without scheme or path; it may start with {bucket}.",
    ),
    AfterValidator(_check_port),
    # The signature covers the host, and clients send it in lower case (RFC 3986 section 6.2.2.1).
    AfterValidator(str.lower),
]


class CosSettings(Section):
    """Where the images are, and the credentials that sign their URLs.

    ``domain`` is a custom, accelerated or internal domain of ``bucket``; one that starts with ``{bucket}.`` also serves
    the buckets that rows name. ``token_expires_at`` is the end of a temporary ``token`` in Unix seconds.
    """

    secret_id: Token = Field(min_length=1)
    secret_key: Token = Field(min_length=1)
    token: Token | None = None
    token_expires_at: int | None = None
    region: Region = "ap-guangzhou"
    bucket: Bucket
    scheme: Literal["https", "http"] = "https"
    domain: HostPort | None = None
