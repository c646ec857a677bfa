"""Parse and classify IP addresses."""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

IpAddress = IPv4Address | IPv6Address
IpNetwork = IPv4Network | IPv6Network


def parse_ip(text: str) -> IpAddress | None:
    """Return ``text`` as an address, or None if it is not an address. An IPv4-mapped IPv6 address becomes IPv4."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    # A socket that listens on IPv6 reports an IPv4 peer in this form (RFC 4291 section 2.5.5.2).
    return getattr(address, "ipv4_mapped", None) or address


def is_among(address: IpAddress, networks: Iterable[IpNetwork]) -> bool:
    return any(address in network for network in networks)


def subscriber_of(address: IpAddress) -> str:
    """Return the network that a client is likely to have: an IPv4 address, or a /64 of IPv6 (RFC 6177 section 2)."""
    return str(address) if address.version == 4 else str(IPv6Network((address.packed, 64), strict=False))


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach ``host``: a loopback address or ``localhost``, but no other name."""
    address = parse_ip(host)
    return host == "localhost" or (address is not None and address.is_loopback)
