"""The client's address behind proxies, for the log and for limits: it is no proof of identity."""

from collections.abc import Mapping, Sequence
from functools import lru_cache, partial

from gateway.access.request_head import values_of
from gateway.net.ip_address import IpAddress, IpNetwork, is_among, parse_ip, subscriber_of
from gateway.settings import Live, ServerSettings


class ClientAddress:
    """Finds a client's address: reads ``X-Forwarded-For`` as far as trusted proxies wrote it.

    Each proxy appends the address of its peer. So the list is read from its right end while the writer is a trusted
    proxy. Addresses further left may be forged.
    """

    def __init__(self, settings: Live[ServerSettings]) -> None:
        self._settings = settings
        self._peer = settings.map(lambda server: lru_cache(maxsize=4096)(partial(_parse_peer, server.trusted_proxies)))

    def of(self, headers: Mapping[str, str], peer: str | None) -> str | None:
        """Return the client's address, or None for a Unix socket, whose ``peer`` (the socket's other end) is None."""
        client, text, is_trusted = self._peer.value(peer)
        if client is None or not is_trusted:
            return text
        hops = ",".join(values_of(headers, "X-Forwarded-For")).split(",")
        while hops and is_among(client, self._settings.value.trusted_proxies):
            address = _address_in(hops.pop().strip())
            if address is None:
                break
            client = address
        return str(client)

    def subscriber_of(self, headers: Mapping[str, str], peer: str | None) -> str:
        """Return the clients that share a limit: an IPv4 address or a /64 of IPv6. "" without an address."""
        address = parse_ip(self.of(headers, peer) or "")
        return subscriber_of(address) if address is not None else ""


def _parse_peer(trusted: Sequence[IpNetwork], peer: str | None) -> tuple[IpAddress | None, str | None, bool]:
    """Return the address of a peer, its text, and whether it is among the ``trusted`` proxies."""
    address = parse_ip(peer or "")
    if address is None:
        return None, None, False
    return address, str(address), is_among(address, trusted)


def _address_in(hop: str) -> IpAddress | None:
    """Return the address in an element of the list. Some proxies add a port to it.

    None for a name, ``unknown`` and the like. None for an IPv6 zone (``%``), too: it may be any text and has no meaning
    on another machine.
    """
    if hop.startswith("["):
        hop = hop[1:].partition("]")[0]
    elif hop.count(":") == 1:
        hop = hop.partition(":")[0]
    return parse_ip(hop) if "%" not in hop else None
