"""Signatures for ``check``: URLs of its probes, and a comparison with the signature of Tencent's SDK."""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final
from urllib.parse import parse_qs, urlsplit

from gateway.catalog.record import ImageRecord
from gateway.presign.credentials import Credentials
from gateway.presign.hosts import Hosts
from gateway.presign.signer import BACKDATE, TOKEN_PARAMETER, object_path, query_of, signature_of

_LIFE: Final = 600  # seconds
_NO_PARAMETERS: Mapping[str, str] = {}
# A key with the characters that signers treat in different ways, and credentials of no account.
_KEY: Final = "图/a b+c%2F~(1)'.png"
_NOBODY: Final = Credentials("AKIDOFNOACCOUNT", "a-secret-key-of-no-account")


class ProbeSigner:
    """Signs URLs that a gateway never uses for images, with chosen times, parameters, token and host.

    styles: the configured styles, COS's processing parameters by name.
    token: of temporary credentials, else None.
    """

    def __init__(
        self,
        credentials: Credentials,
        hosts: Hosts,
        styles: Mapping[str, str],
        now: Callable[[], float] = time.time,
    ) -> None:
        self._credentials = credentials
        self._hosts = hosts
        self._now = now
        self.styles: Final = styles
        self.token: Final = credentials.token

    def with_token(self, token: str | None) -> "ProbeSigner":
        """Return a signer with another token, or without one."""
        return ProbeSigner(replace(self._credentials, token=token), self._hosts, self.styles, self._now)

    def base_of(self, image: ImageRecord) -> str:
        """Return scheme, host and port that serve the image's bucket."""
        return self._hosts.origin_of(image.bucket, image.region).base

    def url(
        self,
        image: ImageRecord,
        *,
        method: str = "GET",
        style: str | None = None,
        starts_in: int = -BACKDATE,
        life: int = _LIFE,
        more: Mapping[str, str] = _NO_PARAMETERS,
    ) -> str:
        """Return a URL that is valid ``starts_in`` seconds from now, and until ``life`` seconds from now."""
        now = int(self._now())
        origin = self._hosts.origin_of(image.bucket, image.region)
        parameters = {self.styles[style]: ""} if style is not None else {}
        parameters.update(more)
        if self._credentials.token is not None:
            parameters[TOKEN_PARAMETER] = self._credentials.token
        query = sign_query(
            self._credentials,
            method=method,
            path=f"/{image.key.removeprefix('/')}",
            host=origin.host,
            parameters=parameters,
            start=now + starts_in,
            end=now + life,
        )
        return f"{origin.base}/{object_path(image.key)}?{query}"


def sign_query(
    credentials: Credentials,
    *,
    method: str,
    path: str,
    host: str,
    parameters: Mapping[str, str],
    start: int,
    end: int,
) -> str:
    """The query string that authorizes ``method`` on ``path`` at ``host`` from ``start`` to ``end`` (Unix seconds).

    ``path`` is the decoded path with its slash, ``host`` comes without a port. COS document 7778.
    """
    key_time = f"{start};{end}"
    signature = signature_of(credentials, method, path, host, parameters, key_time)
    return query_of(credentials.secret_id, parameters, key_time, signature)


def signs_as_the_sdk(hosts: Hosts, bucket: str, region: str, sign: Callable[..., str] = sign_query) -> bool:
    """Return whether the SDK and ``sign`` make the same URL of an object of the bucket; opens no connection."""
    from qcloud_cos import CosConfig, CosS3Client  # half a second and 10 MiB, which a serving process does not spend

    origin = hosts.origin_of(bucket, region)
    scheme, _, address = origin.base.partition("://")
    config = CosConfig(
        Region=region, SecretId=_NOBODY.secret_id, SecretKey=_NOBODY.secret_key, Scheme=scheme, Domain=address
    )
    theirs = CosS3Client(config).get_presigned_url(bucket, _KEY, "GET", Expired=600)
    (times,) = parse_qs(urlsplit(theirs).query)["q-sign-time"]  # the SDK takes no time
    start, _, end = times.partition(";")
    query = sign(
        _NOBODY, method="GET", path=f"/{_KEY}", host=origin.host, parameters={}, start=int(start), end=int(end)
    )
    return bool(theirs == f"{origin.base}/{object_path(_KEY)}?{query}")
