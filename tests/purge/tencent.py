"""The emulated services that purge, and the targets that call them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from gateway.errors import NoCredentials
from gateway.net.bounded_http import BoundedHttp
from gateway.net.tencent_api import TencentApi
from gateway.presign.credentials import Credentials
from gateway.presign.credentials.rotation import BucketCredentials
from gateway.presign.style_variants import Renditions
from gateway.purge.target import Addresses
from gateway.purge.tencent import EdgeOne, TencentCdn
from gateway.settings import Live
from gateway_dev.cos_emulator.access import Credential
from gateway_dev.cos_emulator.purge_services import PurgeLimits, PurgeServices

HOST = "img.example.com"
BASE = f"https://{HOST}"
SECRET_ID, SECRET_KEY = "AKIDexample", "key-of-the-account"


class Keys(BucketCredentials):
    """Credentials that a test may change, and the ids of keys that were refused."""

    def __init__(self, key: Credentials | None = None) -> None:
        self.key: Credentials | None = key or Credentials(SECRET_ID, SECRET_KEY)
        self.refusals: list[str] = []

    def of(self, bucket: str) -> Credentials:
        """Return the key."""
        assert bucket == "purge"
        if self.key is None:
            raise NoCredentials("there are no credentials from the source file: it is empty")
        return self.key

    def refused(self, bucket: str, key: str) -> None:
        """Record the id."""
        assert bucket == "purge"
        self.refusals.append(key)


@dataclass
class Cloud:
    """The services, and a client of theirs."""

    services: PurgeServices
    http: BoundedHttp
    keys: Keys = field(default_factory=Keys)

    def cdn(self, renditions: Live[Renditions] | None = None, most_targets: int = 1000) -> TencentCdn:
        """Return Tencent CDN as a target."""
        api = TencentApi(self.http, self.services.url, service=TencentCdn.SERVICE, version=TencentCdn.VERSION)
        addresses = Addresses((BASE,), renditions or Live(Renditions({})))
        return TencentCdn(api, self.keys, "purge", addresses, most_targets=most_targets)

    def edgeone(self, *, by_tag: bool = False, url: str | None = None) -> EdgeOne:
        """Return EdgeOne as a target, at ``url`` if another service answers for it."""
        api = TencentApi(self.http, url or self.services.url, service=EdgeOne.SERVICE, version=EdgeOne.VERSION)
        addresses = None if by_tag else Addresses((BASE,), Live(Renditions({})))
        return EdgeOne(api, self.keys, "purge", addresses, self.services.zone)


@asynccontextmanager
async def cloud_of(
    limits: PurgeLimits = PurgeLimits(),  # noqa: B008 - it is frozen
    *,
    timeout: float = 5.0,
) -> AsyncIterator[Cloud]:
    """Run the services with these limits, and a client that waits ``timeout`` seconds for them."""
    services = PurgeServices({SECRET_ID: Credential(SECRET_KEY)}, frozenset({HOST}), limits=limits)
    async with services, BoundedHttp(timeout, 1024 * 1024) as http:
        yield Cloud(services, http)
