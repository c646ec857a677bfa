"""The 19 probes against the COS emulator, and their results for a bucket that behaves differently."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from PIL import Image

from gateway.catalog.record import ImageRecord
from gateway.checks.deep_probes import PROBES, Result, Subject, Verdict, run_probes
from gateway.checks.deep_session import DeepSession, open_deep_session
from gateway.presign.credentials import Credentials
from gateway.presign.hosts import Hosts
from gateway.presign.probe_signer import ProbeSigner
from gateway.settings import CosSettings
from gateway_dev.cos_emulator.access import Credential
from gateway_dev.cos_emulator.faults import Action, Chunked, Cut, Fault, Headers, Html, Refuse
from gateway_dev.cos_emulator.server import CosEmulator
from tests.conftest import BUCKET, SECRET_ID, SECRET_KEY
from tests.cos_emulator.pictures import encoded

KEY = "objects/cat.png"
IMAGE = ImageRecord("cat", None, True, BUCKET, "ap-guangzhou", KEY, "image/png")
PNG = encoded(Image.new("RGB", (64, 48), "teal"))
AWKWARD = ("a b.png", "a+b.png", "a%2Fb.png", "图片.png", "a//b.png", "a./b.png")
TOKEN = "the-token/of+a=session"


async def at_once(seconds: float) -> None:
    """Let other tasks run instead of waiting."""
    del seconds
    await asyncio.sleep(0)


@pytest.fixture
def bucket(cos: CosEmulator) -> CosEmulator:
    """A bucket with an image, keys with special characters, and an object that is not an image."""
    cos.store.put(BUCKET, KEY, PNG, content_type="image/png")
    for key in AWKWARD:
        cos.store.put(BUCKET, key, PNG, content_type="image/png")
    cos.store.put(BUCKET, "text.txt", b"no image", content_type="text/plain")
    return cos


@pytest.fixture
async def session() -> AsyncIterator[DeepSession]:
    """A session that never waits."""
    async with open_deep_session(30, sleep=at_once) as session:
        yield session


def subject_of(cos: CosEmulator, session: DeepSession, *, token: str | None = None) -> Subject:
    """Return everything that can be probed."""
    place = f"127.0.0.1:{cos.port}"
    settings = CosSettings(bucket=BUCKET, scheme="http", domain=place, secret_id=SECRET_ID, secret_key=SECRET_KEY)
    credentials, styles = Credentials(SECRET_ID, SECRET_KEY, token), {"small": "imageMogr2/thumbnail/16x"}
    signer = ProbeSigner(credentials, Hosts(settings), styles)
    return Subject(IMAGE, session, signer, ("small",), "text.txt", "text.txt", AWKWARD, 30)


def temporary(bucket: CosEmulator) -> CosEmulator:
    """Return an emulator of the same objects with temporary credentials."""
    return CosEmulator(bucket.store, {SECRET_ID: Credential(SECRET_KEY, TOKEN)}, default_bucket=BUCKET)


async def probed(subject: Subject, *numbers: int) -> list[Result]:
    """Return the results of these probes, or of all."""
    return [result async for _, result in run_probes(subject, numbers)]


async def report_of(subject: Subject, *numbers: int) -> str:
    """Return the lines of the report."""
    results = [result async for _, result in run_probes(subject, numbers)]
    return "\n".join(f"{result.verdict} {result.title}: {result.what}" for result in results)


async def test_the_emulator_fails_no_probe(bucket: CosEmulator, session: DeepSession) -> None:
    numbered = [found async for found in run_probes(subject_of(bucket, session))]
    assert {number for number, _ in numbered} == set(range(1, 20))
    results = [result for _, result in numbered]
    assert [result for result in results if result.verdict is Verdict.FAIL] == []
    # No TLS here, and its credentials are permanent.
    assert [result.title for result in results if result.verdict is Verdict.WARN] == ["DNS, TLS"]
    assert [result.title for result in results if result.verdict is Verdict.SKIPPED] == ["token"]


async def test_the_report_has_no_url_no_key_and_no_secret(bucket: CosEmulator, session: DeepSession) -> None:
    async with temporary(bucket) as cos:
        report = await report_of(subject_of(cos, session, token=TOKEN))
    for secret in ("http", "q-sign", SECRET_ID, SECRET_KEY, TOKEN, KEY, "objects/"):
        assert secret not in report
    for line in report.splitlines():
        assert line.split()[0] in {"ok", "fail", "warn", "note", "skip"}


async def test_temporary_credentials_are_probed(bucket: CosEmulator, session: DeepSession) -> None:
    async with temporary(bucket) as cos:
        results = await probed(subject_of(cos, session, token=TOKEN), 12)
    assert [(result.title, result.verdict) for result in results] == [
        ("token right", Verdict.OK),
        ("token altered", Verdict.OK),
        ("token missing", Verdict.OK),
    ]


STRICT = Refuse(status=403, code="AccessDenied")


@pytest.mark.parametrize(
    ("number", "action", "skip", "title"),
    [
        (2, Refuse(status=404, code="NoSuchBucket"), 0, "GET of a random key"),
        (3, STRICT, 0, "GET with a GET URL"),
        (4, Html(), 0, "altered signature"),
        (5, STRICT, 1, "unsigned Range"),
        (6, Refuse(status=500, code="InternalError"), 1, "Range 0-0"),
        (7, Headers(remove=["ETag"]), 1, "Range, right If-Match"),
        (8, Headers(remove=["x-cos-hash-crc64ecma"], add=[("x-cos-hash-crc64ecma", "1")]), 0, "CRC-64"),
        (8, Headers(remove=["ETag"], add=[("ETag", 'W/"weak"')]), 0, "ETag"),
        (9, Html(), 1, "style small: GET"),
        (10, STRICT, 1, "style small: HEAD"),
        (13, STRICT, 0, "host in lower case"),
        (14, Cut(at=10), 0, "a URL of 20 s read for 40 s"),
        (16, Html(), 0, "a second value after"),
    ],
)
async def test_a_bucket_that_behaves_otherwise_fails_the_probe(
    bucket: CosEmulator, session: DeepSession, number: int, action: Action, skip: int, title: str
) -> None:
    bucket.faults.add(Fault(action=action, skip=skip))
    failed = [result.title for result in await probed(subject_of(bucket, session), number) if result.verdict == "fail"]
    assert title in failed


async def test_an_awkward_key_that_is_missing_fails(bucket: CosEmulator, session: DeepSession) -> None:
    bucket.store.delete(BUCKET, "a+b.png")
    results = await probed(subject_of(bucket, session), 17)
    assert [result.title for result in results if result.verdict is Verdict.FAIL] == ["key 2"]


@pytest.mark.parametrize(
    ("number", "action", "got"),
    [
        (2, STRICT, "403 AccessDenied: no right to list, or a policy"),
        (18, Refuse(status=414, code="InvalidURI"), "414 InvalidURI: long tokens may fail"),
    ],
)
async def test_what_the_gateway_can_do_without_is_a_warning(
    bucket: CosEmulator, session: DeepSession, number: int, action: Action, got: str
) -> None:
    bucket.faults.add(Fault(action=action))
    (result,) = await probed(subject_of(bucket, session), number)
    assert (result.verdict, result.got) == (Verdict.WARN, got)


async def test_a_bucket_that_obeys_or_refuses_unsigned_parameters_is_recorded_and_held_against_the_configuration(
    bucket: CosEmulator, session: DeepSession
) -> None:
    subject = subject_of(bucket, session)
    for refuses in (False, True):
        if refuses:
            bucket.faults.add(Fault(action=STRICT, skip=1, times=3))
        *attempts, found = await probed(subject, 19)
        assert [result.got.startswith("403") for result in attempts] == [refuses] * 3
        assert found.got == ("refused is right" if refuses else "obeyed is right")
        assert {result.verdict for result in (*attempts, found)} == {Verdict.RECORDED}
        bucket.faults.clear()
    strict = replace(subject, is_strict=True)
    assert {result.verdict for result in await probed(strict, 19)} == {Verdict.FAIL}
    bucket.faults.add(Fault(action=STRICT, skip=1, times=3))
    assert {result.verdict for result in await probed(strict, 19)} == {Verdict.OK}


async def test_chunks_and_checksums_of_processed_images_are_recorded(bucket: CosEmulator, session: DeepSession) -> None:
    bucket.faults.add(Fault(action=Chunked(), skip=1))
    got, checksum = await probed(subject_of(bucket, session), 9)
    assert (got.verdict, "chunks" in got.got) == (Verdict.OK, True)
    assert checksum.verdict is Verdict.RECORDED


async def test_a_server_that_is_away_fails_every_probe_and_ends_none_early(session: DeepSession) -> None:
    made = CosSettings(bucket=BUCKET, scheme="http", domain="127.0.0.1:1", secret_id="a", secret_key="b")
    subject = Subject(IMAGE, session, ProbeSigner(Credentials("a", "b"), Hosts(made), {}), timeout=3)
    results = [found async for found in run_probes(subject)]
    assert {number for number, _ in results} == set(range(1, len(PROBES) + 1))
    assert {number for number, result in results if result.verdict is Verdict.FAIL} >= {2, 3, 5, 8, 13, 18}
