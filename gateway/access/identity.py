"""Authentication: the caller of a request."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from gateway.access.caller import ANONYMOUS, BadCredentials, Caller, KeysUnknown
from gateway.access.request_head import RequestHead, bearer_token, cookies_of, values_of
from gateway.access.signed_links import BadLink, LinkParameters, SignedLinks
from gateway.net.ip_address import is_among, parse_ip
from gateway.settings import AccessSettings, ForwardedUserSettings, Live

if TYPE_CHECKING:
    from gateway.access.jwks import Jwks
    from gateway.access.tokens import Tokens

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_READ_METHODS = frozenset({"GET", "HEAD"})
_LONGEST_USER = 256  # characters, of a user that a proxy names


class Authenticator:
    """Finds out who sent a request (a ``Caller``), by its first credential in this order, whether valid or not.

    ``Authorization: Bearer`` with a JSON Web Token, the same token in a cookie, a header of a trusted proxy.
    Kinds that are not configured are ignored. Browsers attach the cookie to requests of other sites' pages, too, and a
    proxy adds its header to such requests. So both are ignored if such a request would change something (CSRF).

    keys: returns the key set that verifies tokens. None: the configured key verifies them.
    links: None if signed links are not configured.
    tokens: verifies tokens. None if they are not configured.
    """

    def __init__(
        self,
        settings: Live[AccessSettings],
        keys: "Callable[[], Jwks | None]" = lambda: None,
        links: SignedLinks | None = None,
    ) -> None:
        self.links = links
        self._accept(settings.value, keys())
        settings.watch(lambda _, new: self._accept(new, keys()))

    def _accept(self, settings: AccessSettings, keys: "Jwks | None") -> None:
        self.tokens: Tokens | None = None
        self._cookie: str | None = None
        if settings.jwt is not None:
            # Imported here: the libraries that verify tokens take 9 MiB, and most gateways verify none.
            from gateway.access import tokens

            self.tokens = tokens.Tokens(settings.jwt, keys)
            self._cookie = settings.jwt.cookie
        self._forwarded = forwarded = settings.forwarded_user
        self.varies_by = _vary_fields(self._cookie, forwarded)
        # A proxy may know the user by a cookie.
        self.denials_vary = _vary_fields(self._cookie if forwarded is None else "any", forwarded)

    def caller_of(self, head: RequestHead, given: LinkParameters | None, now: float) -> Caller:
        """Return the caller by the request's credentials and, for GET and HEAD, its signed link. Never raises.

        given: the parameters of a link in the query of ``head``.
        now: Unix seconds.
        """
        caller = self.identify(head.headers, peer=head.peer, method=head.method, now=now)
        if given is None or self.links is None or head.method not in _READ_METHODS:
            return caller
        try:
            link = self.links.link(head.path, given, now)
        except BadLink as error:
            return replace(caller, rejected=True, reason=str(error))
        ends = link.expires_at if caller.known_until is None else min(caller.known_until, link.expires_at)
        return replace(caller, link=link, known_until=ends)

    def identify(
        self, headers: Mapping[str, str], *, peer: str | None = None, method: str = "GET", now: float | None = None
    ) -> Caller:
        """Return the caller, without a link. Never raises. ``peer`` is the address at the other end of the socket."""
        is_forwarded = False
        try:
            token = _token_in_header(headers) if self.tokens is not None else None
            if token is None:
                # A page of another site made the request, by W3C Fetch Metadata, which every browser now sends.
                if method not in _SAFE_METHODS and headers.get("Sec-Fetch-Site") == "cross-site":
                    return ANONYMOUS
                token = _token_in_cookie(headers, self._cookie) if self._cookie is not None else None
            if token is not None and self.tokens is not None:
                return self.tokens.verify(token, now)
            if self._forwarded is None:
                return ANONYMOUS
            is_forwarded = True
            return Caller(_forwarded_user(self._forwarded, headers, peer), is_forwarded=True)
        except BadCredentials as error:
            is_unjudged = isinstance(error, KeysUnknown)
            return Caller(rejected=True, reason=str(error), is_forwarded=is_forwarded, is_unjudged=is_unjudged)


def _token_in_header(headers: Mapping[str, str]) -> str | None:
    values = values_of(headers, "Authorization")
    if len(values) > 1:  # RFC 9110 section 5.3: the field is not a list, so repetitions are ambiguous
        raise BadCredentials("the Authorization field was sent twice")
    # Other schemes may be for a proxy, such as Basic.
    return bearer_token(values[0]) if values else None


def _token_in_cookie(headers: Mapping[str, str], name: str) -> str | None:
    tokens = set(cookies_of(headers, name)) - {""}
    # A site on a sibling domain can set a second cookie of the same name, so several values are ambiguous.
    if len(tokens) > 1:
        raise BadCredentials("the cookie was sent with several values")
    return tokens.pop() if tokens else None


def _forwarded_user(settings: ForwardedUserSettings, headers: Mapping[str, str], peer: str | None) -> str | None:
    """Return the id of the user that a trusted proxy names, or None without the header or from an untrusted peer.

    The peer is the other end of the socket, because any client can send an ``X-Forwarded-For``. Raises
    ``BadCredentials`` if the header was sent twice, or has a value that is no user id.
    """
    values = values_of(headers, settings.header)
    if not values:
        return None
    address = parse_ip(peer or "")  # a Unix socket has no address
    if address is None or not is_among(address, settings.trusted_proxies):
        return None
    if len(values) > 1:
        raise BadCredentials(f"{settings.header}: the header was sent twice")
    user = values[0].strip()
    if len(user) > _LONGEST_USER or (user and not user.isprintable()):
        raise BadCredentials(f"{settings.header}: the header names no user")
    return user or None


def _vary_fields(cookie: str | None, forwarded_user: ForwardedUserSettings | None) -> str:
    """Return the request headers that identify callers, as a Vary field (RFC 9110 section 12.5.5)."""
    forwarded = forwarded_user.header if forwarded_user is not None else None
    return ", ".join(filter(None, ("Authorization", "Cookie" if cookie is not None else None, forwarded)))
