"""What an IP address tells."""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

IpAddress = IPv4Address | IPv6Address
IpNetwork = IPv4Network | IPv6Network


def parse_ip(text: str) -> IpAddress | None:
    """The address that ``text`` is, in its own family; None when it is none."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    # A socket that listens on IPv6 shows an IPv4 peer like this (RFC 4291 section 2.5.5.2).
    return getattr(address, "ipv4_mapped", None) or address


def is_among(address: IpAddress, networks: Iterable[IpNetwork]) -> bool:
    """Whether one of ``networks`` holds the address."""
    return any(address in network for network in networks)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach ``host``, an address or a name; an unknown name may be anywhere."""
    if host == "localhost":
        return True
    address = parse_ip(host)
    return address is not None and address.is_loopback
