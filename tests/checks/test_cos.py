"""One bucket of two that fails, asked of a real server: the other one works."""

import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import pytest

from gateway.catalog.record import ImageRecord
from gateway.checks.cos import CosCheck
from gateway.checks.finding import Finding
from gateway.origin.client import open_origin
from gateway.origin.errors import CosError
from gateway.presign.credentials import Credentials
from gateway.presign.hosts import Hosts
from gateway.presign.signer import Signer
from gateway.service.metrics import Metrics
from gateway.settings import CosSettings, ImageProxySettings, Live
from gateway_dev.cos_emulator.access import Credential
from gateway_dev.cos_emulator.faults import Fault, Refuse
from gateway_dev.cos_emulator.server import CosEmulator
from gateway_dev.cos_emulator.store import ObjectStore
from tests.conftest import BUCKET, SECRET_ID, SECRET_KEY
from tests.here import Here
from tests.url_settings import url_cache

OTHER = "other-1250000000"


@asynccontextmanager
async def checking(port: int) -> AsyncIterator[CosCheck]:
    """A check of buckets at this port."""
    settings = CosSettings.model_validate(
        {
            "secret_id": SECRET_ID,
            "secret_key": SECRET_KEY,
            "bucket": BUCKET,
            "scheme": "http",
            "domain": f"{{bucket}}.cos.test.myqcloud.com:{port}",
        }
    )
    hosts, metrics = Hosts(settings), Metrics()
    signer = Signer(Credentials(SECRET_ID, SECRET_KEY), hosts, Live(url_cache(600, window=1)), metrics=metrics.presign)
    opening = open_origin(
        Live(ImageProxySettings(timeout=2)), max_connections=2, metrics=metrics.origin, resolver=Here()
    )
    async with opening as origin:

        async def ask(url: str, method: str, headers: Mapping[str, str]) -> CosError:
            return (await origin.diagnose(url, method, headers)).error

        yield CosCheck(
            ask,
            lambda image, method: signer.sign(image, method=method).url,
            lambda image: hosts.origin_of(image.bucket, image.region).host,
            time.time,
            lambda _: False,
        )


@pytest.fixture
async def store() -> AsyncIterator[CosEmulator]:
    """An emulator with two buckets, an object in each."""
    objects = ObjectStore()
    for bucket in (BUCKET, OTHER):
        objects.create_bucket(bucket)
        objects.put(bucket, f"{bucket}.png", b"an image", content_type="image/png")
    async with CosEmulator(objects, {SECRET_ID: Credential(SECRET_KEY)}) as emulator:
        yield emulator


async def findings(port: int, *buckets: str) -> list[Finding]:
    """Return a finding for each bucket."""
    async with checking(port) as check:
        images = [
            ImageRecord(f"in-{bucket}", None, True, bucket, "ap-guangzhou", f"{bucket}.png", None) for bucket in buckets
        ]
        return [finding for image in images for finding in await check.bucket([image])]


async def test_both_buckets_work(store: CosEmulator) -> None:
    for finding, bucket in zip(await findings(store.port, BUCKET, OTHER), (BUCKET, OTHER), strict=True):
        place = f"{bucket}.cos.test.myqcloud.com"
        assert (finding.is_well, finding.name) == (True, f"cos {bucket}")
        assert finding.what == f"GET 206 and HEAD 200 at {place}, row in-{bucket}"


@pytest.mark.parametrize(
    ("status", "code", "advice"), [(403, "AccessDenied", "GetObject"), (404, "NoSuchBucket", "cos.bucket")]
)
async def test_one_bucket_that_refuses_is_named(store: CosEmulator, status: int, code: str, advice: str) -> None:
    store.faults.add(Fault(action=Refuse(status=status, code=code), key=f"{OTHER}.png", times=None))
    works, fails = await findings(store.port, BUCKET, OTHER)
    assert works.is_well
    assert not fails.is_well
    assert fails.name == f"cos {OTHER}"
    assert f"COS answered {status} {code}" in fails.what
    assert advice in fails.advice


async def test_a_bucket_that_does_not_exist_is_named(store: CosEmulator) -> None:
    works, fails = await findings(store.port, BUCKET, "third-1250000000")
    assert works.is_well
    assert "404 NoSuchBucket" in fails.what


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
    async with checking(store.port) as check:
        return await check.bucket(rows(*keys))


async def test_rows_below_a_prefix_that_a_policy_denies_are_grouped_and_the_advice_names_the_prefix(
    store: CosEmulator,
) -> None:
    works, fails = await of_rows(store, "denied/a.png", "open/b.png", "denied/c/d.png", "open/e.png")
    assert works.what.endswith("row row-1, and GET of 1 other rows")
    assert (fails.is_well, fails.stops_start) == (False, False)
    assert "COS answered 403 AccessDenied" in fails.what
    assert "to 2 of 4 rows: 2 of 2 below denied/, such as row row-0" in fails.what
    assert "GetObject on denied/*" in fails.advice


async def test_credentials_that_may_read_no_row_stop_a_start(store: CosEmulator) -> None:
    (fails,) = await of_rows(store, "denied/a.png", "denied/b.png")
    assert (fails.is_well, fails.stops_start) == (False, True)
    assert "GetObject on the bucket" in fails.advice


async def test_some_missing_objects_are_a_warning_and_only_missing_objects_a_failure(store: CosEmulator) -> None:
    _, some = await of_rows(store, "gone/a.png", "open/b.png", "c.png")
    assert (some.is_well, some.is_warning) == (True, True)
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


async def test_an_object_whose_key_ends_with_a_space_is_no_mistake(store: CosEmulator) -> None:
    (works,) = await of_rows(store, "open/a.png ")
    assert works.is_well


async def test_a_refused_connection_names_the_host(store: CosEmulator) -> None:
    del store
    (fails,) = await findings(1, BUCKET)
    assert f"no answer at {BUCKET}.cos.test.myqcloud.com" in fails.what
    assert "cos.region" in fails.advice
