"""Authentication: the caller of a request."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from gateway.access.caller import ANONYMOUS, MOST_GROUPS, BadCredentials, Caller, KeysUnknown, is_name
from gateway.access.request_head import RequestHead, bearer_token, cookies_of, values_of
from gateway.access.signed_links import BadLink, LinkParameters, SignedLinks
from gateway.net.ip_address import is_among, parse_ip
from gateway.settings import AccessSettings, ForwardedUserSettings, Live

if TYPE_CHECKING:
    from gateway.access.jwks import Jwks
    from gateway.access.tokens import Tokens

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_READ_METHODS = frozenset({"GET", "HEAD"})


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
        if caller is ANONYMOUS:  # as most are who have a link: ``replace`` takes three times as long
            return Caller(link=link, known_until=link.expires_at)
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
            if not _is_trusted(self._forwarded, peer):
                return Caller(is_forwarded=True)
            user = _forwarded_user(self._forwarded, headers)
            groups = _forwarded_groups(self._forwarded, headers) if user is not None else frozenset()
            return Caller(user, is_forwarded=True, groups=groups)
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


def _is_trusted(settings: ForwardedUserSettings, peer: str | None) -> bool:
    """Return whether the peer may name the user: the other end of the socket, for any client can send a field."""
    address = parse_ip(peer or "")  # a Unix socket has no address
    return address is not None and is_among(address, settings.trusted_proxies)


def _forwarded_user(settings: ForwardedUserSettings, headers: Mapping[str, str]) -> str | None:
    """Return the id of the user that a proxy names, or None without the header.

    Raises ``BadCredentials`` if the header was sent twice, or has a value that is no user id.
    """
    user = _only_value(headers, settings.header).strip()
    if not is_name(user):
        raise BadCredentials(f"{settings.header}: the header names no user")
    return user or None


def _forwarded_groups(settings: ForwardedUserSettings, headers: Mapping[str, str]) -> frozenset[str]:
    """Return the groups that a proxy names. Raises ``BadCredentials`` as ``_forwarded_user`` does."""
    if settings.groups_header is None:
        return frozenset()
    named = [name.strip() for name in _only_value(headers, settings.groups_header).split(",")]
    if len(named) > MOST_GROUPS or not all(map(is_name, named)):
        raise BadCredentials(f"{settings.groups_header}: the header names no groups, or more than {MOST_GROUPS}")
    return frozenset(named) - {""}


def _only_value(headers: Mapping[str, str], name: str) -> str:
    """Return the value of a header, "" without it. Raises ``BadCredentials`` if it was sent twice."""
    values = values_of(headers, name)
    if len(values) > 1:
        raise BadCredentials(f"{name}: the header was sent twice")
    return values[0] if values else ""


def _vary_fields(cookie: str | None, forwarded_user: ForwardedUserSettings | None) -> str:
    """Return the request headers that identify callers, as a Vary field (RFC 9110 section 12.5.5)."""
    forwarded = (forwarded_user.header, forwarded_user.groups_header) if forwarded_user is not None else ()
    return ", ".join(filter(None, ("Authorization", "Cookie" if cookie is not None else None, *forwarded)))
