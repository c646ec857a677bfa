"""Presigned URLs of COS, made in the process: signing opens no socket and takes microseconds.

The algorithm is COS document 7778 ("Request Signature", version 5). ``qcloud_cos`` knows the hosts; the signing is
ours because the SDK can neither round its start time nor put a security token into a presigned URL
(tencentyun/cos-python-sdk-v5#162). Tests hold the two equal over generated keys, parameters, hosts and times.
"""

import hashlib
import hmac
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final
from urllib.parse import quote, quote_plus

from qcloud_cos import CosConfig

from gateway.catalog.record import ImageRecord
from gateway.metrics.collectors import Metrics
from gateway.presign.presigned_url import BACKDATE, PresignedUrl, SignedImage
from gateway.settings import CosSettings

_TOKEN_PARAMETER: Final = "x-cos-security-token"  # noqa: S105 - the name of a parameter
_UNRESERVED: Final = "-_.~"
_NO_PARAMETERS: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True)
class Credentials:
    """What signs. ``expires_at`` (Unix seconds) is the end of a temporary ``token``; None when it never ends."""

    secret_id: str
    secret_key: str
    token: str | None = None
    expires_at: int | None = None


class Signer:
    """Makes presigned URLs whose signing time is rounded to ``window`` seconds.

    Within a window, every replica and every restart makes the same URL of an image, so that browsers and CDNs hit
    their caches even when Redis is gone. Where a window starts is spread by key: they do not all change at once.
    """

    def __init__(
        self,
        credentials: Credentials,
        hosts: "Hosts",
        *,
        ttl: int,
        window: int,
        metrics: Metrics,
        styles: Mapping[str, str] | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._credentials = credentials
        self._hosts = hosts
        self._ttl = ttl
        self._window = max(1, window)
        self._metrics = metrics
        self._styles = styles or {}
        self._now = now

    def knows_style(self, style: str | None) -> bool:
        """Whether images can be had in this style; None is the image as it is."""
        return style is None or style in self._styles

    def sign(
        self, record: ImageRecord, style: str | None = None, *, method: str = "GET", fresh: bool = False
    ) -> PresignedUrl:
        """A URL for ``method`` (a URL signed for GET does not answer HEAD), good for up to ``ttl`` seconds.

        ``fresh`` signs this very second instead of at the start of the window. Whether what remains of the URL is
        enough is for the caller to judge. ``style`` must be known.
        """
        now = int(self._now())
        signed_at = now if fresh else self._window_start(record, now)
        self._metrics.presigns.inc()
        return self._sign_at(record, style, method, signed_at)

    def sign_also(self, image: SignedImage, parameters: Mapping[str, str], *, method: str = "GET") -> PresignedUrl:
        """A URL of the same life as the image's own, with more ``parameters`` signed."""
        self._metrics.presigns.inc()
        return self._sign_at(image.record, image.style, method, image.presigned.signed_at, parameters)

    def is_ours(self, image: SignedImage) -> bool:
        """Whether this signer, at that time, would have made exactly this URL of exactly this object.

        A cache is not trusted for where to send people: host, key, life and signature are checked at once, and what
        was signed with other credentials is not used.
        """
        if not self.knows_style(image.style):
            return False
        kept = image.presigned
        expected = self._sign_at(image.record, image.style, "GET", kept.signed_at)
        return kept.expires_at == expected.expires_at and hmac.compare_digest(kept.url.encode(), expected.url.encode())

    def _window_start(self, record: ImageRecord, now: int) -> int:
        spread = int.from_bytes(hashlib.blake2b(record.key.encode(), digest_size=4).digest(), "big") % self._window
        return now - (now - spread) % self._window

    def _sign_at(
        self,
        record: ImageRecord,
        style: str | None,
        method: str,
        signed_at: int,
        more: Mapping[str, str] = _NO_PARAMETERS,
    ) -> PresignedUrl:
        credentials = self._credentials
        origin = self._hosts.origin_of(record.bucket, record.region)
        end = signed_at + self._ttl
        if credentials.expires_at is not None:
            end = min(end, credentials.expires_at)
        parameters = {self._styles[style]: ""} if style is not None else {}
        parameters.update(more)
        if credentials.token is not None:
            parameters[_TOKEN_PARAMETER] = credentials.token
        key = record.key.removeprefix("/")
        query = sign_query(
            credentials,
            method=method,
            path=f"/{key}",
            host=origin.host,
            parameters=parameters,
            start=signed_at - BACKDATE,
            end=end,
        )
        # Clients fold "./" away; COS reads ".%2F" as the same key, and so does the SDK.
        path = quote(key, safe="/" + _UNRESERVED).replace("./", ".%2F")
        return PresignedUrl(f"{origin.base}/{path}?{query}", signed_at, end)


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

    ``path`` is the decoded path with its slash, ``host`` comes without a port. Only the host header is signed: a
    signed Range or If-* would bind whoever uses the URL (TencentBlueKing/bk-repo#2954). COS document 7778.
    """
    key_time = f"{start};{end}"
    encoded = sorted(
        (quote(name, safe=_UNRESERVED).lower(), quote(value, safe=_UNRESERVED)) for name, value in parameters.items()
    )
    signed_parameters = "&".join(f"{name}={value}" for name, value in encoded)
    names = ";".join(name for name, _ in encoded)
    http_string = f"{method.lower()}\n{path}\n{signed_parameters}\nhost={quote(host, safe=_UNRESERVED)}\n"
    digest = hashlib.sha1(http_string.encode(), usedforsecurity=False).hexdigest()
    string_to_sign = f"sha1\n{key_time}\n{digest}\n"
    sign_key = _hmac_sha1(credentials.secret_key, key_time)
    signature = _hmac_sha1(sign_key, string_to_sign)
    time_parameter = key_time.replace(";", "%3B")
    query = (
        f"q-sign-algorithm=sha1&q-ak={quote_plus(credentials.secret_id)}&q-sign-time={time_parameter}"
        f"&q-key-time={time_parameter}&q-header-list=host&q-url-param-list={quote_plus(names)}&q-signature={signature}"
    )
    if parameters:
        query += "&" + "&".join(f"{quote_plus(name)}={quote_plus(value)}" for name, value in parameters.items())
    return query


def _hmac_sha1(key: str, message: str) -> str:
    return hmac.digest(key.encode(), message.encode(), "sha1").hex()


@dataclass(frozen=True, slots=True)
class Origin:
    """``base`` is scheme and host with its port, no slash at the end; ``host`` is what gets signed, without a port."""

    base: str
    host: str


class Hosts:
    """Which host serves a bucket."""

    def __init__(self, settings: CosSettings) -> None:
        self._settings = settings
        self.origin_of = lru_cache(maxsize=1024)(self._origin_of)

    def _origin_of(self, bucket: str, region: str) -> Origin:
        """The configured domain for the bucket it belongs to, COS's own host for any other."""
        settings = self._settings
        domain = settings.domain
        if domain is not None and "{bucket}" in domain:
            domain = domain.replace("{bucket}", bucket)
        elif domain is not None and bucket != settings.bucket:
            domain = None  # a custom domain is bound to one bucket
        config = CosConfig(
            Region=region,
            SecretId=settings.secret_id.get_secret_value(),
            SecretKey=settings.secret_key.get_secret_value(),
            Scheme=settings.scheme,
            Domain=domain,
        )
        base = str(config.uri(bucket=bucket)).removesuffix("/")
        host = base.partition("://")[2].partition(":")[0].lower()
        return Origin(base, host)


def credentials_from(settings: CosSettings) -> Credentials:
    """The configured credentials in the clear, for the signer alone."""
    return Credentials(
        secret_id=settings.secret_id.get_secret_value(),
        secret_key=settings.secret_key.get_secret_value(),
        token=settings.token.get_secret_value() if settings.token is not None else None,
        expires_at=settings.token_expires_at,
    )
