"""Tencent CDN and EdgeOne: signed calls that purge, their limits, and the meaning of their error codes.

On tencentcloud.com, documents 228/33601 (``PurgeUrlsCache``) and 1145/50536 (``CreatePurgeTask``) list the codes.
"""

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

from gateway.errors import NoCredentials
from gateway.net.bounded_http import ServiceUnavailable
from gateway.net.printable import printable
from gateway.net.tencent_api import ApiError, ApiKey, TencentApi
from gateway.presign.credentials.rotation import BucketCredentials
from gateway.purge.target import Addresses, PurgeRefused, TargetUnavailable
from gateway.settings import MOST_ADDRESSES

logger = logging.getLogger(__name__)

_NOT_ALLOWED: Final = "AuthFailure.UnauthorizedOperation"  # the policy is at fault, which new keys do not change
# The request names too many targets for this account; EdgeOne's limit depends on the plan.
_TOO_MANY: Final = frozenset({"LimitExceeded.CdnPurgeUrlExceedBatchLimit", "LimitExceeded.BatchQuota"})
# An address or a tag is at fault. Other InvalidParameter codes are about a domain or a site: every purge would fail.
_ABOUT_TARGETS: Final = re.compile(
    r"InvalidParameter(Value)?"
    r"|InvalidParameter\.(CdnParamError|ParamError|CdnUrlExceedLength|ParameterError|Target|InvalidUrl\w*)"
)
# The reasons in EdgeOne's FailedList are free text: a reason that names a limit does not concern the image.
_LIMIT: Final = re.compile("quota|limit|exceed|frequen", re.IGNORECASE)
_LONGEST_REASON: Final = 200  # characters


@dataclass(eq=False)
class _TencentTarget:
    """Client of a service of Tencent Cloud that purges URLs, or cache tags if ``addresses`` is None.

    bucket: that of COS whose credentials sign the requests.
    most_targets: how many URLs or tags a request may name. It shrinks when the service refuses so many.
    """

    SERVICE: ClassVar[str]
    VERSION: ClassVar[str]

    api: TencentApi
    credentials: BucketCredentials
    bucket: str
    addresses: Addresses | None
    most_targets: int = field(default=MOST_ADDRESSES, kw_only=True)

    @property
    def most(self) -> int:
        return max(1, self.most_targets // (self.addresses.per_image if self.addresses is not None else 1))

    async def _targets_of(self, image_ids: Sequence[str]) -> Mapping[str, Sequence[str]]:
        if self.addresses is None:
            return {image_id: [f"image-{image_id}"] for image_id in image_ids}
        return await self.addresses.of_images(image_ids)

    async def _purge(
        self, action: str, parameters: Mapping[str, Any], *, images: int, targets: int
    ) -> Mapping[str, Any]:
        """Return the answer to a purge. ``images`` and ``targets`` are the numbers of its images and targets."""
        try:
            return await self._call(action, parameters)
        except ApiError as error:
            if error.code in _TOO_MANY and images > 1:
                self.most_targets = targets // 2
                logger.info("purges name fewer targets in a request: most=%s reason=%s", self.most_targets, error.code)
            elif not _ABOUT_TARGETS.fullmatch(error.code):
                raise TargetUnavailable(str(error), error.code) from error
            raise PurgeRefused(str(error)) from error

    async def _quotas(self, action: str, parameters: Mapping[str, Any], name: str) -> Iterator[Mapping[str, Any]]:
        """Return the quotas in the answer to an action that changes nothing. Raises ``TargetUnavailable``."""
        try:
            quotas = (await self._call(action, parameters)).get(name)
        except ApiError as error:
            raise TargetUnavailable(str(error), error.code) from error
        return (quota for quota in (quotas if isinstance(quotas, list) else ()) if isinstance(quota, Mapping))

    async def _call(self, action: str, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the answer. Raises ``ApiError``, or ``TargetUnavailable`` if there is none."""
        try:
            newest = self.credentials.of(self.bucket)
            key = ApiKey(newest.secret_id, newest.secret_key, newest.token)
            return await self.api.call(action, parameters, key)
        except ApiError as error:
            if error.code.startswith("AuthFailure") and error.code != _NOT_ALLOWED:
                self.credentials.refused(self.bucket, key.secret_id)
            raise
        except (NoCredentials, ServiceUnavailable) as error:
            raise TargetUnavailable(str(error)) from error


class TencentCdn(_TencentTarget):
    """Purges images from Tencent's CDN by URL. The account of the credentials must own all domains of ``addresses``."""

    SERVICE = "cdn"
    VERSION = "2018-06-06"

    async def purge(self, image_ids: Sequence[str]) -> None:
        urls = [url for targets in (await self._targets_of(image_ids)).values() for url in targets]
        await self._purge("PurgeUrlsCache", {"Urls": urls}, images=len(image_ids), targets=len(urls))

    async def examine(self) -> str:
        """Return the rest of the day's limit of addresses, as text."""
        parts = [
            f"{_number(quota, 'Available')} of {_number(quota, 'Total')} ({quota.get('Area', 'all')})"
            for quota in await self._quotas("DescribePurgeQuota", {}, "UrlPurge")
        ]
        return f"addresses left today: {', '.join(parts)}" if parts else "the service answers"


@dataclass(eq=False)
class EdgeOne(_TencentTarget):
    """Purges images from EdgeOne's site ``zone_id`` by URL, or by cache tag if ``addresses`` is None."""

    SERVICE = "teo"
    VERSION = "2022-09-01"

    zone_id: str

    @property
    def _type(self) -> str:
        return "purge_cache_tag" if self.addresses is None else "purge_url"

    async def purge(self, image_ids: Sequence[str]) -> None:
        targets = await self._targets_of(image_ids)
        owners = {target: image_id for image_id, named in targets.items() for target in named}
        parameters = {"ZoneId": self.zone_id, "Type": self._type, "Targets": list(owners)}
        answer = await self._purge("CreatePurgeTask", parameters, images=len(image_ids), targets=len(owners))
        reason, failed = _failures(answer.get("FailedList"))
        if not failed:
            return
        if _LIMIT.search(reason):
            raise TargetUnavailable(f"targets failed: {reason}")
        # A target that was not sent belongs to no image: then the whole request has failed.
        refused = {owners[target] for target in failed if target in owners}
        raise PurgeRefused(reason, refused or None)

    async def examine(self) -> str:
        """Return the rest of the day's limit of targets, as text."""
        for quota in await self._quotas("DescribeContentQuota", {"ZoneId": self.zone_id}, "PurgeQuota"):
            if quota.get("Type") == self._type:
                left, daily, batch = (quota.get(name) for name in ("DailyAvailable", "Daily", "Batch"))
                return f"{self._type} targets left today: {left} of {daily}, {batch} in a request"
        return f"the service answers, and names no quota of {self._type}"


def _number(quota: Mapping[str, Any], name: str) -> str:
    value = quota.get(name)
    return f"{value:,}" if isinstance(value, int) else "?"


def _failures(failed_list: Any) -> tuple[str, set[str]]:
    """Return the first reason, safe to log, and the failed targets. The answer may have null instead of a list."""
    reason, targets = "", set[str]()
    for failure in failed_list if isinstance(failed_list, list) else ():
        if isinstance(failure, Mapping) and isinstance(found := failure.get("Targets"), list) and found:
            targets.update(str(target) for target in found)
            reason = reason or printable(str(failure.get("Reason", ""))[:_LONGEST_REASON]) or "no reason given"
    return reason, targets
