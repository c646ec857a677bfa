"""Tencent CDN: ``PurgeUrlsCache`` names the addresses of images (document 228/33601)."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from gateway.purge.addresses import Addresses
from gateway.purge.tencent_service import TencentService

SERVICE: Final = "cdn"
VERSION: Final = "2018-06-06"


class TencentCdn:
    """Purges images by address. The account of the credentials must accelerate all domains of ``addresses``."""

    def __init__(self, service: TencentService, addresses: Addresses) -> None:
        self._service = service
        self._addresses = addresses

    @property
    def most(self) -> int:
        """How many images a request may name."""
        return max(1, self._service.most_targets // self._addresses.per_image)

    async def purge(self, image_ids: Sequence[str]) -> None:
        """Return once the service has accepted the purge. Raises ``TargetUnavailable`` or ``PurgeRefused``."""
        urls = [url for image_id in image_ids for url in self._addresses.of(image_id)]
        await self._service.purge("PurgeUrlsCache", {"Urls": urls}, images=len(image_ids), targets=len(urls))

    async def examine(self) -> str:
        """Return the rest of the day's limit of addresses, as text. Raises ``TargetUnavailable``."""
        answer = await self._service.ask("DescribePurgeQuota", {})
        quotas = answer.get("UrlPurge")
        found = [quota for quota in quotas if isinstance(quota, Mapping)] if isinstance(quotas, list) else []
        parts = [
            f"{_number(quota, 'Available')} of {_number(quota, 'Total')} ({quota.get('Area', 'all')})"
            for quota in found
        ]
        return f"addresses left today: {', '.join(parts)}" if parts else "the service answers"


def _number(quota: Mapping[str, Any], name: str) -> str:
    value = quota.get(name)
    return f"{value:,}" if isinstance(value, int) else "?"
