"""What ``check`` says about credentials: source, life, and an attempt to refresh them."""

from dataclasses import dataclass

import pytest

from gateway.checks.credentials import diagnose_credentials


@dataclass
class Source:
    """Credentials in the state that a test describes."""

    name: str = "cvm_role"
    seconds_left: float | None = 5400.4
    is_near_end: bool = False
    gives: bool = True
    reason: str = "the metadata service: status 500"
    asked: int = 0

    async def refresh(self) -> bool:
        """Count the attempt."""
        self.asked += 1
        return self.gives


@pytest.mark.parametrize(
    ("source", "verdict", "what", "advice"),
    [
        (Source(), "ok", "source cvm_role: 5400 s are left", ""),
        (Source("static", None), "ok", "source static: they never end", ""),
        (Source("file", 60, is_near_end=True), "warn", "source file: 60 s are left", "end soon"),
        (
            Source(gives=False),
            "warn",
            "refresh failed: the metadata service: status 500",
            "bind a role",
        ),
        (Source("assume_role", 0, is_near_end=True, gives=False), "fail", "0 s are left; refresh failed", "must trust"),
        (Source("static", 0, is_near_end=True, gives=False), "fail", "0 s are left", "renew cos.token"),
        (Source("environment", 0, is_near_end=True, gives=False), "fail", "0 s", "TENCENTCLOUD_TOKEN"),
        (Source("tke_oidc", 0, is_near_end=True, gives=False), "fail", "0 s", "service account"),
    ],
)
async def test_the_source_is_tried_and_a_failure_comes_with_advice(
    source: Source, verdict: str, what: str, advice: str
) -> None:
    found = await diagnose_credentials(source)
    assert source.asked == 1
    assert (found.is_well, found.is_warning) == {"ok": (True, False), "warn": (True, True), "fail": (False, False)}[
        verdict
    ]
    assert what in found.what
    assert advice in found.advice
    assert bool(found.advice) == bool(advice)
