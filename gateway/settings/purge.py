"""Where changes of images are sent, so that caches in front drop what they keep."""

from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from gateway.ip_address import is_loopback
from gateway.settings.credentials import BaseUrl
from gateway.settings.section import Section, Token

_MOST_BASE_URLS = 10


def _check_url(url: str) -> str:
    """Refuse what is no address of an HTTP service, and a user name in it: logs and errors may name the address."""
    try:
        parts = urlsplit(url)
        is_usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_usable = False
    if not is_usable or "@" in parts.netloc or parts.fragment or not url.isascii() or not url.isprintable():
        raise ValueError("must be an address like https://host/path, without a user name")
    return url


def _check_repetition(urls: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(urls)) < len(urls):
        raise ValueError("must not name an address twice")
    return urls


class PurgeSettings(Section):
    """The service that is told of changed images: ``webhook``, a POST of JSON to ``url``.

    ``base_urls`` are the addresses under which caches know the gateway. ``token`` is sent as a bearer token.
    ``per_second`` bounds the requests of all replicas together.
    """

    target: Literal["webhook"]
    url: Annotated[str, AfterValidator(_check_url)]
    base_urls: Annotated[tuple[BaseUrl, ...], Field(max_length=_MOST_BASE_URLS), AfterValidator(_check_repetition)] = ()
    token: Token | None = Field(None, min_length=1)
    per_second: float = Field(10.0, gt=0, le=1000)

    @model_validator(mode="after")
    def _keep_the_token_secret(self) -> Self:
        parts = urlsplit(self.url)
        if self.token is not None and parts.scheme != "https" and not is_loopback(parts.hostname or ""):
            raise ValueError("url: must be an https address if there is a token; http is for this machine alone")
        return self
