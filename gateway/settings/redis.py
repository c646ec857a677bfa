"""Redis, and its URL: a client can be opened with every valid URL. No error message quotes the URL."""

import re
from typing import Annotated, Final
from urllib.parse import SplitResult, parse_qsl, urlsplit

from pydantic import AfterValidator, Field, SecretStr

from gateway.settings.base import Reloaded, Restarted, Section, Timeout, Token, has_bytes, matches, require

_SHARDS_OF_A_CLUSTER: Final = 64
_HOST_SCHEMES: Final = ("redis", "rediss", "redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster")
_SCHEMES: Final = f"{', '.join(f'{scheme}://' for scheme in _HOST_SCHEMES)} or unix://"
# Each of these characters, if unencoded, ends the password too early, and the rest is read as a port or a path.
_ENCODE: Final = "; within a password or a name write / ? # @ as %2F %3F %23 %40"
_END_OF_HOSTS: Final = re.compile(r"[/?#]")  # what follows the hosts (RFC 3986 section 3.2)
_BOOLEAN: Final = "true|false|yes|no|1|0"
_NUMBER: Final = "[0-9]{1,6}"
_LOGIN: Final = {"db": _NUMBER, "username": ".+", "password": ".+", "health_check_interval": _NUMBER}
_TLS_FILES: Final = {"ssl_ca_certs": ".+", "ssl_certfile": ".+", "ssl_keyfile": ".+"}
_TLS: Final = {**_TLS_FILES, "ssl_cert_reqs": "none|optional|required", "ssl_check_hostname": _BOOLEAN}


def _split(url: str) -> SplitResult:
    """Split like ``urlsplit``, and also split a list of hosts with IPv6 addresses. Raises ``ValueError``."""
    before, separator, rest = url.partition("://")
    hosts = _END_OF_HOSTS.split(rest, maxsplit=1)[0]
    if not separator or "," not in hosts:
        return urlsplit(url)
    return urlsplit(f"{before}{separator}{rest.removeprefix(hosts)}")._replace(netloc=hosts)


def _check_url(secret: SecretStr) -> SecretStr:
    """Refuse a URL that opens no client."""
    url = secret.get_secret_value()
    try:
        parts = _split(url)
    except ValueError:
        raise ValueError(f"is not a URL{_ENCODE}") from None
    if "://" not in url or parts.scheme not in (*_HOST_SCHEMES, "unix"):
        raise ValueError(f"must begin with {_SCHEMES}")
    if parts.fragment:
        raise ValueError(f"contains a #{_ENCODE}")
    _check_location(parts)
    _check_parameters(parts)
    return secret


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


ShardCount = Annotated[
    int, Field(ge=1, le=1024), require(lambda count: not count & (count - 1), "must be a power of two")
]
KeyPrefix = Annotated[str, matches(r"[^\s\x00-\x1f\x7f]+", "text without spaces and control characters")]
EntryKey = Annotated[Token, require(has_bytes(32), "must be at least 32 bytes")]
RedisUrl = Annotated[SecretStr, AfterValidator(_check_url)]


class RedisSettings(Section):
    """The server of Redis, with the shared cache of presigned URLs and the queues."""

    url: Restarted[RedisUrl] = SecretStr("redis://localhost:6379/0")
    prefix: Restarted[KeyPrefix] = Field("image:", min_length=1, max_length=64)
    timeout: Restarted[Timeout] = 0.5
    shards: Restarted[ShardCount | None] = None
    entry_key: Reloaded[EntryKey | None] = None  # the secret of the MAC of cached entries
    entry_key_previous: Reloaded[EntryKey | None] = (
        None  # entries with it are accepted, too, while ``entry_key`` changes
    )

    def _check(self) -> None:
        if self.entry_key is None and self.entry_key_previous is not None:
            raise ValueError("entry_key_previous is set without entry_key")
        if self.shards == 1 and self.names_a_cluster:
            raise ValueError("shards is 1: a Cluster needs at least 2, because a script names keys of one slot")
        if self.shard_count > 1 and "{" in self.prefix:
            raise ValueError("prefix contains {: it would put all shards into one slot of a Cluster")

    @property
    def shard_count(self) -> int:
        """Return the number of shards: ``shards``, or by default 64 for a Cluster and 1 for all others."""
        return self.shards or (_SHARDS_OF_A_CLUSTER if self.names_a_cluster else 1)

    @property
    def names_a_cluster(self) -> bool:
        """Return whether the URL names nodes of a Cluster."""
        return self.parts().scheme.endswith("+cluster")

    def parts(self) -> SplitResult:
        """Return the parts of the URL. ``netloc`` may name several hosts."""
        return _split(self.url.get_secret_value())

    def server(self) -> tuple[str | None, int | None]:
        """Return host and port, or None if the URL names no server or several servers."""
        parts = self.parts()
        if "," in parts.netloc or parts.scheme == "unix":
            return None, None
        return parts.hostname, parts.port
