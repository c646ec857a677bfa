"""Where credentials come from: the configuration, a file, the role of an instance, and roles that Tencent's STS gives.

Documents 213/4934 (metadata service), 1312/48197 (AssumeRole) and 1312/73070 (AssumeRoleWithWebIdentity).
"""

import asyncio
import json
import logging
import math
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import SecretStr

from gateway.concurrency.background import in_daemon_thread
from gateway.net.bounded_http import BoundedHttp, ServiceUnavailable
from gateway.net.tencent_api import ApiError, ApiKey, TencentApi
from gateway.presign.credentials import Credentials, CredentialsUnavailable, Fetch, SourceDown, checked
from gateway.presign.url_lifetime import CosClock
from gateway.settings import (
    ROLE_NAME,
    AssumeRoleCredentialsSettings,
    CredentialsSettings,
    CvmRoleCredentialsSettings,
    EnvironmentCredentialsSettings,
    FileCredentialsSettings,
    StaticCredentialsSettings,
    TkeOidcCredentialsSettings,
)

logger = logging.getLogger(__name__)

# Seconds between two fetches. Infinite: the source is asked once. None: before its credentials end.
POLL: Final[Mapping[str, float | None]] = {
    "static": math.inf,
    "environment": math.inf,
    "file": 1.0,
    "cvm_role": None,
    "tke_oidc": None,
    "assume_role": None,
}
_MOST_BYTES: Final = 64 * 1024  # of the file, and of a pod's token
_KEYS: Final = ("secret_id", "secret_key", "token", "expires_at")
_METADATA_PATH: Final = "/latest/meta-data/cam/security-credentials/"
_ROLE: Final = re.compile(ROLE_NAME)
_STS_VERSION: Final = "2018-08-13"
_STS_REGION: Final = "ap-guangzhou"  # as in Tencent's SDK, for roles of all regions
_TKE_SESSION: Final = "image-gateway"
_TKE_DURATION: Final = 7200  # seconds
_DOWN: Final = ("InternalError", "RequestLimitExceeded")  # how codes begin that do not refuse the request itself
_LEAST_LEFT: Final = 60  # seconds that base credentials must have left to be used again

T = TypeVar("T")


def source_of(settings: CredentialsSettings, http: BoundedHttp, clock: CosClock) -> Fetch:
    """Return how to fetch from the source that ``settings`` describe."""
    match settings:
        case StaticCredentialsSettings(secret_id=SecretStr() as secret_id, secret_key=SecretStr() as secret_key):
            return _fixed(secret_id, secret_key, settings.token, settings.token_expires_at)
        case EnvironmentCredentialsSettings():
            return _fixed(*settings.values())
        case FileCredentialsSettings():
            return FileSource(settings.path).fetch
        case CvmRoleCredentialsSettings():
            return InstanceRoleSource(http, settings.metadata_url, settings.role).fetch
        case AssumeRoleCredentialsSettings():
            return AssumeRoleSource(http, settings, source_of(settings.base, http, clock), clock).fetch
        case TkeOidcCredentialsSettings():
            return TkeOidcSource(http, settings, clock.now).fetch
    raise ValueError("the static source has no keys")  # the settings' model refuses that


def _fixed(
    secret_id: SecretStr, secret_key: SecretStr, token: SecretStr | None, expires_at: int | None = None
) -> Fetch:
    clear_token = token.get_secret_value() if token is not None else None
    credentials = Credentials(secret_id.get_secret_value(), secret_key.get_secret_value(), clear_token, expires_at)

    async def fetch() -> Credentials:
        return credentials

    return fetch


class FileSource:
    """Reads credentials from a JSON file that another program writes.

    ``{"secret_id": …, "secret_key": …, "token": …, "expires_at": Unix seconds}``; the last two may be left out.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._reads = path, FileReads()

    async def fetch(self) -> Credentials:
        return _parse_file(await self._reads.run(lambda: _read(self._path)))


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise CredentialsUnavailable(f"{path} cannot be read: {error.strerror}") from error
    if len(data) > _MOST_BYTES:
        raise CredentialsUnavailable(f"{path} has more than {_MOST_BYTES} bytes")
    return data


def _parse_file(data: bytes) -> Credentials:
    found = _mapping_in(data, "the file")
    if not found.keys() <= set(_KEYS):
        raise CredentialsUnavailable(f"the file is not a mapping of {', '.join(sorted(_KEYS))}")
    return checked(*map(found.get, _KEYS))


def _mapping_in(data: bytes, what: str) -> dict[str, Any]:
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        raise CredentialsUnavailable(f"{what} is not JSON") from None
    if not isinstance(found, dict):
        raise CredentialsUnavailable(f"{what} is not a mapping")
    return found


class FileReads:
    """Runs reads of one file in threads, one at a time, so that a file system that hangs keeps one thread at most."""

    def __init__(self) -> None:
        self._under_way: asyncio.Future[Any] | None = None

    async def run(self, read: Callable[[], T]) -> T:
        """Return the result of ``read``. Raises ``SourceDown`` while an earlier one has not ended."""
        if self._under_way is not None and not self._under_way.done():
            raise SourceDown("an earlier read of the file has not ended")
        self._under_way = reading = in_daemon_thread(read, "read-credentials")
        return await asyncio.shield(reading)


class InstanceRoleSource:
    """Fetches credentials of this virtual machine (CVM) from its metadata service. ``role`` None: the first there."""

    def __init__(self, http: BoundedHttp, metadata_url: str, role: str | None) -> None:
        self._http, self._url = http, metadata_url + _METADATA_PATH
        self._configured = self._role = role

    async def fetch(self) -> Credentials:
        try:
            role = self._configured or _first_role(await self._http.get(self._url))
            answer = await self._http.get(self._url + role)
        except ServiceUnavailable as error:
            raise _unavailable("the metadata service", error) from error
        found = _mapping_in(answer, "the metadata service: the answer")
        if found.get("Code") != "Success":
            raise CredentialsUnavailable("the metadata service: the answer is no success")
        credentials = _temporary(found, found.get("ExpiredTime"), "the metadata service")
        if self._role not in (None, role):
            logger.warning("the instance has another role: role=%s before=%s", role, self._role)
        self._role = role
        return credentials


def _unavailable(service: str, error: ServiceUnavailable) -> CredentialsUnavailable:
    if isinstance(error, ApiError):
        is_down = error.code.startswith(_DOWN)
    else:
        is_down = error.status is None or error.status >= 500 or error.status == 429
    return (SourceDown if is_down else CredentialsUnavailable)(f"{service}: {error}")


def _first_role(answer: bytes) -> str:
    role = answer.decode("ascii", "replace").strip().partition("\n")[0].strip()
    if not _ROLE.fullmatch(role):
        raise CredentialsUnavailable("the metadata service names no role: bind one to the instance")
    return role


def _temporary(found: Any, expires_at: Any, service: str) -> Credentials:
    """Return credentials with a token and an end: without these, nothing would ever renew them."""
    if not isinstance(found, Mapping) or found.get("Token") is None or expires_at is None:
        raise CredentialsUnavailable(f"{service}: the answer has no credentials, no token or no end")
    return checked(found.get("TmpSecretId"), found.get("TmpSecretKey"), found["Token"], expires_at)


class AssumeRoleSource:
    """Fetches credentials of a role, which the credentials of ``base`` may assume, from Tencent's STS."""

    def __init__(
        self,
        http: BoundedHttp,
        settings: AssumeRoleCredentialsSettings,
        base: Fetch,
        clock: CosClock | None = None,
    ) -> None:
        clock = clock or CosClock()
        self._base, self._now = base, clock.now
        told = {"service": "sts", "version": _STS_VERSION, "region": _STS_REGION}
        self._api = TencentApi(http, settings.sts_url, **told, now=clock.now, correct=clock.refused_at)
        self._last_base: Credentials | None = None
        self._parameters: dict[str, Any] = {
            "RoleArn": settings.role_arn,
            "RoleSessionName": settings.session_name,
            "DurationSeconds": settings.duration,
        }
        if settings.external_id is not None:
            self._parameters["ExternalId"] = settings.external_id

    async def fetch(self) -> Credentials:
        """Return new credentials by those of the base, by the last ones if it has none now and they have not ended."""
        try:
            self._last_base = base = await self._base()
        except CredentialsUnavailable:
            if self._last_base is None or (self._last_base.expires_at or math.inf) < self._now() + _LEAST_LEFT:
                raise
            base = self._last_base
        key = ApiKey(base.secret_id, base.secret_key, base.token)
        return await _call_sts(self._api, "AssumeRole", self._parameters, key)


class TkeOidcSource:
    """Fetches credentials of this pod's role in Kubernetes (Tencent's TKE), by a token file that the cluster renews."""

    def __init__(
        self, http: BoundedHttp, settings: TkeOidcCredentialsSettings, now: Callable[[], float] = time.time
    ) -> None:
        region, self._provider_id, self._role_arn, self._file = settings.values()
        self._reads = FileReads()
        self._api = TencentApi(http, settings.sts_url, service="sts", version=_STS_VERSION, region=region, now=now)

    async def fetch(self) -> Credentials:
        parameters = {
            "ProviderId": self._provider_id,
            "WebIdentityToken": await self._reads.run(lambda: _read_token(self._file)),
            "RoleArn": self._role_arn,
            "RoleSessionName": _TKE_SESSION,
            "DurationSeconds": _TKE_DURATION,
        }
        return await _call_sts(self._api, "AssumeRoleWithWebIdentity", parameters)


async def _call_sts(
    api: TencentApi, action: str, parameters: Mapping[str, Any], key: ApiKey | None = None
) -> Credentials:
    try:
        response = await api.call(action, parameters, key)
    except ServiceUnavailable as error:
        raise _unavailable("STS", error) from error
    return _temporary(response.get("Credentials"), response.get("ExpiredTime"), "STS")


def _read_token(path: Path) -> str:
    token = _read(path).strip()
    if not token or not token.isascii():
        raise CredentialsUnavailable(f"{path} does not hold a token")
    return token.decode()
