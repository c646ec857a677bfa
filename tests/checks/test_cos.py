"""Findings on COS, asked of the emulator: buckets, prefixes, keys, the clock."""

import re
import time
from collections.abc import AsyncIterator, Mapping
from types import MappingProxyType

import pytest

from gateway.catalog.record import ImageRecord
from gateway.checks.cos import CosCheck
from gateway.findings.finding import Finding, well
from gateway.origin.client import open_origin
from gateway.presign.credentials import Credentials
from gateway.presign.hosts import Hosts
from gateway.presign.signer import Signer
from gateway.presign.url_lifetime import CosClock
from gateway.service.metrics import Metrics
from gateway.settings import CosSettings, ImageProxySettings, Live
from gateway_dev.cos_emulator.access import Credential
from gateway_dev.cos_emulator.faults import Fault, Redirect, Refuse
from gateway_dev.cos_emulator.server import CosEmulator
from gateway_dev.cos_emulator.store import ObjectStore
from tests.conftest import BUCKET, SECRET_ID, SECRET_KEY
from tests.here import Here
from tests.url_settings import lifetime_of, url_cache

OTHER = "other-1250000000"
REGION = "ap-guangzhou"
CREDENTIALS = Credentials(SECRET_ID, SECRET_KEY)
NO_BUCKETS: Mapping[str, str] = MappingProxyType({})


def emulator(now_differs: float = 0.0) -> CosEmulator:
    """An emulator with two buckets, an object in each. Its clock differs from that of this machine, in seconds."""
    objects = ObjectStore()
    for bucket in (BUCKET, OTHER):
        objects.create_bucket(bucket)
        objects.put(bucket, f"{bucket}.png", b"an image", content_type="image/png")
    return CosEmulator(
        objects, {SECRET_ID: Credential(SECRET_KEY)}, skew_tolerance=3600, now=lambda: time.time() + now_differs
    )


@pytest.fixture
async def store() -> AsyncIterator[CosEmulator]:
    """An emulator whose clock is right."""
    async with emulator() as running:
        yield running


async def findings(
    store: CosEmulator | int,
    *images: ImageRecord,
    buckets: Mapping[str, str] = NO_BUCKETS,
    credentials: Credentials = CREDENTIALS,
) -> list[Finding]:
    """Return what a check of the emulator, or of this port, finds. That the clock is right is left out."""
    port = store if isinstance(store, int) else store.port
    place = f"{{bucket}}.cos.test.myqcloud.com:{port}"
    settings = CosSettings(bucket=BUCKET, scheme="http", domain=place, secret_id=SECRET_ID, secret_key=SECRET_KEY)
    hosts, metrics, clock = Hosts(settings), Metrics(), CosClock()
    signer = Signer(
        lambda _: credentials, hosts, Live(url_cache(3600, window=1)), metrics=metrics.presign, now=clock.now
    )
    opening = open_origin(
        Live(ImageProxySettings(timeout=30)), max_connections=2, metrics=metrics.origin, resolver=Here()
    )
    async with opening as origin:
        check = CosCheck(origin, signer, lifetime_of(3600, 60, 900), hosts, clock)
        found = [finding async for finding in check.findings(images, buckets, "there is no image to read yet")]
    return [finding for finding in found if finding != well("clock", "within 30 s of COS's")]


def in_bucket(bucket: str) -> ImageRecord:
    """Return the row of the image in the bucket."""
    return ImageRecord(f"in-{bucket}", None, True, bucket, REGION, f"{bucket}.png", None)


async def test_each_bucket_of_the_rows_is_asked(store: CosEmulator) -> None:
    found = await findings(store, in_bucket(BUCKET), in_bucket(OTHER))
    for finding, bucket in zip(found, (BUCKET, OTHER), strict=True):
        place = f"http://{bucket}.cos.test.myqcloud.com:{store.port}"
        assert (finding.is_well, finding.where, finding.advice) == (True, f"cos {bucket}", "")
        assert finding.what == f"GET 206 and HEAD 200 at {place}, row in-{bucket}"


@pytest.mark.parametrize(
    ("status", "code", "what", "advice"),
    [
        (404, "NoSuchKey", "404 NoSuchKey", "postgres.columns.key"),
        (404, "NoSuchBucket", "404 NoSuchBucket", "cos.bucket"),
        (403, "SignatureDoesNotMatch", "403 SignatureDoesNotMatch", "cos.secret_key"),
        (403, "InvalidAccessKeyId", "403 InvalidAccessKeyId", "cos.secret_id"),
        (400, "ExpiredToken", "400 ExpiredToken", "cos.token"),
        (403, "RequestTimeTooSkewed", "403 RequestTimeTooSkewed", "clock"),
        (403, "AccessDenied", "403 AccessDenied", "GetObject"),
        (403, "InvalidObjectState", "403 InvalidObjectState", "archived"),
        (403, "", "403", "7730"),
        (302, "", "302", "7730"),
        (429, "TooManyRequests", "429 TooManyRequests", "fewer requests"),
        (503, "SlowDown", "503 SlowDown", "fewer requests"),
    ],
)
async def test_the_one_bucket_that_refuses_is_named_with_advice(
    store: CosEmulator, status: int, code: str, what: str, advice: str
) -> None:
    action = Redirect(location="/") if status == 302 else Refuse(status=status, code=code)
    store.faults.add(Fault(action=action, key=f"{OTHER}.png", times=None))
    works, fails = await findings(store, in_bucket(BUCKET), in_bucket(OTHER))
    assert works.is_well
    assert (fails.is_well, fails.where) == (False, f"cos {OTHER}")
    assert fails.stops_start == (code not in {"InvalidObjectState", "NoSuchKey", "SlowDown", "TooManyRequests"})
    assert f"COS answered {what} at" in fails.what
    assert advice in fails.advice


async def test_a_bucket_without_rows_is_asked_for_a_made_up_key(store: CosEmulator) -> None:
    """But the default bucket is not, if every row names another one."""
    buckets = dict.fromkeys(("default-1250000000", BUCKET, OTHER, "third-1250000000"), REGION)
    works, unnamed, missing = await findings(store, in_bucket(BUCKET), buckets=buckets)
    assert (works.where, works.is_well) == (f"cos {BUCKET}", True)
    assert (unnamed.where, unnamed.is_well) == (f"cos {OTHER}", True)
    assert unnamed.what.startswith("the signature was accepted at ")
    assert unnamed.what.endswith("; no row names it")
    assert (missing.where, missing.is_well) == ("cos third-1250000000", False)
    assert "404 NoSuchBucket" in missing.what
    for code, is_warning in (("", False), ("AccessDenied", True)):
        if code:
            store.faults.add(Fault(action=Refuse(status=403, code=code)))
        [found] = await findings(store, buckets={BUCKET: REGION})
        assert found.level == ("warning" if is_warning else "ok")
        assert "; there is no image to read yet" in found.what


async def test_expired_credentials_are_not_sent_to_cos(store: CosEmulator) -> None:
    ended = Credentials(SECRET_ID, SECRET_KEY, "token", int(time.time()) - 1)
    [found] = await findings(store, in_bucket(BUCKET), credentials=ended)
    assert (found.is_well, found.stops_start) == (False, True)
    assert "end too soon" in found.what
    assert "renew cos.token, or see the source" in found.advice
    assert not store.request_log.requests


async def test_a_head_that_is_refused_is_reported_although_get_works(store: CosEmulator) -> None:
    store.faults.add(Fault(action=Refuse(status=403, code="AccessDenied"), method="HEAD"))
    [found] = await findings(store, in_bucket(BUCKET))
    assert not found.is_well
    assert "GET 206, but HEAD 403" in found.what
    assert "HeadObject" in found.advice


@pytest.mark.parametrize("code", ["RequestTimeTooSkewed", "AccessDenied", "SignatureDoesNotMatch"])
@pytest.mark.parametrize(("differs", "words"), [(3900, r"(389\d|3900) s slow"), (-3900, r"390\d s fast")])
async def test_a_url_that_is_accepted_once_the_clock_is_right_blames_the_clock_and_not_the_credentials(
    code: str, differs: float, words: str
) -> None:
    async with emulator(differs) as store:
        store.faults.add(Fault(action=Refuse(status=403, code=code)))
        [found] = await findings(store, in_bucket(BUCKET))
    assert (found.is_well, found.stops_start) == (False, False)
    assert re.search(words, found.what)
    assert found.advice == "synchronize it (NTP)"


@pytest.mark.parametrize(("differs", "words"), [(600, r"(59\d|600) s slow"), (-600, r"60\d s fast"), (20, None)])
async def test_a_clock_that_differs_is_a_warning_if_cos_accepts_the_signature(
    differs: float, words: str | None
) -> None:
    async with emulator(differs) as store:
        works, *clock = await findings(store, in_bucket(BUCKET))
    assert works.is_well
    assert [(found.where, found.level) for found in clock] == [("clock", "warning")] * bool(words)
    assert all(re.search(words or "", found.what) for found in clock)


async def test_credentials_that_may_not_read_are_reported_although_the_clock_differs() -> None:
    async with emulator(600) as store:
        store.faults.add(Fault(action=Refuse(status=403, code="AccessDenied"), times=None))
        fails, clock = await findings(store, in_bucket(BUCKET))
    assert "GetObject" in fails.advice
    assert "s slow" in clock.what


def rows(*keys: str) -> list[ImageRecord]:
    """Return the rows of these keys, whose ids are numbers."""
    return [
        ImageRecord(f"row-{number}", None, True, BUCKET, "ap-guangzhou", key, None) for number, key in enumerate(keys)
    ]


async def of_rows(store: CosEmulator, *keys: str) -> list[Finding]:
    """Return the findings on these keys; COS has those that begin with ``open/``, and denies ``denied/``."""
    for key in keys:
        if key.startswith("open/"):
            store.store.put(BUCKET, key, b"an image", content_type="image/png")
    denied = Refuse(status=403, code="AccessDenied", message="Access Denied.")
    store.faults.add(Fault(action=denied, key="denied/*", times=None))
    return await findings(store, *rows(*keys))


async def test_rows_below_a_prefix_that_a_policy_denies_are_grouped_and_the_advice_names_the_prefix(
    store: CosEmulator,
) -> None:
    works, fails = await of_rows(store, "denied/a.png", "open/b.png", "denied/c/d.png", "open/e.png")
    assert works.what.endswith("row row-1, and GET of 1 other rows")
    assert (fails.is_well, fails.stops_start) == (False, False)
    assert "COS answered 403 AccessDenied" in fails.what
    assert "to 2 of 4 rows: 2 of 2 below denied/, such as row row-0" in fails.what
    assert "GetObject on denied/*" in fails.advice
    (every,) = await of_rows(store, "denied/a.png", "denied/b.png")
    assert (every.is_well, every.stops_start) == (False, True), "nothing can be served"
    assert "GetObject on the bucket" in every.advice


async def test_some_missing_objects_are_a_warning_and_only_missing_objects_a_failure(store: CosEmulator) -> None:
    _, some = await of_rows(store, "gone/a.png", "open/b.png", "c.png")
    assert some.level == "warning"
    assert "404 NoSuchKey" in some.what
    assert "2 of 3 rows: 1 of 1 below gone/, 1 of 1 without a prefix" in some.what
    (every,) = await of_rows(store, "gone/a.png", "gone/b.png")
    assert (every.is_well, every.stops_start) == (False, False)


async def test_many_prefixes_are_counted(store: CosEmulator) -> None:
    _, fails = await of_rows(store, "open/a.png", *(f"{number}/a.png" for number in range(9)))
    assert "1 of 1 below 0/, 1 of 1 below 1/, 1 of 1 below 2/, and 6 other prefixes" in fails.what


@pytest.mark.parametrize(
    ("key", "problem"),
    [
        (" cat.png", "begins with a space"),
        ("cat.png\n", "ends with a space"),
        (f"https://{BUCKET}.cos.ap-guangzhou.myqcloud.com/cat.png", "is a whole URL"),
        ("cat.png", None),
    ],
)
async def test_a_key_that_no_object_was_stored_under_is_named_as_what_it_is(
    store: CosEmulator, key: str, problem: str | None
) -> None:
    (fails,) = await of_rows(store, key)
    assert "404 NoSuchKey" in fails.what
    assert (f"row-0, whose key {problem}" in fails.what) == (problem is not None)
    assert "postgres.columns.key" in fails.advice
    (works,) = await of_rows(store, "open/a.png ")
    assert works.is_well, "an object may have such a key"


async def test_a_refused_connection_names_the_host() -> None:
    [fails] = await findings(1, in_bucket(BUCKET))
    assert f"no answer at http://{BUCKET}.cos.test.myqcloud.com" in fails.what
    assert "cos.region" in fails.advice
