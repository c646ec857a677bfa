"""Findings and advice for each state of the dependencies."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import pytest

from gateway.catalog.database_report import DatabaseReport, FoundTable
from gateway.catalog.postgres import CatalogQueryRefused
from gateway.catalog.record import ImageRecord
from gateway.checks.cos import CosCheck
from gateway.checks.database import Database, DatabaseCheck
from gateway.checks.diagnostics import diagnose
from gateway.checks.finding import Finding
from gateway.checks.redis import RedisCheck
from gateway.errors import CatalogUnavailable, CredentialsExpired, OriginUnavailable
from gateway.monitoring.redis_probe import NodeState
from gateway.origin.errors import CosError

BUCKET = "photos-1250000000"
IMAGE = ImageRecord("cat", None, True, BUCKET, "ap-guangzhou", "cat.png", None)


@dataclass
class Redis:
    """A server that works."""

    async def try_nodes(self) -> list[NodeState]:
        """Return a result without a problem."""
        return [NodeState("")]

    async def try_out(self) -> None:
        """Return as if a message had arrived."""

    async def check(self) -> None:
        """Return as if Redis were what the settings say."""


REPORT = DatabaseReport("gateway at db:5432, database app", None, (), None, None)


@dataclass
class Postgres:
    """Has images or none, or raises."""

    found: list[ImageRecord] | Exception = field(default_factory=lambda: [IMAGE])
    links: Exception | None = None
    report: DatabaseReport | Exception = REPORT
    heard: float | Exception | None = 0.004

    async def sample_images(self) -> list[ImageRecord]:
        """Return or raise as configured."""
        if isinstance(self.found, Exception):
            raise self.found
        return self.found

    async def random_images(self, count: int) -> list[ImageRecord]:
        """Return the same images."""
        assert count == 20
        return await self.sample_images()

    async def try_links(self) -> None:
        """Return or raise as configured."""
        if self.links is not None:
            raise self.links

    async def inspect(self) -> DatabaseReport:
        """Return or raise as configured."""
        if isinstance(self.report, Exception):
            raise self.report
        return self.report

    async def time_notification(self) -> float | None:
        """Return or raise as configured."""
        if isinstance(self.heard, Exception):
            raise self.heard
        return self.heard


@dataclass
class Cos:
    """Answers GET of the URL of ``key`` with ``answer``, and HEAD with ``head``."""

    key: str = "cat.png"
    answer: tuple[int, str | None] | Exception = (206, None)
    date: float | None = None
    is_clock_wrong: bool = False  # COS accepts a URL that is signed at its own time
    head: int = 200
    signed_at: float = 10_000

    def moves(self, cos_time: float | None) -> bool:
        """Correct the clock."""
        is_moved = cos_time is not None and abs(cos_time - self.signed_at) >= 30
        if cos_time is not None and is_moved:
            self.signed_at = cos_time
        return is_moved

    async def diagnose(self, url: str, method: str, headers: Mapping[str, str]) -> CosError:
        """Return or raise as configured."""
        assert url == f"https://cos/{self.key}?{method}"
        assert headers == ({"Range": "bytes=0-0"} if method == "GET" else {})
        if isinstance(self.answer, Exception):
            raise self.answer
        if method == "HEAD":
            return CosError(self.head, None, self.date)
        if self.is_clock_wrong and self.signed_at == self.date:
            return CosError(206, None, self.date)
        return CosError(*self.answer, self.date)


WORKING_REDIS = RedisCheck(Redis().try_nodes, Redis().try_out, Redis().check, "redis:6379", "default", "image:", "")
WORKING_POSTGRES = Postgres()
WORKING_COS = Cos()
COS = f"cos {BUCKET}"


def presigned(image: ImageRecord, method: str) -> str:
    """Return a substitute for a presigned URL."""
    return f"https://cos/{image.key}?{method}"


async def findings(
    redis: RedisCheck | None = WORKING_REDIS,
    postgres: Postgres = WORKING_POSTGRES,
    cos: Cos = WORKING_COS,
    *,
    presign: Callable[[ImageRecord, str], str] = presigned,
    signs_links: bool = False,
    listens: bool = True,
    buckets: Mapping[str, str] = MappingProxyType({BUCKET: "ap-guangzhou"}),
) -> dict[str, Finding]:
    """Return the findings by name, in the order they were yielded."""
    database = Database(postgres.inspect, postgres.time_notification if listens else None)
    diagnosis = diagnose(
        redis,
        DatabaseCheck(postgres, database, signs_links=signs_links),
        CosCheck(cos.diagnose, presign, lambda image: f"https://{image.bucket}", lambda: 10_000, cos.moves),
        buckets=buckets,
    )
    return {finding.name: finding async for finding in diagnosis}


async def test_working_dependencies_come_without_advice() -> None:
    found = await findings()
    assert list(found) == ["redis", "invalidations", "postgres", "changes", COS]
    assert all(finding.is_well and not finding.advice for finding in found.values())


async def test_a_configured_bucket_that_no_row_names_is_asked_for_a_made_up_key() -> None:
    class Both(Cos):
        """Has an image of the row, and none of the made-up key."""

        async def diagnose(self, url: str, method: str, headers: Mapping[str, str]) -> CosError:
            return CosError(404, "NoSuchKey") if "check" in url else await super().diagnose(url, method, headers)

    found = await findings(cos=Both(), buckets={"default-1250000000": "x", BUCKET: "x", "new-1250000000": "x"})
    assert list(found) == ["redis", "invalidations", "postgres", "changes", COS, "cos new-1250000000"]
    assert all(finding.is_well for finding in found.values())
    assert "no row names it" in found["cos new-1250000000"].what


async def test_a_cache_that_is_turned_off_is_not_a_failure() -> None:
    assert (await findings(redis=None))["redis"] == Finding("redis", True, "turned off by url_cache.enabled")


async def test_cos_is_tried_although_postgres_failed() -> None:
    down = Postgres(CatalogQueryRefused("there is no table images with a column id"))
    found = await findings(postgres=down, cos=Cos("check", (404, "NoSuchKey")))
    assert found["postgres"].what.startswith("there is no table images with a column id")
    assert "postgres.columns" in found["postgres"].advice
    assert found[COS].is_well, "the signature was accepted: without an image, no more can be checked"
    assert "no image was read" in found[COS].what


async def test_the_table_of_links_is_tried_if_postgres_answers_and_links_are_signed() -> None:
    assert "signed_links" not in await findings()
    found = await findings(signs_links=True)
    assert list(found) == ["redis", "invalidations", "postgres", "changes", "signed_links", COS]
    assert found["signed_links"].is_well
    down = Postgres(CatalogUnavailable("connection refused"), links=CatalogUnavailable("connection refused"))
    assert "signed_links" not in await findings(postgres=down, cos=Cos("check"), signs_links=True)


async def test_a_failure_of_the_table_of_links_is_not_one_of_the_images() -> None:
    found = await findings(postgres=Postgres(links=CatalogUnavailable("not all granted")), signs_links=True)
    assert [name for name, finding in found.items() if not finding.is_well] == ["signed_links"]
    assert "config/sql/links.sql" in found["signed_links"].advice


async def test_expired_credentials_are_not_sent_to_cos() -> None:
    def presign(_image: ImageRecord, _method: str) -> str:
        raise CredentialsExpired("cos.token_expires_at is past")

    found = (await findings(cos=Cos(answer=AssertionError("COS was requested")), presign=presign))[COS]
    assert (found.is_well, found.what) == (False, "cos.token_expires_at is past")
    assert "renew cos.token" in found.advice


async def test_an_empty_table_is_a_warning() -> None:
    found = await findings(postgres=Postgres([]), cos=Cos("check", (404, "NoSuchKey")))
    assert all(finding.is_well for finding in found.values())
    assert [name for name, finding in found.items() if finding.is_warning] == ["postgres"]
    assert "no active image" in found["postgres"].what


async def test_a_table_whose_rows_are_hidden_or_of_an_ambiguous_name_is_a_warning_with_a_repair() -> None:
    table = FoundTable("public.images", ("public.images", "reader"), others=("app.images",))
    report = replace(REPORT, tables=[table], path_problem="the search path leads to public.images")
    found = await findings(postgres=Postgres(report=report))
    assert [name for name, finding in found.items() if finding.is_warning] == ["rows", "table"]
    assert found["rows"].advice == f"run: {table.repair}"
    assert "postgres.table" in found["table"].advice


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
        ((503, "SlowDown"), "503 SlowDown", "fewer requests"),
        (OriginUnavailable("ClientConnectorError: refused"), "ClientConnectorError: refused", "cos.region"),
    ],
)
async def test_an_error_of_cos_comes_with_advice(
    answer: tuple[int, str | None] | Exception, what: str, advice: str
) -> None:
    found = (await findings(cos=Cos(answer=answer)))[COS]
    assert not found.is_well
    assert what in found.what
    assert advice in found.advice


async def test_a_missing_bucket_is_reported_without_an_image() -> None:
    found = await findings(postgres=Postgres([]), cos=Cos("check", (404, "NoSuchBucket")))
    assert not found[COS].is_well


@pytest.mark.parametrize("code", ["RequestTimeTooSkewed", "AccessDenied", "SignatureDoesNotMatch"])
@pytest.mark.parametrize(("date", "words"), [(13_900, "3900 s slow"), (6_100, "3900 s fast")])
async def test_a_url_that_is_accepted_once_the_clock_is_right_blames_the_clock_and_not_the_credentials(
    code: str, date: float, words: str
) -> None:
    found = (await findings(cos=Cos(answer=(403, code), date=date, is_clock_wrong=True)))[COS]
    assert (found.is_well, found.stops_start) == (False, False)
    assert words in found.what
    assert found.advice == "synchronize it (NTP)"


@pytest.mark.parametrize(("date", "warns"), [(10_600, True), (9_400, True), (10_029, False), (9_971, False)])
async def test_a_clock_that_differs_is_a_warning_if_cos_accepts_the_signature(date: float, warns: bool) -> None:
    found = await findings(cos=Cos(date=date))
    assert all(finding.is_well for finding in found.values())
    assert found["clock"].is_warning == warns
    assert ("600 s" in found["clock"].what) == warns


async def test_credentials_that_may_not_read_are_reported_although_the_clock_differs() -> None:
    found = await findings(cos=Cos(answer=(403, "AccessDenied"), date=10_600))
    assert "GetObject" in found[COS].advice
    assert "600 s slow" in found["clock"].what


async def test_each_bucket_of_the_table_is_asked() -> None:
    dog = replace(IMAGE, image_id="dog", bucket="dogs-1250000000")
    found = await findings(postgres=Postgres([IMAGE, dog]))
    assert [name for name in found if name.startswith("cos ")] == [COS, "cos dogs-1250000000"]
    assert found["cos dogs-1250000000"].what == "GET 206 and HEAD 200 at https://dogs-1250000000, row dog"


async def test_a_head_that_is_refused_is_reported_although_get_works() -> None:
    found = (await findings(cos=Cos(head=403)))[COS]
    assert not found.is_well
    assert "GET 206, but HEAD 403" in found.what
    assert "HeadObject" in found.advice


@pytest.mark.parametrize(
    ("report", "heard", "words", "advice"),
    [
        (replace(REPORT, changes_problem="no trigger on images notifies of changes"), 0.1, "no trigger", "sql changes"),
        (REPORT, None, "a test notification did not arrive", "pooler in transaction mode"),
        (REPORT, CatalogUnavailable("cannot execute LISTEN during recovery"), "during recovery", "postgres.listen_dsn"),
    ],
)
async def test_changes_that_are_not_heard_are_a_warning(
    report: DatabaseReport, heard: float | Exception | None, words: str, advice: str
) -> None:
    found = (await findings(postgres=Postgres(report=report, heard=heard)))["changes"]
    assert (found.is_well, found.is_warning) == (True, True)
    assert words in found.what
    assert advice in found.advice


async def test_a_gateway_that_does_not_listen_needs_no_trigger() -> None:
    missing = replace(REPORT, changes_problem="no trigger")
    found = (await findings(postgres=Postgres(report=missing), listens=False))["changes"]
    assert (found.is_warning, found.advice) == (False, "")


async def test_missing_grants_are_the_advice() -> None:
    report = replace(REPORT, table_problem="gateway may not read app.pictures", repairs=("GRANT USAGE ON SCHEMA app",))
    refused = Postgres(CatalogUnavailable("permission denied"), report=report)
    found = (await findings(postgres=refused, cos=Cos("check")))["postgres"]
    assert found.advice == "run: GRANT USAGE ON SCHEMA app"
    assert "gateway may not read app.pictures" in found.what


async def test_killed_links_that_are_not_notified_are_a_warning() -> None:
    report = replace(REPORT, links_problem="no trigger on image_gateway_links")
    found = (await findings(postgres=Postgres(report=report), signs_links=True))["signed_links"]
    assert (found.is_well, found.is_warning) == (True, True)
