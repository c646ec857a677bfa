"""Authentication of callers."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from gateway.settings.jwt import JwtSettings
from gateway.settings.section import Networks, Passphrase, Reloaded, Restarted, Section, matches

HeaderName = Annotated[str, matches(r"[A-Za-z][A-Za-z0-9-]*", "a header name")]
KeyId = Annotated[str, matches(r"[A-Za-z0-9._-]{1,32}", "1 to 32 of A-Z a-z 0-9 . _ -")]
_MIN_LINK_KEY = 32


class ForwardedUserSettings(Section):
    """Header with the user that a proxy has authenticated; accepted only from ``trusted_proxies``."""

    header: HeaderName = "X-User-Id"
    trusted_proxies: Networks = Field(min_length=1)

    @model_validator(mode="after")
    def _check_that_the_header_can_be_believed(self) -> Self:
        if any(network.prefixlen == 0 for network in self.trusted_proxies):
            raise ValueError("trusted_proxies must not contain every address: any client could then be any user")
        if self.header.lower() in {"authorization", "cookie", "host", "x-forwarded-for", "forwarded"}:
            raise ValueError(f"header: {self.header} has another meaning")
        return self


class SignedLinksSettings(Section):
    """Links that open one image until they expire; ``keys`` maps a kid to its secret.

    The first key signs, every key verifies. To rotate, put the new key first and remove the old one when its links have
    expired.
    """

    keys: Reloaded[dict[KeyId, Passphrase]] = Field(min_length=1)

    @model_validator(mode="after")
    def _check_that_keys_are_as_long_as_the_hash(self) -> Self:
        for kid, key in self.keys.items():
            if len(key.get_secret_value().encode()) < _MIN_LINK_KEY:
                raise ValueError(f"keys.{kid} must be at least {_MIN_LINK_KEY} bytes (RFC 2104 section 3)")
        return self


class AccessSettings(Section):
    """The ways to identify a caller; null turns one off."""

    jwt: Reloaded[JwtSettings | None] = None
    forwarded_user: Reloaded[ForwardedUserSettings | None] = None
    signed_links: Restarted[SignedLinksSettings | None] = None
