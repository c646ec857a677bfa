"""JSON Web Tokens, verified by PyJWT with a single kind of key and a fixed list of algorithms (RFC 7519, RFC 8725).

Only a gateway with ``access.jwt`` imports this module: PyJWT and cryptography take 9 MiB.
"""

import os
import time
from collections import OrderedDict
from collections.abc import Mapping
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final

import jwt
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from gateway.access.caller import MOST_GROUPS, BadCredentials, Caller, is_name
from gateway.settings import JwtSettings

if TYPE_CHECKING:  # a gateway with a key of its own fetches none
    from gateway.access.jwks import Jwks

# By exception of PyJWT; the first class of an exception's ancestry that is listed counts.
_REASONS: dict[type[BaseException], str] = {
    jwt.ExpiredSignatureError: "the token has expired",
    jwt.ImmatureSignatureError: "the token is not valid yet",
    jwt.InvalidAudienceError: "the token is for another audience than access.jwt.audience",
    jwt.InvalidIssuerError: "the token is from another issuer than access.jwt.issuer",
    jwt.InvalidSignatureError: "the token is signed with another key",
    jwt.InvalidAlgorithmError: "the token is signed with an algorithm that access.jwt.algorithms does not list",
    jwt.InvalidKeyError: "the token names no usable key",
    jwt.DecodeError: "the token is malformed",
}

LEEWAY = 30  # seconds that the clocks of the token's issuer and of this machine may differ by
MOST_TOKENS: Final = 10_000  # remembered; 540 bytes each, and their groups
MOST_GROUPS_IN_ALL: Final = 100_000  # of the remembered tokens; 110 bytes each, 350 with the longest name


class Tokens:
    """Verifies users' tokens (JWT), and remembers valid ones: verifying doubles the time to answer with a cached image.

    Tokens are remembered by a hash with a key of this object, so that memory holds no token and the time of a look-up
    says nothing about another token. Each is remembered until it ends, and none when the keys change.

    keys: the key set that verifies tokens. None: the key of the settings verifies every token, whichever key it names.
    most, most_groups: how many tokens are remembered, and how many groups they may have together.
    """

    def __init__(
        self,
        settings: JwtSettings,
        keys: "Jwks | None" = None,
        most: int = MOST_TOKENS,
        most_groups: int = MOST_GROUPS_IN_ALL,
    ) -> None:
        self._settings = settings
        self._most = most
        self._most_groups = most_groups
        self._groups_in_all = 0
        self._keys = keys
        self._key: Any = None
        if settings.secret is not None:
            self._key = settings.secret.get_secret_value()
        elif settings.public_key is not None:
            self._key = load_pem_public_key(settings.public_key.encode())
        self._hash_key = os.urandom(32)
        self._verified: OrderedDict[bytes, Caller] = OrderedDict()
        self._generation = 0

    def verify(self, token: str, now: float | None = None) -> Caller:
        """Return the user of ``token``. ``now``: Unix seconds, None for now. Raises ``BadCredentials``."""
        verified, keys = self._verified, self._keys
        if keys is not None and self._generation != keys.generation:
            self._generation = keys.generation
            verified.clear()
            self._groups_in_all = 0
        digest = blake2b(token.encode(errors="surrogatepass"), key=self._hash_key, digest_size=16).digest()
        caller = verified.get(digest)
        if caller is None:
            caller = verified[digest] = self._decoded(token)
            self._groups_in_all += len(caller.groups)
            while len(verified) > self._most or self._groups_in_all > self._most_groups:
                self._groups_in_all -= len(verified.popitem(last=False)[1].groups)
        else:
            verified.move_to_end(digest)
        if (caller.known_until or 0) + LEEWAY <= (time.time() if now is None else now):
            self._groups_in_all -= len(verified.pop(digest).groups)
            raise BadCredentials("the token has expired")
        return caller

    def _decoded(self, token: str) -> Caller:
        settings = self._settings
        try:
            claims = jwt.decode(
                token,
                self._key if self._keys is None else self._keys.key_for(token),
                algorithms=list(settings.algorithms),
                audience=settings.audience,
                issuer=settings.issuer,
                leeway=LEEWAY,
                options={
                    "require": ["exp"],
                    "verify_aud": settings.audience is not None,
                    # PyJWT refuses a number as "sub", but applications number their users; the claim is checked below.
                    "verify_sub": False,
                    "enforce_minimum_key_length": True,
                },
            )
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError) as error:
            # PyJWT does not catch the exceptions of invalid UTF-8 and of claims of unexpected types.
            raise BadCredentials(_reason(error)) from error
        user = claims.get(settings.user_claim)
        if isinstance(user, int) and not isinstance(user, bool):
            user = str(user)
        if not isinstance(user, str) or not user:
            raise BadCredentials("the token names no user")
        groups = self._groups(claims)
        return Caller(user, known_until=int(claims["exp"]), groups=groups)  # without the leeway

    def _groups(self, claims: Mapping[str, Any]) -> frozenset[str]:
        """Return the groups in a claim that is a string or a list of strings. A token without it is of no group."""
        if self._settings.groups_claim is None:
            return frozenset()
        named = claims.get(self._settings.groups_claim)
        groups = [] if named is None else named if isinstance(named, list) else [named]
        if len(groups) > MOST_GROUPS or not all(isinstance(name, str) and is_name(name) for name in groups):
            raise BadCredentials(f"the token's groups are no strings, or more than {MOST_GROUPS}")
        return frozenset(groups) - {""}


def _reason(error: Exception) -> str:
    """Return why PyJWT refused a token, without a part of the token."""
    if isinstance(error, jwt.MissingRequiredClaimError):
        return f"the token has no {error.claim}"
    return next((_REASONS[kind] for kind in type(error).__mro__ if kind in _REASONS), type(error).__name__)
