"""A client of Tencent Cloud's API 3.0: each action is a signed POST, and an error may come inside a 200."""

import json
import re
import time
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from gateway.tencent_api.bounded_http import BoundedHttp, ServiceUnavailable
from gateway.tencent_api.signature import CONTENT_TYPE, ApiKey, authorization

_WORD: Final = re.compile(r"[A-Za-z][A-Za-z0-9.]{0,99}")
_SKIP: Final = "SKIP"  # the Authorization field of the actions that take no key


class ApiError(ServiceUnavailable):
    """The service refused the action. ``code``: its error code, such as ``AuthFailure.SecretIdNotFound``."""

    def __init__(self, code: str) -> None:
        super().__init__(f"error {code}")
        self.code = code


class TencentApi:
    """Calls actions of a service.

    url: the address of the service, such as ``https://sts.tencentcloudapi.com``.
    now: returns Unix seconds. The service refuses a signature whose time is more than five minutes off.
    """

    def __init__(
        self,
        http: BoundedHttp,
        url: str,
        *,
        service: str,
        version: str,
        region: str | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._http = http
        self._url = url.rstrip("/") + "/"
        self._host = urlsplit(url).netloc
        self._service = service
        self._version = version
        self._region = region
        self._now = now

    async def call(self, action: str, parameters: Mapping[str, Any], key: ApiKey | None) -> Mapping[str, Any]:
        """Return the ``Response`` of an action. ``key`` None: the request is not signed.

        Raises ``ApiError`` if the service refuses, and ``ServiceUnavailable`` without a valid answer.
        """
        headers, body = self.request(action, parameters, key)
        answer = await self._http.post(self._url, headers, body)
        try:
            response = json.loads(answer)["Response"]
            error = response.get("Error")
            code = error["Code"] if error is not None else None
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            raise ServiceUnavailable("the answer is not one of API 3.0") from None
        if error is not None:
            # The message of an error quotes parameters; the code comes from a documented list.
            raise ApiError(code if isinstance(code, str) and _WORD.fullmatch(code) else "unknown")
        fields: Mapping[str, Any] = response
        return fields

    def request(self, action: str, parameters: Mapping[str, Any], key: ApiKey | None) -> tuple[dict[str, str], bytes]:
        """Return the header fields and the body of an action."""
        body, timestamp = json.dumps(parameters).encode(), int(self._now())
        headers = {
            "Host": self._host,
            "Content-Type": CONTENT_TYPE,
            "X-TC-Action": action,
            "X-TC-Version": self._version,
            "X-TC-Timestamp": str(timestamp),
        }
        if self._region is not None:
            headers["X-TC-Region"] = self._region
        if key is None:
            return headers | {"Authorization": _SKIP}, body
        if key.token is not None:
            headers["X-TC-Token"] = key.token
        headers["Authorization"] = authorization(
            key, service=self._service, host=self._host, body=body, timestamp=timestamp
        )
        return headers, body
