"""The user that an authenticating proxy names in a header."""

from collections.abc import Mapping

from gateway.access.fields import values_of
from gateway.net.ip_address import is_among, parse_ip
from gateway.settings import ForwardedUserSettings

_MAX_LENGTH = 256


class BadForwardedUser(Exception):
    """A trusted proxy sent the header twice, or with a value that is no user id."""


class ForwardedUser:
    """Reads the header of peers in the trusted networks only.

    The peer is the other end of the socket, because any client can send an ``X-Forwarded-For``.
    """

    def __init__(self, settings: ForwardedUserSettings) -> None:
        self.header = settings.header
        self._trusted = settings.trusted_proxies

    def user_of(self, headers: Mapping[str, str], peer: str | None) -> str | None:
        """Return the user's id, or None without the header or from an untrusted peer. Raises ``BadForwardedUser``."""
        values = values_of(headers, self.header)
        if not values:
            return None
        address = parse_ip(peer or "")  # a Unix socket has no address
        if address is None or not is_among(address, self._trusted):
            return None
        if len(values) > 1:
            raise BadForwardedUser("the header was sent twice")
        user = values[0].strip()
        if len(user) > _MAX_LENGTH or (user and not user.isprintable()):
            raise BadForwardedUser("the header names no user")
        return user or None
