"""Authentication of callers."""

from typing import Annotated, Self

from pydantic import AfterValidator, Field, SecretStr, model_validator

from gateway.settings.jwt import JwtSettings
from gateway.settings.section import Networks, Passphrase, Reloaded, Restarted, Section, matches

HeaderName = Annotated[str, matches(r"[A-Za-z][A-Za-z0-9-]*", "a header name")]
KeyId = Annotated[str, matches(r"[A-Za-z0-9._-]{1,32}", "1 to 32 of A-Z a-z 0-9 . _ -")]
_MIN_LINK_KEY = 32


def _check_is_as_long_as_the_hash(key: SecretStr) -> SecretStr:
    if len(key.get_secret_value().encode()) < _MIN_LINK_KEY:
        raise ValueError(f"must be at least {_MIN_LINK_KEY} bytes (RFC 2104 section 3)")
    return key


LinkKey = Annotated[Passphrase, AfterValidator(_check_is_as_long_as_the_hash)]


class ForwardedUserSettings(Section):
    """Header with the user that a proxy has authenticated. The header is accepted only from ``trusted_proxies``."""

    header: HeaderName = "X-User-Id"
    trusted_proxies: Networks = Field(min_length=1)

    @model_validator(mode="after")
    def _check_that_the_header_can_be_believed(self) -> Self:
        if self.header.lower() in {"authorization", "cookie", "host", "x-forwarded-for", "forwarded"}:
            raise ValueError(f"header: {self.header} has another meaning")
        return self


class SignedLinksSettings(Section):
    """Links that open a single image until they expire.

    ``keys`` maps a kid to its secret. The first key signs, and every key verifies. To rotate, put the new key first,
    and remove the old key when its links have expired.
    """

    keys: Reloaded[dict[KeyId, LinkKey]] = Field(min_length=1)


class AccessSettings(Section):
    """The ways to identify a caller. A way that is null is off.

    ``decision_ttl``: for how many seconds nginx may keep an answer about access. 0: never.
    """

    jwt: Reloaded[JwtSettings | None] = None
    forwarded_user: Reloaded[ForwardedUserSettings | None] = None
    signed_links: Restarted[SignedLinksSettings | None] = None
    decision_ttl: Reloaded[int] = Field(10, ge=0, le=300)
