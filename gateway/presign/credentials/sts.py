"""Credentials of a role from Tencent's STS: assumed by other credentials, or by the token of a pod in TKE.

Documents 1312/48197 (AssumeRole) and 1312/73070 (AssumeRoleWithWebIdentity).
"""

import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

from gateway.presign.credentials import Credentials, CredentialsUnavailable, Source, checked
from gateway.presign.credentials.file_reads import FileReads
from gateway.settings import AssumeRoleCredentialsSettings, TkeOidcCredentialsSettings
from gateway.tencent_api.bounded_http import BoundedHttp, ServiceUnavailable
from gateway.tencent_api.client import TencentApi
from gateway.tencent_api.signature import ApiKey

_VERSION: Final = "2018-08-13"
_REGION: Final = "ap-guangzhou"  # as in Tencent's SDK, for roles of all regions
_TKE_SESSION: Final = "image-gateway"
_TKE_DURATION: Final = 7200  # seconds
_MOST_BYTES: Final = 64 * 1024  # of a pod's token
_LEAST_LEFT: Final = 60  # seconds that base credentials must have left to be used again


class AssumeRoleSource:
    """The credentials of a role that those of ``base`` may assume."""

    name = "assume_role"
    poll: float | None = None

    def __init__(
        self,
        http: BoundedHttp,
        settings: AssumeRoleCredentialsSettings,
        base: Source,
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._api = TencentApi(http, settings.sts_url, service="sts", version=_VERSION, region=_REGION, now=now)
        self._base = base
        self._last_base: Credentials | None = None
        self._now = now
        self._parameters: dict[str, Any] = {
            "RoleArn": settings.role_arn,
            "RoleSessionName": settings.session_name,
            "DurationSeconds": settings.duration,
        }
        if settings.external_id is not None:
            self._parameters["ExternalId"] = settings.external_id

    async def fetch(self) -> Credentials:
        """Return new credentials of the role. Raises ``CredentialsUnavailable``."""
        base = await self._base_credentials()
        key = ApiKey(base.secret_id, base.secret_key, base.token)
        return await _call(self._api, "AssumeRole", self._parameters, key)

    async def _base_credentials(self) -> Credentials:
        """Return the base's credentials, the last ones if it has none now and they have not ended."""
        last = self._last_base
        try:
            self._last_base = base = await self._base.fetch()
        except CredentialsUnavailable:
            if last is None or (last.expires_at is not None and last.expires_at < self._now() + _LEAST_LEFT):
                raise
            return last
        return base


class TkeOidcSource:
    """The credentials of the role that TKE gives to the pod; the cluster renews the token in the file."""

    name = "tke_oidc"
    poll: float | None = None

    def __init__(
        self,
        http: BoundedHttp,
        settings: TkeOidcCredentialsSettings,
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        region, self._provider_id, self._role_arn, self._file = settings.values()
        self._reads = FileReads()
        self._api = TencentApi(http, settings.sts_url, service="sts", version=_VERSION, region=region, now=now)

    async def fetch(self) -> Credentials:
        """Return new credentials of the role. Raises ``CredentialsUnavailable``."""
        parameters = {
            "ProviderId": self._provider_id,
            "WebIdentityToken": await self._reads.run(partial(_read_token, self._file)),
            "RoleArn": self._role_arn,
            "RoleSessionName": _TKE_SESSION,
            "DurationSeconds": _TKE_DURATION,
        }
        return await _call(self._api, "AssumeRoleWithWebIdentity", parameters, None)


async def _call(api: TencentApi, action: str, parameters: Mapping[str, Any], key: ApiKey | None) -> Credentials:
    try:
        response = await api.call(action, parameters, key)
    except ServiceUnavailable as error:
        raise CredentialsUnavailable(f"STS: {error}") from error
    found, expires_at = response.get("Credentials"), response.get("ExpiredTime")
    if not isinstance(found, Mapping) or found.get("Token") is None or expires_at is None:
        raise CredentialsUnavailable("STS: the answer has no credentials")
    return checked(found.get("TmpSecretId"), found.get("TmpSecretKey"), found["Token"], expires_at)


def _read_token(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            data = opened.read(_MOST_BYTES + 1)
        token = data.decode("ascii").strip()
    except OSError as error:
        raise CredentialsUnavailable(f"{file} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError:
        raise CredentialsUnavailable(f"{file} does not hold a token") from None
    if not token or len(data) > _MOST_BYTES:
        raise CredentialsUnavailable(f"{file} does not hold a token")
    return token
