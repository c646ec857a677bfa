"""Validation of ``redis.url``: a client can be opened with every valid URL. No error message quotes the URL."""

import re
from urllib.parse import SplitResult, parse_qsl, urlsplit

_HOST_SCHEMES = ("redis", "rediss", "redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster")
_SCHEMES = f"{', '.join(f'{scheme}://' for scheme in _HOST_SCHEMES)} or unix://"

# Each of these characters, if unencoded, ends the password too early, and the rest is read as a port or a path.
_ENCODE = "; within a password or a name write / ? # @ as %2F %3F %23 %40"

_END_OF_HOSTS = re.compile(r"[/?#]")  # what follows the hosts (RFC 3986 section 3.2)
_BOOLEAN = "true|false|yes|no|1|0"
_NUMBER = "[0-9]{1,6}"
_LOGIN = {"db": _NUMBER, "username": ".+", "password": ".+", "health_check_interval": _NUMBER}
_TLS_FILES = {"ssl_ca_certs": ".+", "ssl_certfile": ".+", "ssl_keyfile": ".+"}
_TLS = {**_TLS_FILES, "ssl_cert_reqs": "none|optional|required", "ssl_check_hostname": _BOOLEAN}


def split_redis_url(url: str) -> SplitResult:
    """Split like ``urlsplit``, and also split a list of hosts with IPv6 addresses. Raises ``ValueError``."""
    before, separator, rest = url.partition("://")
    hosts = _END_OF_HOSTS.split(rest, maxsplit=1)[0]
    if not separator or "," not in hosts:
        return urlsplit(url)
    return urlsplit(f"{before}{separator}{rest.removeprefix(hosts)}")._replace(netloc=hosts)


def check_redis_url(url: str) -> str:
    """Return ``url`` if it opens a client, else raise ``ValueError``."""
    try:
        parts = split_redis_url(url)
    except ValueError:
        raise ValueError(f"is not a URL{_ENCODE}") from None
    if "://" not in url or parts.scheme not in (*_HOST_SCHEMES, "unix"):
        raise ValueError(f"must begin with {_SCHEMES}")
    if parts.fragment:
        raise ValueError(f"contains a #{_ENCODE}")
    _check_location(parts)
    _check_parameters(parts)
    return url


def _check_location(parts: SplitResult) -> None:
    hosts, path = parts.netloc.rpartition("@")[2], parts.path.strip("/")
    if parts.scheme == "unix":
        if hosts or not path:
            raise ValueError(f"must be unix:///the/path/of/the/socket{_ENCODE}")
        return
    kind = parts.scheme.partition("+")[2]
    for host in hosts.split(",") if kind else [hosts]:
        _check_host(host, is_required=bool(kind))
    if kind == "sentinel" and not re.fullmatch(rf"[^/]+(/{_NUMBER})?", path):
        raise ValueError(
            f"must have the name of the master after the hosts, optionally with a database: /name/0{_ENCODE}"
        )
    if kind == "cluster" and path not in ("", "0"):
        raise ValueError(f"must have nothing after the hosts: a Cluster has one database{_ENCODE}")
    if not kind and path and not re.fullmatch(_NUMBER, path):
        raise ValueError(f"must have only the number of a database after the host{_ENCODE}")


def _check_host(host: str, *, is_required: bool) -> None:
    try:
        parts = urlsplit(f"//{host}")
        port = parts.port
    except ValueError:
        raise ValueError(f"has a port that is not a number from 1 to 65535{_ENCODE}") from None
    if port == 0:
        raise ValueError("has a port that is not a number from 1 to 65535")
    if is_required and not parts.hostname:
        raise ValueError(f"must name its hosts as host:port,host:port{_ENCODE}")


def _check_parameters(parts: SplitResult) -> None:
    """Refuse parameters that the gateway sets itself, and parameters with which redis-py fails on every connection."""
    kind = parts.scheme.partition("+")[2]
    is_tls = parts.scheme.startswith("rediss")
    allowed = {"": _LOGIN, "sentinel": {"sentinel_password": ".+"}, "cluster": {}}[kind]
    if is_tls:
        allowed = allowed | (_TLS_FILES if kind else _TLS)
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        if name not in allowed:
            those = f"{parts.scheme}:// takes {', '.join(allowed)}" if allowed else f"{parts.scheme}:// takes none"
            raise ValueError(f"has an unknown parameter: {those}{_ENCODE}")
        if not re.fullmatch(allowed[name], value):
            raise ValueError(f"has an invalid value of the parameter {name}")
