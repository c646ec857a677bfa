"""The common part of Tencent CDN and EdgeOne: signed calls, their limits, and the meaning of their error codes.

Documents 228/33601 (CDN) and 1145/50536 (EdgeOne) on tencentcloud.com list the codes.
"""

import logging
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from gateway.errors import NoCredentials
from gateway.purge.target import PurgeRefused, TargetUnavailable
from gateway.tencent_api.bounded_http import ServiceUnavailable
from gateway.tencent_api.client import ApiError, ApiKey, TencentApi

logger = logging.getLogger(__name__)

_NOT_ALLOWED: Final = "AuthFailure.UnauthorizedOperation"  # the policy is at fault, which new keys do not change
# The request names too many targets for this account; EdgeOne's limit depends on the plan.
_TOO_MANY: Final = frozenset({"LimitExceeded.CdnPurgeUrlExceedBatchLimit", "LimitExceeded.BatchQuota"})
# An address or a tag is at fault. Other InvalidParameter codes are about a domain or a site: every purge would fail.
_ABOUT_TARGETS: Final = re.compile(
    r"InvalidParameter(Value)?"
    r"|InvalidParameter\.(CdnParamError|ParamError|CdnUrlExceedLength|ParameterError|Target|InvalidUrl\w*)"
)


class KeySource(NamedTuple):
    """The key that signs calls. ``newest`` raises ``NoCredentials``. ``refused`` gets the id of a refused key."""

    newest: Callable[[], ApiKey]
    refused: Callable[[str], None]


class TencentService:
    """Calls a purge service. ``most_targets``: how many addresses or tags a request may name."""

    def __init__(self, api: TencentApi, keys: KeySource, most_targets: int) -> None:
        self._api = api
        self._keys = keys
        self.most_targets = most_targets

    async def purge(
        self, action: str, parameters: Mapping[str, Any], *, images: int, targets: int
    ) -> Mapping[str, Any]:
        """Return the answer to a purge. ``images`` and ``targets`` are the numbers of its images and targets.

        Raises ``TargetUnavailable`` or ``PurgeRefused``.
        """
        try:
            return await self._call(action, parameters)
        except ApiError as error:
            if error.code in _TOO_MANY and images > 1:
                self._shrink(targets, error.code)
                raise PurgeRefused(str(error)) from error
            if _ABOUT_TARGETS.fullmatch(error.code):
                raise PurgeRefused(str(error)) from error
            raise TargetUnavailable(str(error), error.code) from error

    async def ask(self, action: str, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the answer to an action that changes nothing. Raises ``TargetUnavailable``."""
        try:
            return await self._call(action, parameters)
        except ApiError as error:
            raise TargetUnavailable(str(error), error.code) from error

    async def _call(self, action: str, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the answer. Raises ``ApiError``, or ``TargetUnavailable`` if there is none."""
        try:
            key = self._keys.newest()
        except NoCredentials as error:
            raise TargetUnavailable(str(error)) from error
        try:
            return await self._api.call(action, parameters, key)
        except ApiError as error:
            if error.code.startswith("AuthFailure") and error.code != _NOT_ALLOWED:
                self._keys.refused(key.secret_id)
            raise
        except ServiceUnavailable as error:
            raise TargetUnavailable(str(error)) from error

    def _shrink(self, refused: int, code: str) -> None:
        """Name fewer targets than ``refused`` from now on."""
        most = max(1, refused // 2)
        if most < self.most_targets:
            self.most_targets = most
            logger.info("purges name fewer targets in a request: most=%s reason=%s", most, code)
