"""Every parser of untrusted input, each as a function of bytes that asserts the properties of the result.

``test_parsers`` calls them with the corpus and with inputs of hypothesis, ``fuzz`` with inputs of atheris.
"""

import contextlib
import re
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import get_args
from urllib.parse import unquote

from multidict import CIMultiDict, MultiDict, MultiMapping

from gateway.access.identity import Authenticator
from gateway.access.jwks import Jwks
from gateway.access.request_head import RequestHead, is_address_of, original_address
from gateway.access.signed_links import BadLink, SignedLinks
from gateway.api.beacons import MAX_BYTES, MAX_LOADS, MAX_SECONDS, Beacon, BytesSource, LoadResult
from gateway.catalog.image_id import parse_image_id
from gateway.delivery.accept import accepts_image
from gateway.delivery.conditions_and_ranges import ByteRange, forwardable_conditions, plan_for
from gateway.delivery.decision import ImageRequest
from gateway.delivery.parameters import VariantRequests
from gateway.errors import InvalidAlias, InvalidBeacon, InvalidImageId, InvalidRequest, PreconditionFailed
from gateway.net.bounded_http import ServiceUnavailable
from gateway.net.http_fields import content_disposition
from gateway.origin.origin_response import ObjectMetadata
from gateway.presign.credentials import Credentials
from gateway.presign.hosts import Hosts
from gateway.presign.signer import Signer
from gateway.presign.style_variants import ImageVariant, Renditions
from gateway.redis_entries.url_entries import EntryCodec, EntryMac
from gateway.service.metrics import Metrics
from gateway.settings import AccessSettings, CosSettings, Live, SignedLinksSettings, StyleSettings, VariantSettings
from gateway.settings.sources import SettingsError, load_settings
from gateway.urls.aliases import alias_in
from tests.url_settings import url_cache

SECRET = "a-secret-of-the-fuzzer-of-thirty-two-bytes-or-more"
COS = CosSettings.model_validate({"secret_id": "AKID", "secret_key": SECRET, "bucket": "photos-1250000000"})
AUTHENTICATOR = Authenticator(
    Live(
        AccessSettings.model_validate(
            {
                "jwt": {"secret": SECRET, "cookie": "session", "audience": "images"},
                "forwarded_user": {"trusted_proxies": ["10.0.0.0/8"]},
            }
        )
    )
)
LINKS = SignedLinks(Live(SignedLinksSettings.model_validate({"keys": {"k": SECRET}})), now=lambda: 1_700_000_000.0)
RENDITIONS = Renditions(
    {"thumb": "imageMogr2/thumbnail/10x10", "card": StyleSettings(formats=("avif", "webp"))},
    VariantSettings(negotiate="accept"),
)
VARIANTS = VariantRequests(Live(RENDITIONS))
HOSTS = Hosts(COS)
SIGNER = Signer(lambda _: Credentials("AKID", SECRET), HOSTS, Live(url_cache()), metrics=Metrics().presign)
ENTRIES = EntryCodec(EntryMac(Live((SECRET, None))), SIGNER)
METADATA = ObjectMetadata(9, '"5d41402abc4b2a76b9719d911017c592"', "Tue, 14 Nov 2023 22:13:20 GMT", None, None)
_SETTINGS_FILE = Path(tempfile.mkdtemp(prefix="image-gateway-fuzz-")) / "gateway.yaml"


def _words(data: bytes, count: int) -> list[str]:
    """Return ``count`` strings as aiohttp decodes them: invalid UTF-8 becomes lone surrogates."""
    words = data.decode(errors="surrogateescape").split("\n", count - 1)
    return words + [""] * (count - len(words))


def image_ids(data: bytes) -> None:
    """Ids: unchanged or refused."""
    (text,) = _words(data, 1)
    try:
        parsed = parse_image_id(text)
    except InvalidImageId:
        return
    assert parsed == text
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._:@-]{0,127}", parsed, re.ASCII)


def image_requests(data: bytes) -> None:
    """Query and Range: one valid range or none, and a file name that cannot inject header text."""
    style, download, redirect, byte_range, width, dpr, ratio, image_format, version, accept = _words(data, 10)
    query = {"style": style, "download": download, "redirect": redirect}
    query |= {"w": width, "dpr": dpr, "r": ratio, "format": image_format, "v": version}
    present = {name: value for name, value in query.items() if value}
    chosen = VARIANTS.parameters_of(MultiDict(present), CIMultiDict({"Accept": accept}))
    wanted = ImageRequest(RequestHead("GET", "/i/a", "", CIMultiDict({"Range": byte_range}), None), "a", chosen)
    assert chosen.error is None or isinstance(chosen.error, InvalidRequest)
    assert RENDITIONS.has(chosen.rendition)
    assert wanted.byte_range is None or re.fullmatch(r"bytes=([0-9]+-[0-9]*|-[0-9]+)", str(wanted.byte_range), re.ASCII)
    if chosen.download is not None:
        header = content_disposition(chosen.download)
        plain, _, encoded = header.removeprefix('attachment; filename="').partition('"')
        assert re.fullmatch(r"[A-Za-z0-9 ._-]+", plain, re.ASCII)
        assert re.fullmatch(r"(; filename\*=UTF-8''[!-~]+)?", encoded, re.ASCII)


def conditions(data: bytes) -> None:
    """Conditional requests: every one is decided, and the fields forwarded to COS are well-formed."""
    names = ("If-None-Match", "If-Match", "If-Modified-Since", "If-Unmodified-Since")
    *values, if_range = _words(data, len(names) + 1)
    headers = {name: value for name, value in zip(names, values, strict=True) if value} | {"If-Range": if_range}
    for metadata in (METADATA, METADATA._replace(etag=None, last_modified=None)):
        with contextlib.suppress(PreconditionFailed):
            assert plan_for(CIMultiDict(headers), ByteRange(0, 1), metadata).status in {200, 206, 304}
    forwarded = forwardable_conditions(CIMultiDict(headers))
    assert len(forwarded) <= 1
    assert re.fullmatch(r'"[^"]*"', forwarded.get("If-None-Match", '""'))


def link_parameters(data: bytes) -> None:
    """Link parameters: no input is a valid signature."""
    path, *pairs = data.decode(errors="surrogateescape").split("\n")
    _is_no_valid_link(path, MultiDict((name, value) for name, _, value in (pair.partition("=") for pair in pairs)))


def original_uris(data: bytes) -> None:
    """``X-Original-URI``: an address of the image, of an alias or none, and no input is a valid signature."""
    uri, image_id = _words(data, 2)
    with contextlib.suppress(InvalidAlias):
        assert len(alias_in(uri).encode()) <= 850
    address = original_address(CIMultiDict({"X-Original-URI": uri}))
    if address is None or not is_address_of(address.path, image_id or "a"):
        return
    path, query = address
    assert uri.startswith(path)
    assert unquote(path).split("/", 2)[1] in ("i", "api")
    _is_no_valid_link(path, query)


def _is_no_valid_link(path: str, query: MultiMapping[str]) -> None:
    with contextlib.suppress(BadLink):
        link = LINKS.read(path, query)
        assert link is None or not any(link.is_valid_for(killed) for killed in range(3))


def accepted_types(data: bytes) -> None:
    """Accept and Sec-Fetch-Dest: every request is an image's or a program's; no field, and ``*/*``, is a program's."""
    accept, destination = _words(data, 2)
    accepts_image({"Accept": accept, "Sec-Fetch-Dest": destination})
    if accepts_image({"Accept": accept}):
        assert "image/" in accept.lower()


def credentials(data: bytes) -> None:
    """Bearer tokens, cookies and a user header of an untrusted peer: no input becomes a user or the admin."""
    bearer, cookie, user = _words(data, 3)
    headers = CIMultiDict({"Authorization": f"Bearer {bearer}", "Cookie": cookie, "X-User-Id": user})
    for fields in (headers, CIMultiDict(list(headers.items())[1:]), CIMultiDict({"Authorization": bearer})):
        caller = AUTHENTICATOR.identify(fields, peer="127.0.0.1")
        assert caller.user is None


def cached_entries(data: bytes) -> None:
    """Cached entries: a value that no gateway signed is refused."""
    try:
        ENTRIES.decode(data, ImageVariant("a"))
    except ValueError:
        return
    raise AssertionError


def key_sets(data: bytes) -> None:
    """Key sets of an identity provider: usable keys, or ``ServiceUnavailable``."""
    with contextlib.suppress(ServiceUnavailable):
        Jwks(("RS256", "ES256", "EdDSA")).replace(data)


def beacons(data: bytes) -> None:
    """Reports of browsers: refused, or counts within their limits that a scrape shows."""
    try:
        beacon = Beacon.parse(data)
    except InvalidBeacon:
        return
    metrics = Metrics()
    beacon.count_in(metrics.beacons)
    samples = {
        (sample.name, *sample.labels.values()): sample.value
        for found in metrics.registry.collect()
        for sample in found.samples
    }
    loads = [value for (name, *_), value in samples.items() if name == "image_gateway_client_loads_total"]
    assert len(loads) == len(get_args(LoadResult))
    assert 0 <= min(loads) <= sum(loads) <= MAX_LOADS
    count = samples["image_gateway_client_load_seconds_count",]
    assert 0 <= count <= sum(loads)
    assert 0 <= samples["image_gateway_client_load_seconds_sum",] <= count * MAX_SECONDS
    for name, most in (("paint_seconds", MAX_SECONDS), ("picture_bytes", MAX_BYTES)):
        for source in get_args(BytesSource):
            found = samples.get((f"image_gateway_client_{name}_count", source), 0)
            assert 0 <= samples.get((f"image_gateway_client_{name}_sum", source), 0) <= found * most
            assert found <= (1 if name == "paint_seconds" else sum(loads))


def settings_files(data: bytes) -> None:
    """Configuration files: settings, or one line per mistake."""
    _SETTINGS_FILE.write_bytes(data)
    problems: list[str] = []
    try:
        load_settings(_SETTINGS_FILE)
    except SettingsError as error:
        problems = error.problems or [""]
    assert all(problem and "\n" not in problem for problem in problems)


TARGETS: dict[str, Callable[[bytes], None]] = {
    target.__name__: target
    for target in (
        *(image_ids, image_requests, conditions, link_parameters, original_uris, accepted_types),
        *(credentials, cached_entries, key_sets, beacons, settings_files),
    )
}


def run(target: Callable[[bytes], None], data: bytes, *, seconds: float = 2.0) -> None:
    """Call ``target`` with one input; fail if that takes longer than ``seconds`` of CPU time."""
    started = time.process_time()
    target(data)
    assert time.process_time() - started < seconds
