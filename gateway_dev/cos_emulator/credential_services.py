"""The services that Tencent Cloud gives credentials by: instance metadata, and STS, on one socket.

Metadata: document 213/4934; AssumeRole: 1312/48197; AssumeRoleWithWebIdentity: 1312/73070.
"""

import base64
import os
import time
from collections import Counter
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import formatdate
from typing import Literal

from aiohttp import web

from gateway_dev.cos_emulator.access import Credential
from gateway_dev.cos_emulator.http_service import HttpService, ServiceFault, ServiceFaults
from gateway_dev.cos_emulator.tc3 import REQUEST_ID, ApiRefusal, api_error, api_json, parameters_of, verify

METADATA_PATH = "/latest/meta-data/cam/security-credentials/"
_OTHER_ROLE = "other"
_VERSION = "2018-08-13"

Service = Literal["metadata", "sts"]


@dataclass(frozen=True, slots=True)
class Issued:
    """A set of temporary credentials. ``expires_at`` in Unix seconds."""

    secret_id: str
    secret_key: str = field(repr=False)
    token: str = field(repr=False)
    expires_at: int

    @property
    def expiration(self) -> str:
        """The end as Tencent's services write it: UTC, in whole seconds."""
        return datetime.fromtimestamp(self.expires_at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass
class TokenIssuer:
    """Issues credentials into ``credentials``, the mapping by which the emulated COS verifies requests.

    ``life``: the longest life in seconds, whatever a request asks for. ``now``: Unix seconds.
    """

    credentials: MutableMapping[str, Credential]
    life: int = 7200
    now: Callable[[], float] = time.time

    def issue(self, life: int | None = None) -> Issued:
        """Return new credentials of ``life`` seconds, at most ``self.life``. Those that have ended stay known: COS
        answers ExpiredToken for them."""
        expires_at = int(self.now()) + min(self.life, life if life is not None else self.life)
        # Real tokens hold / + and =, which are encoded in a URL.
        token = base64.b64encode(b"\xfb\xff\xbf" + os.urandom(96)).decode() + "=="
        issued = Issued(f"AKID{os.urandom(16).hex()}", os.urandom(16).hex(), token, expires_at)
        self.credentials[issued.secret_id] = Credential(issued.secret_key, issued.token, expires_at)
        return issued


class CredentialFault(ServiceFault):
    """A fault of requests to ``service``. None: to both services.

    Kinds besides those that every service knows:

    - ``error``: a refusal inside a 200.
    - ``expired``: credentials that have ended.
    - ``another_role``: the instance has lost its role for a role called other (of ``metadata`` alone).
    """

    kind: Literal["hang", "garbage", "error", "internal_error", "expired", "another_role"]
    service: Service | None = None

    def is_for(self, service: Service) -> bool:
        """Return whether the fault is for requests to ``service``."""
        return self.service in (None, service)


@dataclass
class CredentialServices(HttpService):
    """Both services: ``async with CredentialServices(issuer) as services`` serves until the block ends.

    role: the role of the instance.
    roles: maps the ARN of each role that STS lets others assume to the ExternalId that STS asks for, or None.
    web_identities: maps each token of a pod to its provider.
    kept: the metadata service serves the same set until less than this part of its life is left. The documents do not
    say how long.
    calls: counts the requests by what they ask for.
    """

    issuer: TokenIssuer
    role: str = "image-gateway"
    roles: Mapping[str, str | None] = field(default_factory=dict)
    web_identities: Mapping[str, str] = field(default_factory=dict)
    kept: float = 0.5
    host: str = "127.0.0.1"
    requested_port: int = 0
    faults: ServiceFaults[CredentialFault] = field(default_factory=lambda: ServiceFaults(CredentialFault))
    calls: "Counter[str]" = field(default_factory=Counter)
    _served: Issued | None = None

    def revoke(self) -> None:
        """Forget every issued set, as when a role's sessions are revoked: COS answers InvalidAccessKeyId."""
        temporary = [name for name, known in self.issuer.credentials.items() if known.token is not None]
        for secret_id in temporary:
            del self.issuer.credentials[secret_id]
        self._served = None

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_get(METADATA_PATH, self._list_roles)
        app.router.add_get(METADATA_PATH + "{role}", self._metadata)
        app.router.add_post("/", self._sts)
        self.faults.add_routes(app)
        return app

    async def _list_roles(self, _request: web.Request) -> web.Response:
        self.calls["roles"] += 1
        kind, answer = await self._fault("metadata")
        if answer is not None:
            return answer
        return web.Response(text=_OTHER_ROLE if kind == "another_role" else self.role)

    async def _metadata(self, request: web.Request) -> web.Response:
        self.calls["metadata"] += 1
        kind, answer = await self._fault("metadata")
        if answer is not None:
            return answer
        has_role = request.match_info["role"] == (_OTHER_ROLE if kind == "another_role" else self.role)
        if not has_role:
            return web.Response(status=404)
        if kind == "error":
            return api_json({"Code": "InternalError"})
        served = self._served
        if kind == "expired":
            served = self.issuer.issue(-60)
        elif served is None or served.expires_at - self.issuer.now() < self.kept * self.issuer.life:
            served = self._served = self.issuer.issue()
        return api_json(
            {
                "TmpSecretId": served.secret_id,
                "TmpSecretKey": served.secret_key,
                "Token": served.token,
                "ExpiredTime": served.expires_at,
                "Expiration": served.expiration,
                "Code": "Success",
            }
        )

    async def _sts(self, request: web.Request) -> web.Response:
        action, body = request.headers.get("X-TC-Action", ""), await request.read()
        self.calls[action] += 1
        kind, answer = await self._fault("sts")
        if answer is not None:
            return answer
        try:
            issued = self._assumed(request.headers, action, body, kind)
        except ApiRefusal as refusal:
            answer = api_error(refusal)
            answer.headers["Date"] = formatdate(self.issuer.now(), usegmt=True)
            return answer
        found = {"Token": issued.token, "TmpSecretId": issued.secret_id, "TmpSecretKey": issued.secret_key}
        return api_json(
            {
                "Response": {
                    "Credentials": found,
                    "ExpiredTime": issued.expires_at,
                    "Expiration": issued.expiration,
                    "RequestId": REQUEST_ID,
                }
            }
        )

    def _assumed(self, headers: Mapping[str, str], action: str, body: bytes, kind: str | None) -> Issued:
        """Return credentials of the role that the request names. Raises ``ApiRefusal``. ``kind`` is that of a fault."""
        if kind == "error":
            raise ApiRefusal("InternalError.GetRoleError", "The role could not be read.")
        if headers.get("X-TC-Version") != _VERSION or not headers.get("X-TC-Region"):
            raise ApiRefusal("MissingParameter", "The version or the region is missing.")
        parameters = parameters_of(body)
        role = str(parameters.get("RoleArn", ""))
        if action == "AssumeRole":
            verify(headers, body, self.issuer.credentials, service="sts", now=self.issuer.now())
            if role not in self.roles:
                raise ApiRefusal("ResourceNotFound.RoleNotFound", "The role does not exist.")
            if self.roles[role] != parameters.get("ExternalId"):
                raise ApiRefusal("UnauthorizedOperation", "The role may not be assumed.")
        elif action == "AssumeRoleWithWebIdentity":
            if headers.get("Authorization") != "SKIP":
                raise ApiRefusal("AuthFailure.SignatureFailure", "The Authorization field must be SKIP.")
            provider = self.web_identities.get(parameters.get("WebIdentityToken", ""))
            if provider is None or provider != parameters.get("ProviderId") or role not in self.roles:
                raise ApiRefusal("InvalidParameter.WebIdentityTokenError", "The token is not valid.")
        else:
            raise ApiRefusal("InvalidAction", "The action does not exist.")
        if not parameters.get("RoleSessionName"):
            raise ApiRefusal("MissingParameter", "The RoleSessionName is missing.")
        asked = parameters.get("DurationSeconds", 7200)
        if not isinstance(asked, int) or not 0 < asked <= 43_200:
            raise ApiRefusal("InvalidParameter.OverTimeError", "The duration is too long.")
        return self.issuer.issue(-60 if kind == "expired" else asked)

    async def _fault(self, service: Service) -> tuple[str | None, web.Response | None]:
        """Return the kind of the fault that fires, and the answer if every request gets the same; None without one."""
        fault = self.faults.fire(lambda armed: armed.is_for(service))
        return (fault.kind, await fault.common_answer()) if fault is not None else (None, None)
