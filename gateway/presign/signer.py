"""The signer of presigned COS URLs: signing opens no socket and takes microseconds.

The algorithm is COS document 7778 ("Request Signature", version 5). ``qcloud_cos`` gives the hosts but does not
sign: it can neither round its start time nor put a security token into a presigned URL
(tencentyun/cos-python-sdk-v5#162). Tests compare both over generated keys, parameters, hosts and times.
"""

import hashlib
import hmac
import time
from collections.abc import Callable, Mapping
from typing import Final, Protocol
from urllib.parse import quote, quote_plus

from gateway.catalog.record import ImageRecord
from gateway.metrics.collectors import Metrics
from gateway.presign.credentials import Credentials
from gateway.presign.hosts import Hosts
from gateway.presign.renditions import Renditions
from gateway.presign.signed_image import BACKDATE, ObjectId, PresignedUrl, SignedImage

TOKEN_PARAMETER: Final = "x-cos-security-token"  # noqa: S105 - the name of a parameter
_IGNORE_ERRORS: Final = "/ignore-error/1"
_UNRESERVED: Final = "-_.~"
_NO_PARAMETERS: Mapping[str, str] = {}


class CredentialsSource(Protocol):
    """Has the newest credentials at hand."""

    def of(self, bucket: str) -> Credentials:
        """Return the credentials that sign for the bucket; raises ``CredentialsExpired``."""
        ...


class Signer:
    """Signs URLs, with the signing time rounded to ``window`` seconds.

    Within a window, every replica and every restart makes the same URL of an image, so that browsers and CDNs hit
    their caches even when Redis is gone. Where a window starts is spread by key: they do not all change at once.
    """

    def __init__(
        self,
        credentials: CredentialsSource,
        hosts: Hosts,
        *,
        ttl: int,
        window: int,
        metrics: Metrics,
        renditions: Renditions | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._credentials = credentials
        self._hosts = hosts
        self._ttl = ttl
        self._window = max(1, window)
        self._metrics = metrics
        self._renditions = renditions or Renditions({})
        self._now = now

    def has_rendition(self, rendition: str | None) -> bool:
        """Return whether the rendition is configured; None is the original image."""
        return self._renditions.has(rendition)

    def sign(
        self, record: ImageRecord, rendition: str | None = None, *, method: str = "GET", fresh: bool = False
    ) -> PresignedUrl:
        """Return a URL for ``method`` (COS refuses HEAD on a URL signed for GET), valid for up to ``ttl`` seconds.

        ``fresh`` signs at this second instead of at the start of the window. The caller checks that enough of the
        URL's life remains. ``rendition`` must be configured.
        """
        now = int(self._now())
        signed_at = now if fresh else self._window_start(record, now)
        self._metrics.presigns.inc()
        return self._sign_at(record, rendition, method, signed_at)

    def sign_image(
        self, record: ImageRecord, rendition: str | None = None, *, read_at: int = 0, fresh: bool = False
    ) -> SignedImage:
        """Return the record beside its URL for GET; ``read_at`` is when the row was read, in Unix seconds."""
        object_id = ObjectId(record.bucket, record.region, record.key, rendition)
        return SignedImage(
            record,
            self.sign(record, rendition, fresh=fresh),
            rendition,
            read_at,
            object_id=object_id,
            public=record.public or (rendition is not None and self._renditions.is_public(rendition)),
        )

    def sign_rule(self, record: ImageRecord, rule: str) -> PresignedUrl:
        """Return a URL for COS's answer to a rule that no client can ask for, such as ``imageInfo``."""
        self._metrics.presigns.inc()
        return self._sign_at(record, None, "GET", int(self._now()), {rule: ""})

    def sign_also(
        self, image: SignedImage, parameters: Mapping[str, str], *, method: str = "GET", ignores_errors: bool = False
    ) -> PresignedUrl:
        """Return a URL of the same life as the image's own, with more signed ``parameters``.

        ``ignores_errors``: COS sends the original where it cannot process it (document 42704).
        """
        self._metrics.presigns.inc()
        suffix = _IGNORE_ERRORS if ignores_errors else ""
        return self._sign_at(image.record, image.rendition, method, image.presigned.signed_at, parameters, suffix)

    def is_ours(self, image: SignedImage) -> bool:
        """Return whether this signer would have made exactly this URL of this object at that time.

        A cache is not trusted with destinations: this checks host, key, life and signature at once. A URL signed with
        other credentials is not used.
        """
        if not self.has_rendition(image.rendition):
            return False
        kept = image.presigned
        expected = self._sign_at(image.record, image.rendition, "GET", kept.signed_at)
        return kept.expires_at == expected.expires_at and hmac.compare_digest(kept.url.encode(), expected.url.encode())

    def _window_start(self, record: ImageRecord, now: int) -> int:
        spread = int.from_bytes(hashlib.blake2b(record.key.encode(), digest_size=4).digest(), "big") % self._window
        return now - (now - spread) % self._window

    def _sign_at(
        self,
        record: ImageRecord,
        rendition: str | None,
        method: str,
        signed_at: int,
        more: Mapping[str, str] = _NO_PARAMETERS,
        rule_suffix: str = "",
    ) -> PresignedUrl:
        credentials = self._credentials.of(record.bucket)
        origin = self._hosts.origin_of(record.bucket, record.region)
        end = signed_at + self._ttl
        if credentials.expires_at is not None:
            end = min(end, credentials.expires_at)
        parameters = {self._renditions.get(rendition).rule(record) + rule_suffix: ""} if rendition is not None else {}
        parameters.update(more)
        if credentials.token is not None:
            parameters[TOKEN_PARAMETER] = credentials.token
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
        return PresignedUrl(f"{origin.base}/{object_path(record.key)}?{query}", signed_at, end)


def object_path(key: str) -> str:
    """Return the key as the path of a URL, without the slash before it."""
    # Clients fold "./" away; COS reads ".%2F" as the same key, and so does the SDK.
    return quote(key.removeprefix("/"), safe="/" + _UNRESERVED).replace("./", ".%2F")


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
