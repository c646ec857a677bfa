"""Caches and proxies in front: the service that purges changed images, and the canary, which asks through them."""

import re
from pathlib import Path
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

from pydantic import Field

from gateway.settings.base import Section, Token, http_url, matches, may_carry_secrets, require
from gateway.settings.credentials import BaseUrl, CredentialsSettings, EncryptedUrl

PurgeTarget = Literal["tencent_cdn", "edgeone", "webhook"]

MOST_ADDRESSES: Final = 1000  # that one request may name (document 228/33601); all of an image fit into one
_MOST_BASE_URLS: Final = 10
_IN_A_URL: Final = re.compile(r"[!-~]+")  # a space would end the address in the request line (RFC 9112 section 3)
_MOST_PER_SECOND: Final = 20  # requests a second that Tencent's services accept (documents 228/33601 and 1145/50536)
_APIS: Final = {"tencent_cdn": "https://cdn.tencentcloudapi.com", "edgeone": "https://teo.tencentcloudapi.com"}
# The targets of a key; keys that are not listed are for every target.
_KEYS_OF: Final = {
    **dict.fromkeys(("url", "token"), ("webhook",)),
    **dict.fromkeys(("api_url", "credentials"), ("tencent_cdn", "edgeone")),
    **dict.fromkeys(("zone_id", "by"), ("edgeone",)),
}


def _is_url(url: str) -> bool:
    parts = http_url(url)
    return parts is not None and not parts.fragment and _IN_A_URL.fullmatch(url) is not None


# Logs and errors may name the URL, so it has no user name.
Url = Annotated[str, require(_is_url, "must be an address like https://host/path, without a user name")]
BaseUrls = Annotated[
    tuple[BaseUrl, ...],
    Field(max_length=_MOST_BASE_URLS),
    require(lambda urls: len(set(urls)) == len(urls), "must not name an address twice"),
]
ImageId = Annotated[str, matches(r"[A-Za-z0-9][A-Za-z0-9._:@-]{0,127}", "the id of an image")]
CanaryKey = Annotated[str, matches(r"[^\x00-\x1f'\\$]{1,850}", "the key of an object, without quotes, \\ and $")]
ZoneId = Annotated[str, matches(r"zone-[A-Za-z0-9]{1,60}", "the id of an EdgeOne site, like zone-276zs184g93m")]


class PurgeSettings(Section):
    """The service that purges changed images: Tencent CDN, EdgeOne, or a webhook, a POST of JSON to ``url``."""

    target: PurgeTarget
    base_urls: BaseUrls = ()  # the addresses at which clients reach the caches
    url: Url | None = None
    token: Token | None = Field(None, min_length=1)  # a bearer token
    zone_id: ZoneId | None = None
    by: Literal["url", "cache_tag"] = "url"
    api_url: EncryptedUrl | None = None  # None: the service's own address
    credentials: CredentialsSettings | None = None  # None: those of ``cos``
    per_second: float = Field(10.0, gt=0, le=1000)  # of all replicas together

    @property
    def api(self) -> str:
        """The address of Tencent's service. Raises KeyError for a webhook."""
        return self.api_url or _APIS[self.target]

    @property
    def names_addresses(self) -> bool:
        """Whether requests to Tencent's services name the addresses of an image, and not its tag."""
        return self.target == "tencent_cdn" or (self.target == "edgeone" and self.by == "url")

    def _check(self) -> None:
        for key in sorted(self.model_fields_set & _KEYS_OF.keys()):
            if self.target not in _KEYS_OF[key] and getattr(self, key) is not None:
                raise ValueError(f"{key}: is for the target {' or '.join(_KEYS_OF[key])} alone")
        if self.target == "webhook" and self.url is None:
            raise ValueError("url: is required for the target webhook")
        if self.target == "edgeone" and self.zone_id is None:
            raise ValueError("zone_id: is required for the target edgeone")
        if self.names_addresses and not self.base_urls:
            raise ValueError("base_urls: must name the addresses under which the CDN serves the gateway")
        if self.target != "webhook" and self.per_second > _MOST_PER_SECOND:
            raise ValueError(f"per_second: must be at most {_MOST_PER_SECOND}, which is the limit of Tencent's service")
        if self.token is not None and not may_carry_secrets(urlsplit(self.url or "")):
            raise ValueError("url: must be an https address if there is a token; http is for this machine alone")


class CanaryRowSettings(Section):
    """An image of the canary's own, whose row a function of ``sql canary`` gives the other of two keys."""

    id: ImageId
    keys: tuple[CanaryKey, CanaryKey]

    def _check(self) -> None:
        if self.keys[0] == self.keys[1]:
            raise ValueError("keys: must be two different keys")


class CanarySettings(Section):
    """The canary, which asks proxies and CDNs for two images, as users do. ``every``: seconds between two rounds."""

    via: Annotated[BaseUrls, Field(min_length=1)]
    public: ImageId
    private: ImageId
    token_file: Path | None = None
    change: CanaryRowSettings | None = None
    every: float = Field(10, ge=1, le=3600)

    def _check(self) -> None:
        if self.public == self.private:
            raise ValueError("private: must be another image than public")
        if self.change is not None and self.change.id in (self.public, self.private):
            raise ValueError("change.id: must be another image than public and private, which stay as they are")
