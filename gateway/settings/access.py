"""How callers are known."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from gateway.settings.jwt import JwtSettings
from gateway.settings.section import Networks, Passphrase, Section, matches

HeaderName = Annotated[str, matches(r"[A-Za-z][A-Za-z0-9-]*", "a header name")]
KeyId = Annotated[str, matches(r"[A-Za-z0-9._-]{1,32}", "1 to 32 of A-Z a-z 0-9 . _ -")]
_LEAST_LINK_KEY = 32


class ForwardedUserSettings(Section):
    """A header in which a proxy that has authenticated the user names him; believed from those networks alone."""

    header: HeaderName = "X-User-Id"
    trusted_proxies: Networks = Field(min_length=1)

    @model_validator(mode="after")
    def _names_somebody_in_particular(self) -> Self:
        if any(network.prefixlen == 0 for network in self.trusted_proxies):
            raise ValueError("trusted_proxies must not hold everybody: anyone could then be any user")
        if self.header.lower() in {"authorization", "cookie", "host", "x-forwarded-for", "forwarded"}:
            raise ValueError(f"header: {self.header} has a meaning of its own")
        return self


class SignedLinksSettings(Section):
    """Links that open one image until a time: ``keys`` maps a kid to its secret.

    The first one signs, all of them verify: a new key is put in front, the old one is removed when its links are over.
    """

    keys: dict[KeyId, Passphrase] = Field(min_length=1)

    @model_validator(mode="after")
    def _keys_are_as_long_as_the_hash(self) -> Self:
        for kid, key in self.keys.items():
            if len(key.get_secret_value().encode()) < _LEAST_LINK_KEY:
                raise ValueError(f"keys.{kid} must be at least {_LEAST_LINK_KEY} bytes (RFC 2104 section 3)")
        return self


class AccessSettings(Section):
    """Each way to tell who one is; null: off."""

    jwt: JwtSettings | None = None
    forwarded_user: ForwardedUserSettings | None = None
    signed_links: SignedLinksSettings | None = None
