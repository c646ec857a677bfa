"""The purge services of Tencent CDN and EdgeOne, on one socket, with their limits.

PurgeUrlsCache: document 228/33601. DescribePurgeQuota: 228/37474. CreatePurgeTask: 1145/50536. The numbers are those
of tencentcloud.com.
"""

import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal
from urllib.parse import urlsplit

from aiohttp import web

from gateway_dev.cos_emulator.access import Credentials
from gateway_dev.cos_emulator.control import CONTROL_PREFIX
from gateway_dev.cos_emulator.http_service import HttpService, ServiceFault, ServiceFaults
from gateway_dev.cos_emulator.tc3 import REQUEST_ID, ApiRefusal, api_error, api_json, parameters_of, verify

_CDN, _EDGEONE = ("cdn", "2018-06-06"), ("teo", "2022-09-01")
_ACTIONS = {
    "PurgeUrlsCache": _CDN,
    "DescribePurgeQuota": _CDN,
    "CreatePurgeTask": _EDGEONE,
    "DescribeContentQuota": _EDGEONE,
}
_TYPES = ("purge_url", "purge_cache_tag")
_EAST = 8 * 3600  # seconds; an assumption: the day of the limits begins at midnight in Beijing


class PurgeFault(ServiceFault):
    """A fault of requests that name ``target``.

    Kinds besides those that every service knows:

    - ``throttled`` and ``day_limit``: a refusal inside a 200, as if that limit were reached.
    - ``error``: an internal error inside a 200.
    - ``bad_target``: targets that contain ``target`` are not accepted. Tencent CDN refuses the whole request for such a
      target. EdgeOne lists such targets in FailedList.
    """

    kind: Literal["throttled", "day_limit", "error", "internal_error", "garbage", "hang", "bad_target"]
    target: str = ""

    def is_for(self, targets: Sequence[str]) -> bool:
        """Return whether the fault is for a request that purges ``targets``."""
        return any(self.target in target for target in targets)


@dataclass(frozen=True, slots=True)
class PurgeLimits:
    """The most targets of a request, requests a second, and targets a day."""

    per_request: int = 1000
    per_second: int = 20
    per_day: int = 10_000


@dataclass(frozen=True, slots=True)
class Purge:
    """An accepted purge: its time (Unix seconds), its kind, and the addresses or tags."""

    at: float
    kind: str
    targets: tuple[str, ...]


@dataclass
class PurgeServices(HttpService):
    """Both services: ``async with PurgeServices(credentials) as services`` serves until the block ends.

    domains: the domains that the account accelerates. None: any domain.
    zone: the only site of the account.
    purges: the accepted purges.
    calls: the times of all requests.
    now: Unix seconds.
    """

    credentials: Credentials
    domains: frozenset[str] | None = None
    zone: str = "zone-emulator"
    limits: PurgeLimits = PurgeLimits()
    host: str = "127.0.0.1"
    requested_port: int = 0
    now: Callable[[], float] = time.time
    faults: ServiceFaults[PurgeFault] = field(default_factory=lambda: ServiceFaults(PurgeFault))
    purges: list[Purge] = field(default_factory=list)
    calls: list[float] = field(default_factory=list)
    _latest: "deque[float]" = field(default_factory=deque)
    _by_day: "Counter[tuple[str, int]]" = field(default_factory=Counter)

    @property
    def purged(self) -> list[str]:
        """The targets of all purges, in order."""
        return [target for purge in self.purges for target in purge.targets]

    def app(self) -> web.Application:
        app = web.Application(client_max_size=10 * 1024 * 1024)
        app.router.add_post("/", self._call)
        self.faults.add_routes(app)
        app.router.add_get(CONTROL_PREFIX + "purges", self._list_purges)
        app.router.add_delete(CONTROL_PREFIX + "purges", self._clear_purges)
        return app

    async def _call(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.calls.append(self.now())
        try:
            return await self._act(request.headers, body)
        except ApiRefusal as refusal:
            return api_error(refusal)

    async def _act(self, headers: Mapping[str, str], body: bytes) -> web.Response:
        action = headers.get("X-TC-Action", "")
        service, version = _ACTIONS.get(action, ("", ""))
        if headers.get("X-TC-Version") != version:
            raise ApiRefusal("InvalidAction", "The action does not exist in this version.")
        verify(headers, body, self.credentials, service=service, now=self.now())
        parameters = parameters_of(body)
        if action == "DescribePurgeQuota":
            return _answer(UrlPurge=[{"Area": area, **self._quota("cdn")} for area in ("mainland", "overseas")])
        if service == "teo" and parameters.get("ZoneId") != self.zone:
            raise ApiRefusal("InvalidParameter.ZoneNotFound", "The site does not exist.")
        if action == "DescribeContentQuota":
            return _answer(PurgeQuota=[self._content_quota(kind) for kind in _TYPES])
        return await self._purge("cdn" if service == "cdn" else str(parameters.get("Type")), parameters)

    async def _purge(self, kind: str, parameters: Mapping[str, Any]) -> web.Response:
        targets = _targets(parameters.get("Urls" if kind == "cdn" else "Targets"))
        if kind not in ("cdn", *_TYPES):
            raise ApiRefusal("InvalidParameter.ParameterError", "The type is not one that is emulated.")
        fault = self.faults.fire(lambda armed: armed.is_for(targets))
        if fault is not None and (answer := await _fail(fault)) is not None:
            return answer
        self._count_request()
        self._check(kind, targets, fault)
        failed = [target for target in targets if fault is not None and fault.target in target]
        accepted = [target for target in targets if target not in failed]
        self._by_day[kind, self._day] += len(accepted)
        if accepted:
            self.purges.append(Purge(self.now(), kind, tuple(accepted)))
        task = f"{int(self.now())}-{len(self.purges)}"
        if kind == "cdn":
            return _answer(TaskId=task)
        reasons = [{"Reason": "The target is invalid.", "Targets": failed}] if failed else None
        return _answer(JobId=task, FailedList=reasons)

    def _count_request(self) -> None:
        """Refuse a request that comes too soon after others."""
        while self._latest and self._latest[0] <= self.now() - 1:
            self._latest.popleft()
        if len(self._latest) >= self.limits.per_second:
            raise ApiRefusal("RequestLimitExceeded", "The requests exceed the frequency limit.")
        self._latest.append(self.now())

    def _check(self, kind: str, targets: Sequence[str], fault: PurgeFault | None) -> None:
        is_cdn = kind == "cdn"
        if len(targets) > self.limits.per_request:
            code = "LimitExceeded.CdnPurgeUrlExceedBatchLimit" if is_cdn else "LimitExceeded.BatchQuota"
            raise ApiRefusal(code, "The request names too many targets.")
        is_over = self._by_day[kind, self._day] + len(targets) > self.limits.per_day
        if is_over or (fault is not None and fault.kind == "day_limit"):
            code = "LimitExceeded.CdnPurgeUrlExceedDayLimit" if is_cdn else "LimitExceeded.DailyQuota"
            raise ApiRefusal(code, "The limit of this day is reached.")
        if is_cdn and fault is not None:
            raise ApiRefusal("InvalidParameter.CdnParamError", "A URL is malformed.")
        for url in () if kind == "purge_cache_tag" else targets:
            parts = urlsplit(url)
            if parts.scheme not in ("http", "https") or not parts.hostname:
                raise ApiRefusal("InvalidParameter.CdnParamError" if is_cdn else "InvalidParameter.Target", "No URL.")
            if self.domains is not None and parts.hostname not in self.domains:
                code = "ResourceNotFound.CdnHostNotExists" if is_cdn else "InvalidParameter.DomainNotFound"
                raise ApiRefusal(code, "The account has no such domain.")

    @property
    def _day(self) -> int:
        return int(self.now() + _EAST) // 86_400

    def _quota(self, kind: str) -> dict[str, int]:
        left = self.limits.per_day - self._by_day[kind, self._day]
        return {"Batch": self.limits.per_request, "Total": self.limits.per_day, "Available": left}

    def _content_quota(self, kind: str) -> dict[str, Any]:
        quota = self._quota(kind)
        return {"Batch": quota["Batch"], "Daily": quota["Total"], "DailyAvailable": quota["Available"], "Type": kind}

    async def _list_purges(self, _request: web.Request) -> web.Response:
        """Answer with the accepted purges, and the number of all requests."""
        return web.json_response({"purges": [asdict(purge) for purge in self.purges], "calls": len(self.calls)})

    async def _clear_purges(self, _request: web.Request) -> web.Response:
        self.purges.clear()
        self.calls.clear()
        return web.Response(status=204)


def _answer(**fields: object) -> web.Response:
    return api_json({"Response": {**fields, "RequestId": REQUEST_ID}})


def _targets(value: object) -> list[str]:
    if not isinstance(value, list) or not value or not all(isinstance(target, str) for target in value):
        raise ApiRefusal("InvalidParameter", "The targets are missing.")
    return value


async def _fail(fault: PurgeFault) -> web.Response | None:
    """Return the answer of a fault that is the same for every request, or None for another. Raises ``ApiRefusal``."""
    if fault.kind == "error":
        raise ApiRefusal("InternalError", "Something failed.")
    if fault.kind == "throttled":
        raise ApiRefusal("RequestLimitExceeded", "The requests exceed the frequency limit.")
    return await fault.common_answer()
