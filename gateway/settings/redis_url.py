"""Where Redis is, as a URL: whatever passes here opens a client, and a mistake is told without a word of the URL."""

import re
from urllib.parse import SplitResult, parse_qsl, urlsplit

_HOSTS = ("redis", "rediss", "redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster")
_KNOWN = f"{', '.join(f'{scheme}://' for scheme in _HOSTS)} or unix://"

# A password with one of them in the clear ends where it should not, and the rest is taken for a port or a path.
_CLEAR = "; within a password or a name write / ? # @ as %2F %3F %23 %40"

_PLACE = re.compile(r"[/?#]")  # what ends the hosts (RFC 3986 section 3.2)
_TRUTH = "true|false|yes|no|1|0"
_NUMBER = "[0-9]{1,6}"
_LOGIN = {"db": _NUMBER, "username": ".+", "password": ".+", "health_check_interval": _NUMBER}
_TLS_FILES = {"ssl_ca_certs": ".+", "ssl_certfile": ".+", "ssl_keyfile": ".+"}
_TLS = {**_TLS_FILES, "ssl_cert_reqs": "none|optional|required", "ssl_check_hostname": _TRUTH}


def split_redis_url(url: str) -> SplitResult:
    """As ``urlsplit``, which takes no list of hosts where one of them is an IPv6 address; raises ``ValueError``."""
    before, separator, rest = url.partition("://")
    place = _PLACE.split(rest, maxsplit=1)[0]
    if not separator or "," not in place:
        return urlsplit(url)
    return urlsplit(f"{before}{separator}{rest.removeprefix(place)}")._replace(netloc=place)


def check_redis_url(url: str) -> str:
    """Return ``url`` if a client can be made of it, else raise ``ValueError``."""
    try:
        parts = split_redis_url(url)
    except ValueError:
        raise ValueError(f"is not a URL{_CLEAR}") from None
    if "://" not in url or parts.scheme not in (*_HOSTS, "unix"):
        raise ValueError(f"must begin with {_KNOWN}")
    if parts.fragment:
        raise ValueError(f"has a # in it{_CLEAR}")
    _check_place(parts)
    _check_parameters(parts)
    return url


def _check_place(parts: SplitResult) -> None:
    hosts, path = parts.netloc.rpartition("@")[2], parts.path.strip("/")
    if parts.scheme == "unix":
        if hosts or not path:
            raise ValueError(f"must be unix:///the/path/of/the/socket{_CLEAR}")
        return
    kind = parts.scheme.partition("+")[2]
    for one in hosts.split(",") if kind else [hosts]:
        _check_host(one, is_needed=bool(kind))
    if kind == "sentinel" and not re.fullmatch(rf"[^/]+(/{_NUMBER})?", path):
        raise ValueError(f"must have the name of the master, and perhaps a database, after the hosts: /name/0{_CLEAR}")
    if kind == "cluster" and path not in ("", "0"):
        raise ValueError(f"must have nothing after the hosts: a Cluster has one database{_CLEAR}")
    if not kind and path and not re.fullmatch(_NUMBER, path):
        raise ValueError(f"must have nothing but the number of a database after the host{_CLEAR}")


def _check_host(host: str, *, is_needed: bool) -> None:
    try:
        parts = urlsplit(f"//{host}")
        port = parts.port
    except ValueError:
        raise ValueError(f"has a port that is no number from 1 to 65535{_CLEAR}") from None
    if port == 0:
        raise ValueError("has a port that is no number from 1 to 65535")
    if is_needed and not parts.hostname:
        raise ValueError(f"must name its hosts as host:port,host:port{_CLEAR}")


def _check_parameters(parts: SplitResult) -> None:
    """Others are the gateway's to set, or redis-py does not know them and fails with each connection."""
    kind = parts.scheme.partition("+")[2]
    is_tls = parts.scheme.startswith("rediss")
    known = {"": _LOGIN, "sentinel": {"sentinel_password": ".+"}, "cluster": {}}[kind]
    if is_tls:
        known = known | (_TLS_FILES if kind else _TLS)
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        if name not in known:
            those = f"those of {parts.scheme}:// are {', '.join(known)}" if known else f"{parts.scheme}:// has none"
            raise ValueError(f"has a parameter that is not known: {those}{_CLEAR}")
        if not re.fullmatch(known[name], value):
            raise ValueError(f"has a parameter {name} whose value is not of its kind")
