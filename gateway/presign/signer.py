"""The signer of presigned COS URLs, and what it makes: signing opens no socket and takes microseconds.

The algorithm is COS document 7778 ("Request Signature", version 5). ``qcloud_cos`` can neither round its start time nor
put a security token into a presigned URL (tencentyun/cos-python-sdk-v5#162). Tests compare both.
"""

import ctypes
import gc
import hashlib
import hmac
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass, field, replace
from functools import lru_cache, partial
from typing import Final, NamedTuple, NewType, Self
from urllib.parse import quote, quote_plus, unquote_plus

from gateway.catalog.record import ImageRecord
from gateway.presign.credentials import Credentials
from gateway.presign.hosts import Hosts
from gateway.presign.metrics import PresignMetrics
from gateway.presign.style_variants import Audience, Renditions
from gateway.settings import Live, UrlCacheSettings

# Seconds: COS may see the clock of this machine run ahead; the SDK starts every signature a minute early, and so do we.
BACKDATE: Final = 60
TOKEN_PARAMETER: Final = "x-cos-security-token"  # noqa: S105 - the name of a parameter
_IGNORE_ERRORS: Final = "/ignore-error/1"
_UNRESERVED: Final = "-_.~"
_encode = partial(quote, safe=_UNRESERVED)
_NEEDS_NO_ENCODING: Final = re.compile(r"[A-Za-z0-9/_.~-]+")
_NO_PARAMETERS: Mapping[str, str] = {}
_END_SPREAD: Final = 4  # the ends of URLs are spread over this part, a quarter, of the remaining life of a token
_NOT_SPREAD: Final = 10  # seconds at the end of a token in which its URLs end with it: their margin leaves little
# Given a number of seconds, returns the object that was given first for it: the URLs in memory begin, end and were read
# within few different seconds, and each separate number takes 32 bytes.
shared_second: Final = lru_cache(maxsize=4096)(int)
_untrack: Final = ctypes.pythonapi.PyObject_GC_UnTrack
_untrack.argtypes, _untrack.restype = [ctypes.py_object], None
# The parameters of a URL that are its ``Authorization``.
_OF_CREDENTIALS: Final = re.compile(
    rf"[^?]*\?q-sign-algorithm=sha1&q-ak=(?P<secret_id>[^&]{{1,200}})&[^&]*&[^&]*&[^&]*&[^&]*"
    rf"&q-signature=(?P<signature>[0-9a-f]{{40}})(?:&.*?)??(?:&{TOKEN_PARAMETER}=(?P<token>[^&]{{1,20000}}))?"
)


@dataclass(frozen=True, slots=True)
class PresignedUrl:
    """A signed URL, to which COS answers without further credentials until ``expires_at``.

    url: exact bytes, never parsed and put together again.
    signed_at, expires_at: Unix seconds. The signature or the temporary credentials end the URL, whichever ends first.
    """

    url: str
    signed_at: int
    expires_at: int


class Authorization(NamedTuple):
    """The SecretId, signature and token of a presigned URL: the parts that differ between replicas at the same time."""

    secret_id: str
    signature: str
    token: str | None = None


class ObjectId(NamedTuple):
    """The identity of an object of COS, or of a rendition of it, as a key for memory.

    focus: the part of the image that a crop keeps, from the row, if the rule of the rendition depends on it.
    template: the configured rule of the rendition.
    """

    bucket: str
    region: str
    key: str
    rendition: str | None
    focus: str | None = None
    template: str = ""

    def original(self) -> Self:
        return self._replace(rendition=None, focus=None, template="")


def untrack(*objects: object) -> None:
    """Leave objects that stay in memory out of garbage collections: a full one of a million takes half a second.

    They are freed with their last reference, so they must be part of no reference cycle. Python itself does the same
    with tuples of text and numbers.
    """
    for kept in objects:
        if gc.is_tracked(kept):  # text never is, and may not be passed to C
            _untrack(kept)


@dataclass(frozen=True, slots=True)
class SignedImage:
    """An image's row in Postgres and its presigned URL, kept together so that access can be checked on every hit.

    read_at: when the row was read, in Unix seconds. The record lacks later changes.
    public: whether everybody may see the image, by row, style and configuration. It follows from the record and the
    rendition, but is passed when a signed image is made, so that reading it runs no code.
    named: the object's id. For a rendition it depends on the configuration. An original has None until ``object_id`` is
    read, because most URLs in memory are only given to clients.
    unread: the row could not be read again, so the image may have changed unheard: no cache keeps an answer with it.
    """

    record: ImageRecord
    presigned: PresignedUrl
    rendition: str | None = None
    read_at: int = 0
    named: ObjectId | None = field(default=None, kw_only=True, repr=False, compare=False)
    public: bool = field(kw_only=True)
    unread: bool = field(default=False, kw_only=True)

    def as_unread(self) -> "SignedImage":
        """Return the image, marked as one whose row could not be read."""
        return self if self.unread else replace(self, unread=True)

    def ending_by(self, end: int) -> Self:
        """Return the image for URLs that end at ``end`` (Unix seconds) at the latest."""
        expires_at = min(end, self.presigned.expires_at)
        return replace(self, presigned=replace(self.presigned, expires_at=expires_at))

    @property
    def object_id(self) -> ObjectId:
        """The id of the image's object at COS, made once."""
        named = self.named
        if named is None:
            record = self.record
            named = ObjectId(record.bucket, record.region, record.key, None)
            untrack(named)
            object.__setattr__(self, "named", named)  # no other value can come of a frozen record
        return named


# An image that the sender of the current request may view. What sends bytes, or the URL of bytes, takes this type;
# ``tests/test_imports.py`` lists the modules that make it.
AuthorizedImage = NewType("AuthorizedImage", SignedImage)


@dataclass(frozen=True, slots=True)
class Signer:
    """Signs URLs for ``settings.default_ttl`` seconds, with the signing time rounded to ``settings.sign_window``.

    Within a window, every replica with the same credentials, and every restart, makes the same URL of an image, so that
    browsers and CDNs hit their caches even without Redis. The starts of windows are spread by key, so that not all
    URLs change at once. No URL outlives its token, and the URLs of one token end at different times, spread by key.

    credentials_of: returns the newest credentials of a bucket, without waiting. Raises ``CredentialsExpired``.
    """

    credentials_of: Callable[[str], Credentials]
    hosts: Hosts
    settings: Live[UrlCacheSettings]
    _: KW_ONLY
    metrics: PresignMetrics
    renditions: Live[Renditions] = field(default_factory=lambda: Live(Renditions({})))
    now: Callable[[], float] = time.time

    def sign(
        self, record: ImageRecord, rendition: str | None = None, *, method: str = "GET", fresh: bool = False
    ) -> PresignedUrl:
        """Return a URL for ``method``: COS refuses HEAD on a URL signed for GET. ``rendition`` must be configured.

        It begins with the present window of signing, or with ``fresh`` now. The caller checks what life remains.
        """
        now, credentials = int(self.now()), self.credentials_of(record.bucket)
        signed_at = now if fresh else self._window_start(record, now, credentials.expires_at)
        end = self._end(record, signed_at, credentials.expires_at)
        parameters = self._parameters(record, rendition, credentials.token, _NO_PARAMETERS)
        return self._sign(credentials, record, parameters, signed_at, end, method)

    def sign_image(
        self, record: ImageRecord, rendition: str | None = None, *, read_at: int = 0, fresh: bool = False
    ) -> SignedImage:
        """Return the record with its URL for GET. ``read_at`` is the time of reading the row, in Unix seconds."""
        return self.image_of(record, rendition, self.sign(record, rendition, fresh=fresh), read_at)

    def image_of(
        self, record: ImageRecord, rendition: str | None, presigned: PresignedUrl, read_at: int
    ) -> SignedImage:
        """Return the record with a URL that was signed before. Who may see a rendition is configured."""
        if rendition is None:  # most images: no further calls
            named, public = None, record.public and not self.renditions.value.originals_for_owner
        else:
            template = self.renditions.value.template(rendition)
            named = ObjectId(record.bucket, record.region, record.key, rendition, record.focus, template)
            audience = self.renditions.value.audience(rendition, image_is_public=record.public)
            public = audience is Audience.EVERYBODY
        return SignedImage(record, presigned, rendition, shared_second(read_at), named=named, public=public)

    def sign_rule(self, record: ImageRecord, rule: str) -> PresignedUrl:
        """Return a URL for COS's answer to a rule that no client can ask for, such as ``imageInfo``."""
        now, credentials = int(self.now()), self.credentials_of(record.bucket)
        parameters = self._parameters(record, None, credentials.token, {rule: ""})
        return self._sign(credentials, record, parameters, now, self._end(record, now, credentials.expires_at))

    def sign_also(
        self, image: SignedImage, parameters: Mapping[str, str], *, method: str = "GET", ignores_errors: bool = False
    ) -> PresignedUrl:
        """Return a URL with more signed ``parameters``, which expires with the image's own URL.

        It expires earlier if the credentials here end earlier: a replica with newer ones may have signed that URL.
        ``ignores_errors``: COS sends the original where it cannot process it (document 42704).
        """
        record, own, suffix = image.record, image.presigned, _IGNORE_ERRORS if ignores_errors else ""
        credentials = self.credentials_of(record.bucket)
        parameters = self._parameters(record, image.rendition, credentials.token, parameters, suffix)
        end = own.expires_at if credentials.expires_at is None else min(own.expires_at, credentials.expires_at)
        return self._sign(credentials, record, parameters, own.signed_at, end, method)

    def authorization_of(self, url: str) -> Authorization | None:
        """Return SecretId, signature and token of a URL, or None if no signer made the URL."""
        own = _OF_CREDENTIALS.fullmatch(url)
        if own is None:
            return None
        token = unquote_plus(own["token"]) if own["token"] is not None else None
        return Authorization(unquote_plus(own["secret_id"]), own["signature"], token)

    def rebuild(
        self, record: ImageRecord, rendition: str | None, own: Authorization, signed_at: int, expires_at: int
    ) -> str | None:
        """Return the URL that this configuration makes with ``own``, or None for a life that it gives no URL.

        Replicas have different credentials, so SecretId, signature and token are those of the replica that signed.
        """
        if not 0 < expires_at - signed_at <= self.settings.value.default_ttl:
            return None
        parameters = self._parameters(record, rendition, own.token, _NO_PARAMETERS)
        return self._url(record, own.secret_id, parameters, _key_time(signed_at, expires_at), own.signature)

    def _window_start(self, record: ImageRecord, now: int, token_end: int | None) -> int:
        window = max(1, self.settings.value.sign_window)
        if token_end is not None:
            # Halved until it is a tenth of the remaining life: most replicas with this token agree, and the URL lives.
            while window > 1 and window * 10 > token_end - now:
                window //= 2
        return now - (now - _spread(record)) % window

    def _end(self, record: ImageRecord, signed_at: int, token_end: int | None) -> int:
        """Return when a URL ends. A million URLs of one token must not end, and be signed again, in the same second."""
        end = signed_at + self.settings.value.default_ttl
        if token_end is None:
            return end
        latest_spread = max(0, token_end - signed_at - _NOT_SPREAD) // _END_SPREAD
        return min(end, token_end - _spread(record) % (latest_spread + 1))

    def _parameters(
        self, record: ImageRecord, rendition: str | None, token: str | None, more: Mapping[str, str], suffix: str = ""
    ) -> dict[str, str]:
        """Return the parameters of a URL, with ``suffix`` at the end of the rule."""
        parameters = {self.renditions.value.get(rendition).rule(record) + suffix: ""} if rendition is not None else {}
        parameters.update(more)
        if token is not None:
            parameters[TOKEN_PARAMETER] = token
        return parameters

    def _sign(
        self,
        credentials: Credentials,
        record: ImageRecord,
        parameters: Mapping[str, str],
        signed_at: int,
        end: int,
        method: str = "GET",
    ) -> PresignedUrl:
        self.metrics.presigns.inc()
        key_time = _key_time(signed_at, end)
        host = self.hosts.origin_of(record.bucket, record.region).host
        signature = signature_of(credentials, method, f"/{record.key.removeprefix('/')}", host, parameters, key_time)
        url = self._url(record, credentials.secret_id, parameters, key_time, signature)
        return PresignedUrl(url, shared_second(signed_at), shared_second(end))

    def _url(
        self, record: ImageRecord, secret_id: str, parameters: Mapping[str, str], key_time: str, signature: str
    ) -> str:
        base = self.hosts.origin_of(record.bucket, record.region).base
        return f"{base}/{object_path(record.key)}?{query_of(secret_id, parameters, key_time, signature)}"


def _spread(record: ImageRecord) -> int:
    """Return a number that is the same for a key on every replica, and as good as random between keys."""
    return int.from_bytes(hashlib.blake2b(record.key.encode(), digest_size=4).digest(), "big")


def _key_time(signed_at: int, end: int) -> str:
    return f"{signed_at - BACKDATE};{end}"


def object_path(key: str) -> str:
    """Return the key as the path of a URL, without the slash before it."""
    # Clients fold "./" away; COS reads ".%2F" as the same key, and so does the SDK.
    path = key.removeprefix("/")
    if not _NEEDS_NO_ENCODING.fullmatch(path):
        path = quote(path, safe="/" + _UNRESERVED)
    return path.replace("./", ".%2F")


def signature_of(
    credentials: Credentials, method: str, path: str, host: str, parameters: Mapping[str, str], key_time: str
) -> str:
    """Return the signature of ``method`` on ``path``, decoded and with its slash, at ``host``, without a port.

    Only the host header is signed: a signed Range or If-* would bind the URL's user (TencentBlueKing/bk-repo#2954).
    """
    signed = _encoded(tuple(parameters.items())).signed
    http_string = f"{method.lower()}\n{path}\n{signed}\nhost={_encoded_host(host)}\n"
    digest = hashlib.sha1(http_string.encode(), usedforsecurity=False).hexdigest()
    return _hmac_sha1(_sign_key(credentials.secret_key, key_time), f"sha1\n{key_time}\n{digest}\n")


def query_of(secret_id: str, parameters: Mapping[str, str], key_time: str, signature: str) -> str:
    """Return the query string that authorizes a request with this signature (COS document 7778)."""
    encoded, time_parameter = _encoded(tuple(parameters.items())), key_time.replace(";", "%3B")
    return (
        f"q-sign-algorithm=sha1&q-ak={_encoded_id(secret_id)}&q-sign-time={time_parameter}"
        f"&q-key-time={time_parameter}&q-header-list=host&q-url-param-list={encoded.names}&q-signature={signature}"
        f"{encoded.query}"
    )


class _Encoded(NamedTuple):
    """Query parameters, percent-encoded: the text to sign, the list of names, and the text to append to a URL."""

    signed: str
    names: str
    query: str


# Percent-encoding took a third of the time of a signature, and there are few different parameters, ids and hosts.
@lru_cache(maxsize=512)
def _encoded(parameters: tuple[tuple[str, str], ...]) -> _Encoded:
    pairs = sorted((_encode(name).lower(), _encode(value)) for name, value in parameters)
    return _Encoded(
        "&".join(f"{name}={value}" for name, value in pairs),
        quote_plus(";".join(name for name, _ in pairs)),
        "".join(f"&{quote_plus(name)}={quote_plus(value)}" for name, value in parameters),
    )


_encoded_id = lru_cache(maxsize=128)(quote_plus)
_encoded_host = lru_cache(maxsize=128)(_encode)


def _hmac_sha1(key: str, message: str) -> str:
    return hmac.digest(key.encode(), message.encode(), "sha1").hex()


# A day's keys of a window of 300 seconds would be a few hundred thousand; those of the present one are enough.
_sign_key = lru_cache(maxsize=1024)(_hmac_sha1)
