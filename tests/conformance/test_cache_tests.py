"""``make conformance`` fails if a result or the score differs from the expected one, or if nothing was run."""

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.conformance.cache_tests import __main__ as command
from tests.conformance.cache_tests.verdicts import ON_PURPOSE, Outcome, report
from tests.conformance.test_redbot import CASES
from tests.conformance.test_redbot import ON_PURPOSE as FINDINGS


def expected() -> list[Outcome]:
    """Return the outcomes that are expected."""
    on_purpose = [Outcome("other", name, "optimal", "not optimal", "") for name in ON_PURPOSE]
    not_run = Outcome("vary", "vary-match", "optimal", None, "")
    return [*on_purpose, Outcome("other", "other-cookie", "optimal", "pass", ""), not_run]


def test_the_expected_outcomes_are_a_success(capsys: pytest.CaptureFixture[str]) -> None:
    score = f"0 of 0 required, 1 of {len(ON_PURPOSE) + 1} optional, 0 of 0 observed"
    assert report(expected(), score) == 0
    printed = capsys.readouterr().out
    assert score in printed
    assert "vary (1)" in printed
    assert "for no reason" not in printed


@pytest.mark.parametrize(
    ("outcomes", "complaint"),
    [
        ([*expected(), Outcome("other", "other-new", "required", "fail", "why")], "UNEXPECTED: other-new: fail: why"),
        (
            [*expected()[1:], expected()[0]._replace(result="harness failed")],
            f"UNEXPECTED: {expected()[0].id}: harness failed",
        ),
        (expected()[1:], f"NO LONGER SO: {expected()[0].id}"),
        ([*expected()[1:], expected()[0]._replace(result="pass")], f"NO LONGER SO: {expected()[0].id}"),
        (expected(), "docs/delivery.md has another score."),
    ],
    ids=["a failure", "a broken harness", "no longer run", "passes now", "another score"],
)
def test_an_unexpected_outcome_is_a_failure(
    outcomes: Sequence[Outcome], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert report(outcomes) == 1
    assert complaint in capsys.readouterr().out


def test_missing_node_is_reported_and_a_failure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert command.main() == 1
    assert capsys.readouterr().out == "http-cache-tests was NOT run: node and npm not found\n"


def test_the_documents_name_the_versions_in_use() -> None:
    page = (Path(__file__).parents[2] / "docs" / "delivery.md").read_text(encoding="utf-8")
    assert f"REDbot](https://github.com/mnot/redbot) {version('redbot')}," in page
    assert f"http-cache-tests](https://github.com/http-tests/cache-tests) {command.VERSION}," in page
    assert f"schemathesis](https://github.com/schemathesis/schemathesis) {version('schemathesis')} " in page
    assert f"{len(CASES)} kinds of answers" in page
    assert len(FINDINGS) == 2
