"""EdgeOne: ``CreatePurgeTask`` names the addresses or the cache tags of images (document 1145/50536)."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from gateway.net.printable import printable
from gateway.purge.addresses import Addresses
from gateway.purge.target import PurgeRefused, TargetUnavailable
from gateway.purge.tencent_service import TencentService

SERVICE: Final = "teo"
VERSION: Final = "2022-09-01"
# The reasons in FailedList are free text: a reason that names a limit does not concern the image.
_LIMIT: Final = re.compile("quota|limit|exceed|frequen", re.IGNORECASE)
_LONGEST_REASON: Final = 200  # characters


class EdgeOne:
    """Purges images from the site ``zone_id``: by address, or without ``addresses`` by the tag of each image."""

    def __init__(self, service: TencentService, zone_id: str, addresses: Addresses | None) -> None:
        self._service = service
        self._zone_id = zone_id
        self._addresses = addresses

    @property
    def most(self) -> int:
        """How many images a request may name."""
        per_image = self._addresses.per_image if self._addresses is not None else 1
        return max(1, self._service.most_targets // per_image)

    async def purge(self, image_ids: Sequence[str]) -> None:
        """Return once the service has accepted the purge. Raises ``TargetUnavailable`` or ``PurgeRefused``."""
        owners = {target: image_id for image_id in image_ids for target in self._targets(image_id)}
        parameters = {"ZoneId": self._zone_id, "Type": self._type, "Targets": list(owners)}
        answer = await self._service.purge("CreatePurgeTask", parameters, images=len(image_ids), targets=len(owners))
        reason, failed = _failures(answer.get("FailedList"))
        if not failed:
            return
        if _LIMIT.search(reason):
            raise TargetUnavailable(f"targets failed: {reason}")
        # A target that was not sent belongs to no image: then the whole request has failed.
        refused = {owners[target] for target in failed if target in owners}
        raise PurgeRefused(reason, refused or None)

    async def examine(self) -> str:
        """Return the rest of the day's limit of targets, as text. Raises ``TargetUnavailable``."""
        answer = await self._service.ask("DescribeContentQuota", {"ZoneId": self._zone_id})
        quotas = answer.get("PurgeQuota")
        for quota in quotas if isinstance(quotas, list) else ():
            if isinstance(quota, Mapping) and quota.get("Type") == self._type:
                left, daily, batch = (quota.get(name) for name in ("DailyAvailable", "Daily", "Batch"))
                return f"{self._type} targets left today: {left} of {daily}, {batch} in a request"
        return f"the service answers, and names no quota of {self._type}"

    @property
    def _type(self) -> str:
        return "purge_cache_tag" if self._addresses is None else "purge_url"

    def _targets(self, image_id: str) -> Sequence[str]:
        return [f"image-{image_id}"] if self._addresses is None else self._addresses.of(image_id)


def _failures(failed_list: Any) -> tuple[str, set[str]]:
    """Return the first reason, safe to log, and the failed targets. The answer may have null instead of a list."""
    reason, targets = "", set[str]()
    for failure in failed_list if isinstance(failed_list, list) else ():
        if isinstance(failure, Mapping) and isinstance(found := failure.get("Targets"), list) and found:
            targets.update(str(target) for target in found)
            reason = reason or printable(str(failure.get("Reason", ""))[:_LONGEST_REASON]) or "no reason given"
    return reason, targets
