"""Where a request came from, as far as it can be told: for the log, and no proof of anything."""

from collections.abc import Mapping, Sequence

from gateway.access.fields import values_of
from gateway.ip_address import IpAddress, IpNetwork, is_among, parse_ip


class ClientAddress:
    """Looks through the proxies in front.

    Each of them adds to ``X-Forwarded-For``, at its right end, whom it got the request from. So the list is read from
    there for as long as it was a trusted proxy that wrote; the rest is the word of whoever came to the first of them.
    """

    def __init__(self, trusted_proxies: Sequence[IpNetwork]) -> None:
        self._trusted = trusted_proxies

    def of(self, headers: Mapping[str, str], peer: str | None) -> str | None:
        """The client's address; ``peer`` is the other end of the socket, and None where that has no address."""
        client = parse_ip(peer or "")
        if client is None:
            return None
        hops = ",".join(values_of(headers, "X-Forwarded-For")).split(",")
        while hops and is_among(client, self._trusted):
            named = _named_by(hops.pop().strip())
            if named is None:
                break
            client = named
        return str(client)


def _named_by(hop: str) -> IpAddress | None:
    """The address in one element, some proxies add a port; None for a name, ``unknown`` and the like.

    What follows a ``%`` in an IPv6 address may be any text, and means nothing on another machine.
    """
    if hop.startswith("["):
        hop = hop[1:].partition("]")[0]
    elif hop.count(":") == 1:
        hop = hop.partition(":")[0]
    return parse_ip(hop) if "%" not in hop else None
