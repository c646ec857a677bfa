"""What ``check`` says about credentials: source, life, and an attempt to refresh them."""

import pytest

from gateway.checks.credentials import diagnose_credentials
from gateway.presign.credentials import CredentialsUnavailable
from tests.presign.credentials.test_rotation import rotation
from tests.tier import NOW, Clock

FAILS = CredentialsUnavailable("the metadata service: status 500")


@pytest.mark.parametrize(
    ("name", "life", "passed", "fails", "verdict", "what", "advice"),
    [
        ("cvm_role", 5400, 0, False, "ok", "source cvm_role: 5400 s are left", ""),
        ("static", None, 0, False, "ok", "source static: they never end", ""),
        ("file", 600, 540, False, "warn", "source file: 60 s are left", "end soon"),
        ("cvm_role", 7200, 1800, True, "warn", "refresh failed: the metadata service: status 500", "bind a role"),
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
    assert (found.is_well, found.is_warning) == {"ok": (True, False), "warn": (True, True), "fail": (False, False)}[
        verdict
    ]
    assert what in found.what
    assert advice in found.advice
    assert bool(found.advice) == bool(advice)
