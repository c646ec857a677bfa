"""Findings and advice for each state of the dependencies."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from gateway.catalog.record import ImageRecord
from gateway.errors import CatalogUnavailable, CredentialsExpired, DependencyDown, OriginUnavailable
from gateway.ops.diagnostics import Finding, diagnose
from gateway.origin.cos_error import CosError

IMAGE = ImageRecord("cat", None, True, "photos-1250000000", "ap-guangzhou", "cat.png", None)


@dataclass
class Redis:
    """Accepts a write or raises."""

    error: Exception | None = None

    async def try_write(self) -> None:
        """Return or raise as configured."""
        if self.error is not None:
            raise self.error


@dataclass
class Postgres:
    """Has an image or none, or raises."""

    found: ImageRecord | Exception | None = IMAGE
    links: Exception | None = None

    async def any_image(self) -> ImageRecord | None:
        """Return or raise as configured."""
        if isinstance(self.found, Exception):
            raise self.found
        return self.found

    async def try_links(self) -> None:
        """Return or raise as configured."""
        if self.links is not None:
            raise self.links


@dataclass
class Cos:
    """Answers the URL of ``key`` alone."""

    key: str = "cat.png"
    answer: tuple[int, str | None] | Exception = (206, None)
    date: float | None = None
    is_expired: bool = False

    async def diagnose(self, url: str) -> CosError:
        """Return or raise as configured."""
        assert url == f"https://cos/{self.key}"
        if isinstance(self.answer, Exception):
            raise self.answer
        return CosError(*self.answer, self.date, self.is_expired)


WORKING_REDIS = Redis()
WORKING_POSTGRES = Postgres()
WORKING_COS = Cos()


async def findings(
    redis: Redis | None = WORKING_REDIS,
    postgres: Postgres = WORKING_POSTGRES,
    cos: Cos = WORKING_COS,
    *,
    presign: Callable[[ImageRecord], str] = lambda image: f"https://cos/{image.key}",
    signs_links: bool = False,
) -> dict[str, Finding]:
    """Return the findings by name, in the order they were yielded."""
    diagnosis = diagnose(
        redis,
        postgres,
        cos,
        presign=presign,
        bucket="photos-1250000000",
        region="ap-guangzhou",
        signs_links=signs_links,
        now=lambda: 10_000,
    )
    return {finding.name: finding async for finding in diagnosis}


async def test_working_dependencies_come_without_advice() -> None:
    found = await findings()
    assert list(found) == ["redis", "postgres", "cos"]
    assert all(finding.is_well and not finding.advice for finding in found.values())


async def test_a_cache_that_is_turned_off_is_not_a_failure() -> None:
    assert (await findings(redis=None))["redis"] == Finding("redis", True, "turned off by url_cache.enabled")


async def test_a_redis_that_refuses_writes_is_reported_with_its_reason() -> None:
    found = (await findings(redis=Redis(DependencyDown("READONLY You can't write against a read only replica."))))[
        "redis"
    ]
    assert not found.is_well
    assert found.what.startswith("READONLY")
    assert "redis.url" in found.advice


async def test_cos_is_tried_although_postgres_failed() -> None:
    down = Postgres(CatalogUnavailable("there is no table images with a column id"))
    found = await findings(postgres=down, cos=Cos("check", (404, "NoSuchKey")))
    assert found["postgres"].what == "there is no table images with a column id"
    assert "postgres.columns" in found["postgres"].advice
    assert found["cos"].is_well, "the signature was accepted: without an image, no more can be checked"
    assert "no image was read" in found["cos"].what


async def test_the_table_of_links_is_tried_if_postgres_answers_and_links_are_signed() -> None:
    assert "signed_links" not in await findings()
    found = await findings(signs_links=True)
    assert list(found) == ["redis", "postgres", "signed_links", "cos"]
    assert found["signed_links"].is_well
    down = Postgres(CatalogUnavailable("connection refused"), links=CatalogUnavailable("connection refused"))
    assert "signed_links" not in await findings(postgres=down, cos=Cos("check"), signs_links=True)


async def test_a_failure_of_the_table_of_links_is_not_one_of_the_images() -> None:
    found = await findings(postgres=Postgres(links=CatalogUnavailable("not all granted")), signs_links=True)
    assert [name for name, finding in found.items() if not finding.is_well] == ["signed_links"]
    assert "config/sql/links.sql" in found["signed_links"].advice


async def test_expired_credentials_are_not_sent_to_cos() -> None:
    def presign(image: ImageRecord) -> str:
        raise CredentialsExpired("cos.token_expires_at is past")

    found = (await findings(cos=Cos(answer=AssertionError("COS was requested")), presign=presign))["cos"]
    assert (found.is_well, found.what) == (False, "cos.token_expires_at is past")
    assert "renew cos.token" in found.advice


async def test_an_empty_table_is_not_a_failure() -> None:
    found = await findings(postgres=Postgres(None), cos=Cos("check", (404, "NoSuchKey")))
    assert all(finding.is_well for finding in found.values())
    assert "no active image" in found["postgres"].what


@pytest.mark.parametrize(
    ("answer", "what", "advice"),
    [
        ((404, "NoSuchKey"), "404 NoSuchKey", "postgres.columns.key"),
        ((404, "NoSuchBucket"), "404 NoSuchBucket", "cos.bucket"),
        ((403, "SignatureDoesNotMatch"), "403 SignatureDoesNotMatch", "cos.secret_key"),
        ((403, "InvalidAccessKeyId"), "403 InvalidAccessKeyId", "cos.secret_id"),
        ((400, "ExpiredToken"), "400 ExpiredToken", "cos.token"),
        ((403, "RequestTimeTooSkewed"), "403 RequestTimeTooSkewed", "clock"),
        ((403, "AccessDenied"), "403 AccessDenied", "GetObject"),
        ((403, "InvalidObjectState"), "403 InvalidObjectState", "archived"),
        ((403, None), "403", "7730"),
        ((302, None), "302", "7730"),
        ((503, "SlowDown"), "503 SlowDown", "7730"),
        (OriginUnavailable("ClientConnectorError: refused"), "no answer: ClientConnectorError", "cos.region"),
    ],
)
async def test_an_error_of_cos_comes_with_advice(
    answer: tuple[int, str | None] | Exception, what: str, advice: str
) -> None:
    found = (await findings(cos=Cos(answer=answer)))["cos"]
    assert not found.is_well
    assert what in found.what
    assert advice in found.advice


async def test_a_missing_bucket_is_reported_without_an_image() -> None:
    found = await findings(postgres=Postgres(None), cos=Cos("check", (404, "NoSuchBucket")))
    assert not found["cos"].is_well


@pytest.mark.parametrize("code", ["RequestTimeTooSkewed", "AccessDenied"])
@pytest.mark.parametrize(("date", "words"), [(13_900, "3900 s slow"), (6_100, "3900 s fast")])
async def test_a_refusal_of_the_time_blames_the_clock_and_not_the_credentials(
    code: str, date: float, words: str
) -> None:
    found = (await findings(cos=Cos(answer=(403, code), date=date, is_expired=True)))["cos"]
    assert not found.is_well
    assert words in found.what
    assert found.advice == "synchronize it (NTP)"


@pytest.mark.parametrize(("date", "warns"), [(10_600, True), (9_400, True), (10_029, False), (9_971, False)])
async def test_a_clock_that_differs_is_a_warning_if_cos_accepts_the_signature(date: float, warns: bool) -> None:
    found = await findings(cos=Cos(date=date))
    assert all(finding.is_well for finding in found.values())
    assert ("clock" in found) == warns
    if warns:
        assert found["clock"].is_warning


async def test_credentials_that_may_not_read_are_reported_although_the_clock_differs() -> None:
    found = await findings(cos=Cos(answer=(403, "AccessDenied"), date=10_600))
    assert "GetObject" in found["cos"].advice
    assert "600 s slow" in found["clock"].what
