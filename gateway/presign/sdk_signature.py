"""The signature of Tencent's SDK, which ``check`` compares with. A serving process does not import the SDK (10 MiB)."""

from collections.abc import Callable
from typing import Final
from urllib.parse import parse_qs, urlsplit

from qcloud_cos import CosConfig, CosS3Client

from gateway.presign.credentials import Credentials
from gateway.presign.hosts import Hosts
from gateway.presign.probe_signer import sign_query
from gateway.presign.signer import object_path

# A key with the characters that signers treat in different ways, and credentials of no account.
_KEY: Final = "图/a b+c%2F~(1)'.png"
_NOBODY: Final = Credentials("AKIDOFNOACCOUNT", "a-secret-key-of-no-account")

Sign = Callable[..., str]


def signs_as_the_sdk(hosts: Hosts, bucket: str, region: str, sign: Sign = sign_query) -> bool:
    """Return whether the SDK and ``sign`` make the same URL of an object of the bucket; opens no connection."""
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
