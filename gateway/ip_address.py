"""What an IP address tells."""

from ipaddress import ip_address


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach ``host``, an address or a name; an unknown name may be anywhere."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
