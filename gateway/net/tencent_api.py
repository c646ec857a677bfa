"""A client of Tencent Cloud's API 3.0: each action is a signed POST, and an error may come inside a 200."""

import hashlib
import hmac
import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from gateway.net.bounded_http import BoundedHttp, ServiceUnavailable

_CONTENT_TYPE: Final = "application/json"
_ALGORITHM: Final = "TC3-HMAC-SHA256"
_SIGNED_HEADERS: Final = "content-type;host"
_WORD: Final = re.compile(r"[A-Za-z][A-Za-z0-9.]{0,99}")
_WRONG_TIME: Final = "AuthFailure.SignatureExpire"  # also for a time in the future
_STEP: Final = 30.0  # seconds by which ``now`` differs after it was corrected, longer than a call takes
_SKIP: Final = "SKIP"  # the Authorization field of the actions that take no key


class ApiKey(NamedTuple):
    """A key that signs requests to Tencent Cloud. ``token``: that of temporary credentials, else None."""

    secret_id: str
    secret_key: str
    token: str | None = None


class ApiError(ServiceUnavailable):
    """Tencent Cloud's API refused a request. ``code``: its error code, such as ``AuthFailure.SecretIdNotFound``.

    ``date``: when, by its clock in Unix seconds, or None.
    """

    def __init__(self, code: str, date: float | None = None) -> None:
        super().__init__(f"error {code}")
        self.code, self.date = code, date


@dataclass(frozen=True, slots=True)
class TencentApi:
    """Client of one service of Tencent Cloud's API 3.0.

    url: the address of the service, such as ``https://sts.tencentcloudapi.com``.
    now: returns Unix seconds. The service refuses a signature whose time is more than five minutes off.
    correct: called with the service's time when it does. Returns whether it has moved ``now``: then it is asked again.
    """

    http: BoundedHttp
    url: str
    service: str = field(kw_only=True)
    version: str = field(kw_only=True)
    region: str | None = field(default=None, kw_only=True)
    now: Callable[[], float] = field(default=time.time, kw_only=True)
    correct: Callable[[float | None], bool] = field(default=lambda _: False, kw_only=True)

    async def call(self, action: str, parameters: Mapping[str, Any], key: ApiKey | None) -> Mapping[str, Any]:
        """Return the ``Response`` of an action. ``key`` None: the request is not signed.

        Raises ``ApiError`` if the service refuses, and ``ServiceUnavailable`` without a valid answer.
        """
        asked = self.now()
        try:
            return await self._call(action, parameters, key)
        except ApiError as error:
            # Another caller may have corrected the clock meanwhile.
            if error.code != _WRONG_TIME or not (self.correct(error.date) or abs(self.now() - asked) >= _STEP):
                raise
            return await self._call(action, parameters, key)

    async def _call(self, action: str, parameters: Mapping[str, Any], key: ApiKey | None) -> Mapping[str, Any]:
        headers, body = self.request(action, parameters, key)
        answer, date = await self.http.post(self.url.rstrip("/") + "/", headers, body)
        try:
            response: Mapping[str, Any] = json.loads(answer)["Response"]
            error = response.get("Error")
            code = error["Code"] if error is not None else None
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            raise ServiceUnavailable("the answer is not one of API 3.0") from None
        if error is not None:
            # The message of an error quotes parameters; the code comes from a documented list.
            raise ApiError(code if isinstance(code, str) and _WORD.fullmatch(code) else "unknown", date)
        return response

    def request(self, action: str, parameters: Mapping[str, Any], key: ApiKey | None) -> tuple[dict[str, str], bytes]:
        """Return the header fields and the body of an action."""
        body, timestamp, host = json.dumps(parameters).encode(), int(self.now()), urlsplit(self.url).netloc
        headers = {
            "Host": host,
            "Content-Type": _CONTENT_TYPE,
            "X-TC-Action": action,
            "X-TC-Version": self.version,
            "X-TC-Timestamp": str(timestamp),
        }
        if self.region is not None:
            headers["X-TC-Region"] = self.region
        if key is None:
            return headers | {"Authorization": _SKIP}, body
        if key.token is not None:
            headers["X-TC-Token"] = key.token
        headers["Authorization"] = authorization(key, service=self.service, host=host, body=body, timestamp=timestamp)
        return headers, body


def authorization(key: ApiKey, *, service: str, host: str, body: bytes, timestamp: int) -> str:
    """Return the Authorization field of a POST of ``body`` (JSON) to ``/`` at ``host`` (document 1312/48206).

    host: the Host field as it is sent, with its port.
    timestamp: Unix seconds.
    """
    date = datetime.fromtimestamp(timestamp, UTC).strftime("%Y-%m-%d")
    scope = f"{date}/{service}/tc3_request"
    headers = f"content-type:{_CONTENT_TYPE}\nhost:{host}\n"
    canonical = f"POST\n/\n\n{headers}\n{_SIGNED_HEADERS}\n{hashlib.sha256(body).hexdigest()}"
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    signing_key = f"TC3{key.secret_key}".encode()
    for part in (date, service, "tc3_request"):
        signing_key = hmac.digest(signing_key, part.encode(), "sha256")
    signature = hmac.digest(signing_key, f"{_ALGORITHM}\n{timestamp}\n{scope}\n{digest}".encode(), "sha256").hex()
    return f"{_ALGORITHM} Credential={key.secret_id}/{scope}, SignedHeaders={_SIGNED_HEADERS}, Signature={signature}"
