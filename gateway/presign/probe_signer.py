"""Signatures for ``check``: URLs of its probes, and a comparison with the signature of Tencent's SDK."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
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


@dataclass(frozen=True, slots=True)
class ProbeSigner:
    """Signs URLs by which the command ``check`` tries COS, with chosen times, parameters, token and host.

    styles: the configured styles, COS's processing parameters by name.
    """

    credentials: Credentials
    hosts: Hosts
    styles: Mapping[str, str]
    now: Callable[[], float] = time.time

    def with_token(self, token: str | None) -> "ProbeSigner":
        """Return a signer with another token, or without one."""
        return replace(self, credentials=replace(self.credentials, token=token))

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
        now, credentials = int(self.now()), self.credentials
        origin = self.hosts.origin_of(image.bucket, image.region)
        parameters = {self.styles[style]: ""} if style is not None else {}
        parameters.update(more)
        if credentials.token is not None:
            parameters[TOKEN_PARAMETER] = credentials.token
        key_time = f"{now + starts_in};{now + life}"
        path = f"/{image.key.removeprefix('/')}"
        signature = signature_of(credentials, method, path, origin.host, parameters, key_time)
        query = query_of(credentials.secret_id, parameters, key_time, signature)
        return f"{origin.base}/{object_path(image.key)}?{query}"


def signs_as_the_sdk(hosts: Hosts, bucket: str, region: str, credentials: Credentials = _NOBODY) -> bool:
    """Return whether the SDK makes the same URL of an object of the bucket; opens no connection."""
    from qcloud_cos import CosConfig, CosS3Client  # half a second and 10 MiB, which a serving process does not spend

    scheme, _, address = hosts.origin_of(bucket, region).base.partition("://")
    config = CosConfig(
        Region=region, SecretId=_NOBODY.secret_id, SecretKey=_NOBODY.secret_key, Scheme=scheme, Domain=address
    )
    theirs = CosS3Client(config).get_presigned_url(bucket, _KEY, "GET", Expired=_LIFE)
    (times,) = parse_qs(urlsplit(theirs).query)["q-sign-time"]  # the SDK takes no time
    start, end = map(int, times.split(";"))
    signer = ProbeSigner(credentials, hosts, {}, lambda: start)
    image = ImageRecord("check", None, False, bucket, region, _KEY, None)
    return bool(theirs == signer.url(image, starts_in=0, life=end - start))
