"""The host of COS that serves a bucket, as by ``CosConfig.uri`` of ``qcloud_cos``, whose imports would take 10 MiB."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from gateway.settings import CosSettings

# Region names older than COS's version 4, which are used unchanged as the first label.
_OWN_LABEL: Final = frozenset({"cn-north", "cn-south", "cn-east", "cn-south-2", "cn-southwest", "sg"})
# Region names of COS's version 4, and the names that replaced them.
_RENAMED: Final = {
    "cossh": "ap-shanghai", "cosgz": "ap-guangzhou", "cosbj": "ap-beijing", "costj": "ap-beijing-1",
    "coscd": "ap-chengdu", "cossgp": "ap-singapore", "coshk": "ap-hongkong", "cosca": "na-toronto",
    "cosger": "eu-frankfurt",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Origin:
    """The host of COS that serves a bucket.

    base: scheme and host with its port, no slash at the end.
    host: what gets signed, without a port.
    """

    base: str
    host: str


class Hosts:
    """Finds the host of COS for a bucket and region, computed once for each."""

    def __init__(self, settings: CosSettings) -> None:
        self._settings = settings
        self.origin_of = lru_cache(maxsize=1024)(self._origin_of)

    @property
    def named(self) -> str:
        """The settings by which the host of a bucket is another one than COS's own, as text."""
        settings = self._settings
        own = [(name, own.domain, own.scheme) for name, own in settings.buckets.items() if own.domain or own.scheme]
        return repr((settings.bucket, settings.domain, settings.scheme, sorted(own)))

    def _origin_of(self, bucket: str, region: str) -> Origin:
        """Return the configured domain for the bucket it belongs to, and COS's own host for any other."""
        settings, own = self._settings, self._settings.buckets.get(bucket)
        domain, scheme = settings.domain, settings.scheme
        if domain is not None and bucket != settings.bucket and "{bucket}" not in domain:
            domain = None  # a custom domain is bound to one bucket
        if own is not None:
            domain, scheme = own.domain or domain, own.scheme or scheme
        address = domain.replace("{bucket}", bucket) if domain is not None else f"{bucket}.{_endpoint(region)}"
        return Origin(f"{scheme}://{address}", address.partition(":")[0].lower())


def _endpoint(region: str) -> str:
    """Return COS's host of a region, without the bucket."""
    label = region if region in _OWN_LABEL else f"cos.{_RENAMED.get(region, region)}"
    return f"{label}.myqcloud.com"
