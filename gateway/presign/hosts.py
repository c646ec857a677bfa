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
        settings = self._settings
        domain = settings.domain
        if domain is not None and "{bucket}" in domain:
            domain = domain.replace("{bucket}", bucket)
        elif domain is not None and bucket != settings.bucket:
            domain = None  # a custom domain is bound to one bucket
        config = CosConfig(
            Region=region,
            SecretId=_UNUSED,
            SecretKey=_UNUSED,
            Scheme=settings.scheme,
            Domain=domain,
        )
        base = str(config.uri(bucket=bucket)).removesuffix("/")
        host = base.partition("://")[2].partition(":")[0].lower()
        return Origin(base, host)
