"""JSON Web Tokens: what PyJWT verifies, held to one kind of key and a fixed list of algorithms (RFC 7519, RFC 8725)."""

from typing import Any, Protocol

import jwt
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from gateway.settings import JwtSettings

LEEWAY = 30  # seconds that the clocks of whoever signs and of this machine may differ by


class BadToken(Exception):
    """The token proves nothing; the message is for a log and quotes nothing of the token."""


class TokenKeys(Protocol):
    """Where the key of a token comes from."""

    def key_for(self, token: str) -> Any:
        """The key that must have signed ``token``; raises ``jwt.PyJWTError`` when there is none."""
        ...


class ConfiguredKey:
    """The one key of the settings: a secret or a public key, whatever the token says of itself."""

    def __init__(self, settings: JwtSettings) -> None:
        self._key: Any
        if settings.secret is not None:
            self._key = settings.secret.get_secret_value()
        else:
            self._key = load_pem_public_key((settings.public_key or "").encode())

    def key_for(self, token: str) -> Any:
        """That key."""
        del token
        return self._key


class Tokens:
    """Tells users by their tokens."""

    def __init__(self, settings: JwtSettings, keys: TokenKeys) -> None:
        self._settings = settings
        self._keys = keys

    def user_of(self, token: str) -> str:
        """The user that ``token`` was signed for; raises ``BadToken``."""
        settings = self._settings
        try:
            claims = jwt.decode(
                token,
                self._keys.key_for(token),
                algorithms=list(settings.algorithms),
                audience=settings.audience,
                issuer=settings.issuer,
                leeway=LEEWAY,
                options={
                    "require": ["exp"],
                    "verify_aud": settings.audience is not None,
                    # PyJWT takes no number for "sub", but applications number their users; it is looked at below.
                    "verify_sub": False,
                    "enforce_minimum_key_length": True,
                },
            )
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError) as error:
            # Beside its own errors PyJWT lets through what bytes that are no UTF-8, or odd claims, make Python raise.
            raise BadToken(type(error).__name__) from error
        user = claims.get(settings.user_claim)
        if isinstance(user, int) and not isinstance(user, bool):
            user = str(user)
        if not isinstance(user, str) or not user:
            raise BadToken("no user is named")
        return user
