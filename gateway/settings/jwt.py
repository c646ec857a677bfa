"""The key that verifies tokens, and its algorithms."""

from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, model_validator

from gateway.net.ip_address import is_loopback
from gateway.settings.section import Section, matches, without_stray_whitespace

Hmac = Literal["HS256", "HS384", "HS512"]
Asymmetric = Literal["RS256", "ES256", "EdDSA"]
_HMAC = ("HS256", "HS384", "HS512")
_ASYMMETRIC = ("RS256", "ES256", "EdDSA")


class JwtSettings(Section):
    """Identification of the caller by a JSON Web Token.

    Exactly one of ``secret``, ``public_key`` (PEM) and ``jwks_url`` verifies tokens. HMAC algorithms require a secret,
    so that a public key cannot be misused as an HMAC secret (RFC 8725 section 2.1). ``algorithms`` defaults to HS256
    with a secret, to the key's own algorithm with a PEM, and to RS256, ES256 and EdDSA with a JWKS.
    """

    secret: SecretStr | None = None
    public_key: str | None = None
    jwks_url: str | None = None
    algorithms: tuple[Hmac | Asymmetric, ...] = Field((), min_length=1)
    audience: str | None = None
    issuer: str | None = None
    user_claim: str = Field("sub", min_length=1)
    cookie: Annotated[str, matches(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", "a cookie name")] | None = None

    @model_validator(mode="after")
    def _check_key_and_algorithms(self) -> Self:
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
        return self

    def _possible_algorithms(self) -> tuple[str, ...]:
        if self.secret is not None:
            return _HMAC
        if self.public_key is not None:
            from gateway.settings.public_key import algorithm_of  # imported here: cryptography takes 9 MiB

            return (algorithm_of(self.public_key),)
        if not _is_trustworthy_address(self.jwks_url or ""):
            raise ValueError("jwks_url must be an https address without a password; http is for this machine alone")
        return _ASYMMETRIC

    def _check_secret(self, secret_field: SecretStr) -> None:
        secret = secret_field.get_secret_value()
        if secret.lstrip().startswith(("-----BEGIN", "ssh-")):
            raise ValueError("secret holds a key of a key pair; put a public key into public_key")
        try:
            without_stray_whitespace(secret_field)
        except ValueError as error:
            raise ValueError(f"secret {error}") from None
        # RFC 7518 section 3.2: a key of the size of the hash output or larger must be used.
        needed = max(int(algorithm.removeprefix("HS")) // 8 for algorithm in self.algorithms)
        if len(secret.encode()) < needed:
            raise ValueError(f"secret must be at least {needed} bytes for these algorithms (RFC 7518 section 3.2)")


def _is_trustworthy_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return False
    if not host or port == 0 or "@" in parts.netloc or not url.isprintable() or " " in url:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host))
