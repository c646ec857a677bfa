"""Who asks."""

import hmac
import logging
from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import SecretStr

from gateway.access.fields import cookies_of, values_of
from gateway.access.forwarded import BadForwardedUser, ForwardedUser
from gateway.access.signed_links import SignedLink
from gateway.access.tokens import BadToken, ConfiguredKey, TokenKeys, Tokens
from gateway.errors import Unauthorized
from gateway.settings import ForwardedUserSettings, JwtSettings

logger = logging.getLogger(__name__)

_READING = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(frozen=True, slots=True)
class Caller:
    """Whoever sent a request.

    ``user`` is None for somebody unknown. ``link`` is a signed link that he came by; what it opens depends on the
    image. ``rejected`` says that credentials were shown and are not valid: that is no reason to refuse what everybody
    may have.
    """

    user: str | None = None
    is_admin: bool = False
    rejected: bool = False
    link: SignedLink | None = None

    def require_valid(self) -> None:
        """Raise ``Unauthorized`` if bad credentials were shown."""
        if self.rejected:
            raise Unauthorized


ANYBODY = Caller()
REJECTED = Caller(rejected=True)


class Authenticator:
    """Tells callers by what they show, in this order; the first thing shown counts, good or bad.

    ``Authorization: Bearer`` with a JSON Web Token or the admin token; the same JSON Web Token in a cookie; a header
    of a trusted proxy. What is not configured is not looked at. A browser sends the last two by itself: they do not
    count in a request to change something that a page of another site made it send.
    """

    def __init__(
        self,
        jwt_settings: JwtSettings | None,
        admin_token: SecretStr | None,
        *,
        forwarded_user: ForwardedUserSettings | None = None,
        keys: TokenKeys | None = None,
    ) -> None:
        self._tokens: Tokens | None = None
        self._cookie: str | None = None
        if jwt_settings is not None:
            self._tokens = Tokens(jwt_settings, keys if keys is not None else ConfiguredKey(jwt_settings))
            self._cookie = jwt_settings.cookie
        self._admin_token = admin_token.get_secret_value().encode() if admin_token is not None else None
        self._forwarded = ForwardedUser(forwarded_user) if forwarded_user is not None else None
        self.varies_by = _fields_looked_at(self._cookie, forwarded_user)

    @property
    def has_admin(self) -> bool:
        """Whether there is a token that makes its bearer the admin."""
        return self._admin_token is not None

    def identify(self, headers: Mapping[str, str], *, peer: str | None = None, method: str = "GET") -> Caller:
        """The caller; never raises. ``peer`` is the address at the other end of the socket."""
        if (bearer := self._bearer(headers)) is not None:
            return bearer
        if method not in _READING and _from_another_site(headers):
            return ANYBODY
        if (owner := self._cookie_owner(headers)) is not None:
            return owner
        return self._forwarded_user(headers, peer)

    def is_admin(self, headers: Mapping[str, str]) -> bool:
        """Whether the admin token was shown; compared in constant time."""
        shown = [_bearer_token(value) for value in values_of(headers, "Authorization")]
        return len(shown) == 1 and shown[0] is not None and self._is_admin_token(shown[0])

    def _bearer(self, headers: Mapping[str, str]) -> Caller | None:
        if self._tokens is None and self._admin_token is None:
            return None
        values = values_of(headers, "Authorization")
        if len(values) > 1:  # RFC 9110 section 5.3: it is no list, so which one is meant is anybody's guess
            return REJECTED
        # Another scheme is not for us: a proxy's Basic credentials, say.
        token = _bearer_token(values[0]) if values else None
        if token is None:
            return None
        return Caller(is_admin=True) if self._is_admin_token(token) else self._token_owner(token)

    def _is_admin_token(self, token: str) -> bool:
        if self._admin_token is None:
            return False
        return hmac.compare_digest(token.encode(errors="surrogateescape"), self._admin_token)

    def _cookie_owner(self, headers: Mapping[str, str]) -> Caller | None:
        shown = set(cookies_of(headers, self._cookie)) - {""} if self._cookie is not None else set()
        if not shown:
            return None
        # A neighbouring site can set a second cookie of the name: which one is the user's is not to be guessed.
        return self._token_owner(shown.pop()) if len(shown) == 1 else REJECTED

    def _token_owner(self, token: str) -> Caller:
        if self._tokens is None:
            return REJECTED
        try:
            return Caller(self._tokens.user_of(token))
        except BadToken as error:
            logger.debug("token rejected: %s", error)
            return REJECTED

    def _forwarded_user(self, headers: Mapping[str, str], peer: str | None) -> Caller:
        if self._forwarded is None:
            return ANYBODY
        try:
            return Caller(self._forwarded.user_of(headers, peer))
        except BadForwardedUser as error:
            logger.debug("forwarded user rejected: %s", error)
            return REJECTED


def _bearer_token(value: str) -> str | None:
    scheme, _, token = value.partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


def _from_another_site(headers: Mapping[str, str]) -> bool:
    """Whether a browser says so (W3C Fetch Metadata); every current one does."""
    return headers.get("Sec-Fetch-Site") == "cross-site"


def _fields_looked_at(cookie: str | None, forwarded_user: ForwardedUserSettings | None) -> str:
    """What answers to different callers differ by, as a Vary field (RFC 9110 section 12.5.5)."""
    fields = ["Authorization"]
    if cookie is not None:
        fields.append("Cookie")
    if forwarded_user is not None:
        fields.append(forwarded_user.header)
    return ", ".join(fields)
