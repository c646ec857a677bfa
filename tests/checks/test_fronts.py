"""What ``check`` says about the target of purges: whether it answers, and what to do if it does not."""

from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from gateway.canary.rules import Known, Seen, judge
from gateway.checks.fronts import diagnose_canary, diagnose_negotiation, diagnose_purge
from gateway.findings.finding import Finding
from gateway.metrics.canary import CanaryOutcome, Check
from gateway.net.bounded_http import BoundedHttp
from gateway.presign.style_variants import Renditions
from gateway.purge.target import Addresses, TargetUnavailable
from gateway.purge.webhook import Webhook
from gateway.settings import Live, PurgeSettings, VariantSettings
from tests.answering import answering


@dataclass
class Examined:
    """A target that answers as a test describes."""

    code: str | None = None
    most: int = 1

    async def purge(self, image_ids: Sequence[str]) -> None:
        raise AssertionError(f"check purges {image_ids}")

    async def examine(self) -> str:
        if self.code is not None:
            raise TargetUnavailable(f"error {self.code}", self.code or None)
        return "the service answers"


@pytest.mark.parametrize(
    ("code", "verdict", "advice"),
    [
        (None, "ok", ""),
        ("UnauthorizedOperation", "warn", "allow cdn:DescribePurgeQuota"),
        ("UnauthorizedOperation.CdnCamUnauthorized", "warn", "allow cdn:DescribePurgeQuota"),
        ("UnauthorizedOperation.CdnUserIsIsolated", "fail", "purges wait"),
        ("AuthFailure.SignatureExpire", "fail", "check purge.credentials"),
        ("ResourceNotFound.CdnUserNotExists", "fail", "does not use Tencent CDN"),
        ("", "fail", "purges wait"),
    ],
)
async def test_a_failure_comes_with_advice(code: str | None, verdict: str, advice: str) -> None:
    found = await diagnose_purge(Examined(code), "tencent_cdn")
    assert found.level == {"ok": "ok", "warn": "warning", "fail": "bad"}[verdict]
    assert found.what.startswith("tencent_cdn: ")
    assert advice in found.advice
    assert bool(found.advice) == bool(advice)


def test_rows_that_nobody_sees_are_one_sentence_with_the_cause_that_postgres_has() -> None:
    checks: list[tuple[Check, bool]] = [("public", True), ("private_anonymous", False)]
    outcomes = [
        CanaryOutcome("https://a.example", check, *judge(check, Known("missing"), [Seen(404)], was_up=was_up), None, 1)
        for check, was_up in checks
    ]
    hidden = Finding.of("rows_hidden", "rows", "row level security may hide rows of images", "run: CREATE POLICY")
    [found] = diagnose_canary(outcomes, hidden)
    assert (found.level, found.advice) == ("bad", "run: CREATE POLICY")
    assert found.what == f"no row of the canary's images is seen, since {hidden.what}"
    assert len(list(diagnose_canary(outcomes))) == 2


async def test_a_webhook_is_connected_to_and_sent_nothing() -> None:
    async with BoundedHttp() as http, answering() as service:
        webhook = Webhook(http, service.url, Addresses((), Live(Renditions({}))))
        found = await diagnose_purge(webhook, "webhook")
        assert (found.is_well, service.seen) == (True, [])
        assert "127.0.0.1 accepts connections" in found.what
        nobody = Webhook(http, "https://127.0.0.1:1/", Addresses((), Live(Renditions({}))))
        found = await diagnose_purge(nobody, "webhook")
        assert not found.is_well
        assert "127.0.0.1 cannot be reached" in found.what


def test_formats_that_are_negotiated_are_a_warning_before_a_cdn() -> None:
    negotiated, explicit = VariantSettings(negotiate="accept"), VariantSettings()
    cdn = PurgeSettings(target="tencent_cdn", base_urls=("https://img.example",))
    hook = PurgeSettings(target="webhook", url="https://hook.example")
    (found,) = diagnose_negotiation(negotiated, cdn)
    assert found.level == "warning"
    others = ((explicit, cdn), (negotiated, hook), (negotiated, None))
    assert [found for other in others for found in diagnose_negotiation(*other)] == []
