"""Credentials of the role that is bound to the instance, from its metadata service (document 213/4934)."""

import json
import logging
import re
from typing import Final

from gateway.presign.credentials import Credentials, CredentialsUnavailable, checked
from gateway.settings import ROLE_NAME
from gateway.tencent_api.bounded_http import BoundedHttp, ServiceUnavailable

logger = logging.getLogger(__name__)

_PATH: Final = "/latest/meta-data/cam/security-credentials/"
_ROLE: Final = re.compile(ROLE_NAME)


class InstanceRoleSource:
    """The credentials of ``role``. None: of the first role that the service names."""

    name = "cvm_role"
    poll: float | None = None

    def __init__(self, http: BoundedHttp, metadata_url: str, role: str | None) -> None:
        self._http = http
        self._url = metadata_url + _PATH
        self._configured = role
        self._role = role

    async def fetch(self) -> Credentials:
        """Return the credentials of the role now. Raises ``CredentialsUnavailable``."""
        try:
            role = self._configured or _first_role(await self._http.get(self._url))
            answer = await self._http.get(self._url + role)
        except ServiceUnavailable as error:
            raise CredentialsUnavailable(f"the metadata service: {error}") from error
        credentials = _parse(answer)
        if self._role not in (None, role):
            logger.warning("the instance has another role: role=%s before=%s", role, self._role)
        self._role = role
        return credentials


def _first_role(answer: bytes) -> str:
    role = answer.decode("ascii", "replace").strip().partition("\n")[0].strip()
    if not _ROLE.fullmatch(role):
        raise CredentialsUnavailable("the metadata service names no role: bind one to the instance")
    return role


def _parse(answer: bytes) -> Credentials:
    try:
        found = json.loads(answer)
    except (ValueError, RecursionError):
        raise CredentialsUnavailable("the metadata service: the answer is not JSON") from None
    if not isinstance(found, dict) or found.get("Code") != "Success":
        raise CredentialsUnavailable("the metadata service: the answer is no success")
    # Temporary credentials have an end and a token: without them, nothing would ever renew this set.
    if None in (found.get("Token"), found.get("ExpiredTime")):
        raise CredentialsUnavailable("the metadata service: the answer has no token, or no end")
    return checked(found.get("TmpSecretId"), found.get("TmpSecretKey"), found["Token"], found["ExpiredTime"])
