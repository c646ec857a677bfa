"""A user named by the proxy in front, which has authenticated him."""

from collections.abc import Mapping

from gateway.access.fields import values_of
from gateway.ip_address import is_among, parse_ip
from gateway.settings import ForwardedUserSettings

_LONGEST = 256


class BadForwardedUser(Exception):
    """A trusted proxy sent the header twice, or something in it that names nobody."""


class ForwardedUser:
    """Believes the header of peers in the trusted networks, and does not look at anybody else's.

    The peer is the other end of the socket. What ``X-Forwarded-For`` says of it is written by whoever writes it.
    """

    def __init__(self, settings: ForwardedUserSettings) -> None:
        self._header = settings.header
        self._trusted = settings.trusted_proxies

    def user_of(self, headers: Mapping[str, str], peer: str | None) -> str | None:
        """The user's id; None when nobody is named by somebody trusted. Raises ``BadForwardedUser``."""
        address = parse_ip(peer or "")  # a unix socket has none
        if address is None or not is_among(address, self._trusted):
            return None
        values = values_of(headers, self._header)
        if len(values) > 1:
            raise BadForwardedUser("the header was sent twice")
        user = values[0].strip() if values else ""
        if len(user) > _LONGEST or (user and not user.isprintable()):
            raise BadForwardedUser("the header names nobody")
        return user or None
