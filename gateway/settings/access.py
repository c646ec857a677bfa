"""Authentication of callers: tokens and their keys, the user that a proxy names, signed links."""

from typing import Annotated, Final, Literal

from pydantic import Field, SecretStr

from gateway.settings.base import (
    TRIMMED_LINE,
    Networks,
    Passphrase,
    Reloaded,
    Restarted,
    Section,
    has_bytes,
    http_url,
    is_trimmed_line,
    matches,
    may_carry_secrets,
    require,
)

HeaderName = Annotated[str, matches(r"[A-Za-z][A-Za-z0-9-]*", "a header name")]
KeyId = Annotated[str, matches(r"[A-Za-z0-9._-]{1,32}", "1 to 32 of A-Z a-z 0-9 . _ -")]
LinkKey = Annotated[Passphrase, require(has_bytes(32), "must be at least 32 bytes (RFC 2104 section 3)")]
CookieName = Annotated[str, matches(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", "a cookie name")]
Algorithm = Literal["HS256", "HS384", "HS512", "RS256", "ES256", "EdDSA"]
_HMAC: Final = ("HS256", "HS384", "HS512")
_ASYMMETRIC: Final = ("RS256", "ES256", "EdDSA")
_MIN_RSA_BITS: Final = 2048


class JwtSettings(Section):
    """Identification of the caller by a JSON Web Token. One of ``secret``, ``public_key``, ``jwks_url`` verifies it.

    HMAC algorithms require a secret, so that a public key cannot be misused as an HMAC secret (RFC 8725 section 2.1).
    ``algorithms`` defaults to HS256 with a secret, else to all that the key or a JWKS may have.
    """

    secret: SecretStr | None = None
    public_key: str | None = None
    jwks_url: str | None = None
    algorithms: tuple[Algorithm, ...] = Field((), min_length=1)
    audience: str | None = Field(None, min_length=1)
    issuer: str | None = Field(None, min_length=1)
    user_claim: str = Field("sub", min_length=1)
    groups_claim: str | None = Field(None, min_length=1)
    cookie: CookieName | None = None

    def _check(self) -> None:
        configured = [name for name in ("secret", "public_key", "jwks_url") if getattr(self, name) is not None]
        if len(configured) != 1:
            these = f"{' and '.join(configured)} are" if configured else "none of them is"
            raise ValueError(f"needs one of secret, public_key and jwks_url; {these} set")
        possible = self._possible_algorithms()
        if not self.algorithms:
            object.__setattr__(self, "algorithms", possible if self.secret is None else possible[:1])
        if unsuitable := [algorithm for algorithm in self.algorithms if algorithm not in possible]:
            raise ValueError(f"algorithms: {', '.join(unsuitable)} cannot go with this {configured[0]}")
        if self.secret is not None:
            self._check_secret(self.secret)

    def _possible_algorithms(self) -> tuple[str, ...]:
        if self.secret is not None:
            return _HMAC
        if self.public_key is not None:
            return (_algorithm_of(self.public_key),)
        url = self.jwks_url or ""
        parts = http_url(url)
        if parts is None or not may_carry_secrets(parts) or not url.isprintable() or " " in url:
            raise ValueError("jwks_url must be an https address without a password; http is for this machine alone")
        return _ASYMMETRIC

    def _check_secret(self, secret_field: SecretStr) -> None:
        secret = secret_field.get_secret_value()
        if secret.lstrip().startswith(("-----BEGIN", "ssh-")):
            raise ValueError("secret holds a key of a key pair; put a public key into public_key")
        if not is_trimmed_line(secret_field):
            raise ValueError(f"secret {TRIMMED_LINE}")
        # RFC 7518 section 3.2: a key of the size of the hash output or larger must be used.
        needed = max(int(algorithm.removeprefix("HS")) // 8 for algorithm in self.algorithms)
        if len(secret.encode()) < needed:
            raise ValueError(f"secret must be at least {needed} bytes for these algorithms (RFC 7518 section 3.2)")


def _algorithm_of(pem: str) -> str:
    """Return the algorithm that a public key verifies. Raises ``ValueError`` if the gateway supports none for it."""
    # Imported here: cryptography takes 9 MiB, and most configurations have no public key.
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        key = load_pem_public_key(pem.encode())
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError("public_key is not a public key in PEM (-----BEGIN PUBLIC KEY-----)") from None
    match key:
        case RSAPublicKey() if key.key_size >= _MIN_RSA_BITS:  # RFC 7518 section 3.3
            return "RS256"
        case EllipticCurvePublicKey() if isinstance(key.curve, SECP256R1):
            return "ES256"
        case Ed25519PublicKey():
            return "EdDSA"
        case _:
            raise ValueError("public_key must be RSA of 2048 bits or more, EC P-256 or Ed25519")


class ForwardedUserSettings(Section):
    """The header in which a proxy names the user that it has authenticated, accepted only from ``trusted_proxies``.

    ``groups_header``: the header with the user's groups, separated by commas. None: the proxy names no groups.
    """

    header: HeaderName = "X-User-Id"
    groups_header: HeaderName | None = None
    trusted_proxies: Networks = Field(min_length=1)

    def _check(self) -> None:
        for name, header in (("header", self.header), ("groups_header", self.groups_header or "")):
            if header.lower() in {"authorization", "cookie", "host", "x-forwarded-for", "forwarded"}:
                raise ValueError(f"{name}: {header} has another meaning")
        if self.groups_header is not None and self.groups_header.lower() == self.header.lower():
            raise ValueError("groups_header must not be the same as header")


class SignedLinksSettings(Section):
    """Links that open a single image until they expire. The first of ``keys``, secrets by kid, signs, and all verify.

    To rotate, put the new key first, and remove the old key when its links have expired.
    """

    keys: Reloaded[dict[KeyId, LinkKey]] = Field(min_length=1)


class AccessSettings(Section):
    """The ways to identify a caller. A way that is null is off."""

    jwt: Reloaded[JwtSettings | None] = None
    forwarded_user: Reloaded[ForwardedUserSettings | None] = None
    signed_links: Restarted[SignedLinksSettings | None] = None
    decision_ttl: Reloaded[int] = Field(10, ge=0, le=300)  # seconds that nginx may keep an answer about access
