"""Placeholders that were not filled in, credentials, and the limit of open files."""

import pytest

from gateway.checks.configuration import (
    PLACEHOLDERS,
    diagnose_credentials,
    diagnose_open_files,
    diagnose_placeholders,
)
from gateway.findings.catalogue import known_remedy
from gateway.presign.credentials import CredentialsUnavailable, SourceDown
from gateway.presign.credentials.sources import POLL
from gateway.settings import CosSettings, PostgresSettings
from gateway.settings.credentials import CREDENTIAL_SOURCES
from tests.presign.credentials.test_rotation import rotation
from tests.tier import NOW, Clock

CONFIGURED = {
    "postgres.dsn": "host=127.0.0.1 dbname=app",
    "cos.secret_id": "id",
    "cos.secret_key": "key",
    "cos.bucket": "photos-1250000000",
}


def sections(**changes: str) -> tuple[PostgresSettings, CosSettings]:
    """Return both sections, with some values changed."""
    values = CONFIGURED | changes
    cos = {name: values[f"cos.{name}"] for name in ("secret_id", "secret_key", "bucket")}
    return PostgresSettings.model_validate({"dsn": values["postgres.dsn"]}), CosSettings.model_validate(cos)


def test_placeholders_are_named_by_their_keys() -> None:
    assert diagnose_placeholders(*sections()).is_well
    for keys in ([*PLACEHOLDERS], *([key] for key in PLACEHOLDERS)):
        finding = diagnose_placeholders(*sections(**{key: PLACEHOLDERS[key] for key in keys}))
        assert not finding.is_well
        assert finding.what.startswith(f"{', '.join(keys)}: ")


@pytest.mark.parametrize(("limit", "warns"), [(1024, True), (2255, True), (2256, False), (None, False)])
def test_a_limit_of_open_files_below_what_is_needed_is_a_warning(limit: int | None, warns: bool) -> None:
    found = diagnose_open_files(limit, 2256)
    assert found.level == ("warning" if warns else "ok")
    assert str(limit or "no limit") in found.what


def test_each_kind_of_source_has_its_advice_and_its_pause() -> None:
    assert set(POLL) == CREDENTIAL_SOURCES
    assert all(known_remedy("credentials", f"source {name}: refresh failed") for name in CREDENTIAL_SOURCES)


FAILS = CredentialsUnavailable("the metadata service: status 404")


@pytest.mark.parametrize(
    ("name", "life", "passed", "fails", "verdict", "what", "advice"),
    [
        ("cvm_role", 5400, 0, False, "ok", "source cvm_role: 5400 s are left", ""),
        ("static", None, 0, False, "ok", "source static: they never end", ""),
        ("file", 600, 540, False, "warn", "source file: 60 s are left", "end soon"),
        ("cvm_role", 7200, 1800, True, "warn", "refresh failed: the metadata service: status 404", "bind a role"),
        ("assume_role", 600, 600, True, "fail", "0 s are left; refresh failed", "must trust"),
        ("static", 600, 600, True, "fail", "0 s are left", "renew cos.token"),
        ("environment", 600, 600, True, "fail", "0 s", "TENCENTCLOUD_TOKEN"),
        ("tke_oidc", 600, 600, True, "fail", "0 s", "service account"),
    ],
)
async def test_the_source_is_tried_and_a_failure_comes_with_advice(
    name: str, life: int | None, passed: int, verdict: str, what: str, advice: str, *, fails: bool
) -> None:
    clock = Clock(NOW)
    rotating = rotation(clock, name=name, life=life)
    assert await rotating.credentials.refresh()
    clock.now += passed
    rotating.source.same = rotating.source.given[0]  # the source has no newer set
    rotating.source.failure = FAILS if fails else None
    found = await diagnose_credentials(rotating.credentials)
    assert rotating.source.asked == 2
    assert found.level == {"ok": "ok", "warn": "warning", "fail": "bad"}[verdict]
    assert what in found.what
    assert advice in found.advice
    assert bool(found.advice) == bool(advice)


@pytest.mark.parametrize(
    ("failure", "stops"), [(SourceDown("STS: no answer"), False), (TimeoutError(), False), (FAILS, True)]
)
async def test_a_source_that_does_not_answer_stops_no_start(failure: Exception, *, stops: bool) -> None:
    found = await diagnose_credentials(rotation(Clock(NOW), failure=failure).credentials)
    assert (found.name, found.is_well, found.stops_start) == ("credentials_ended", False, stops)
