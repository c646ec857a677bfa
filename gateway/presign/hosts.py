"""The host from which COS serves a bucket."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from qcloud_cos import CosConfig

from gateway.settings import CosSettings

_UNUSED: Final = "unused"  # the SDK asks for credentials, also to tell a host


@dataclass(frozen=True, slots=True)
class Origin:
    """``base`` is scheme and host with its port, no slash at the end; ``host`` is what gets signed, without a port."""

    base: str
    host: str


class Hosts:
    """Hosts by bucket and region, computed once for each."""

    def __init__(self, settings: CosSettings) -> None:
        self._settings = settings
        self.origin_of = lru_cache(maxsize=1024)(self._origin_of)

    def _origin_of(self, bucket: str, region: str) -> Origin:
        """Return the configured domain for the bucket it belongs to, and COS's own host for any other."""
        settings, own = self._settings, self._settings.buckets.get(bucket)
        domain, scheme = settings.domain, settings.scheme
        if domain is not None and bucket != settings.bucket and "{bucket}" not in domain:
            domain = None  # a custom domain is bound to one bucket
        if own is not None:
            domain, scheme = own.domain or domain, own.scheme or scheme
        config = CosConfig(
            Region=region,
            SecretId=_UNUSED,
            SecretKey=_UNUSED,
            Scheme=scheme,
            Domain=domain.replace("{bucket}", bucket) if domain is not None else None,
        )
        base = str(config.uri(bucket=bucket)).removesuffix("/")
        host = base.partition("://")[2].partition(":")[0].lower()
        return Origin(base, host)
