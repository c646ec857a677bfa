"""The score of ``make conformance`` is believed: it says so when something is not as it was, or was not run at all."""

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.conformance.cache_tests import __main__ as command
from tests.conformance.cache_tests.verdicts import ON_PURPOSE, Outcome, report
from tests.conformance.test_redbot import CASES
from tests.conformance.test_redbot import ON_PURPOSE as FINDINGS


def known() -> list[Outcome]:
    """All as it is known to be."""
    on_purpose = [Outcome("other", name, "optimal", "not optimal", "") for name in ON_PURPOSE]
    not_run = Outcome("vary", "vary-match", "optimal", None, "")
    return [*on_purpose, Outcome("other", "other-cookie", "optimal", "pass", ""), not_run]


def test_what_is_as_it_is_known_to_be_is_a_success(capsys: pytest.CaptureFixture[str]) -> None:
    told = f"0 of 0 required, 1 of {len(ON_PURPOSE) + 1} optional, 0 of 0 observed"
    assert report(known(), told) == 0
    printed = capsys.readouterr().out
    assert told in printed
    assert "vary (1)" in printed
    assert "for no reason" not in printed


@pytest.mark.parametrize(
    ("outcomes", "complaint"),
    [
        ([*known(), Outcome("other", "other-new", "required", "fail", "why")], "UNEXPECTED: other-new: fail: why"),
        ([*known()[1:], known()[0]._replace(result="harness failed")], f"UNEXPECTED: {known()[0].id}: harness failed"),
        (known()[1:], f"NO LONGER SO: {known()[0].id}"),
        ([*known()[1:], known()[0]._replace(result="pass")], f"NO LONGER SO: {known()[0].id}"),
        (known(), "docs/delivery.md has another score."),
    ],
    ids=["a failure", "a broken harness", "not run any more", "done by now", "another score"],
)
def test_what_is_not_is_a_failure(
    outcomes: Sequence[Outcome], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert report(outcomes) == 1
    assert complaint in capsys.readouterr().out


def test_without_node_it_says_that_it_was_not_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert command.main() == 1
    assert capsys.readouterr().out == "http-cache-tests was NOT run: node and npm not found\n"


def test_the_documents_name_the_versions_that_are_run() -> None:
    page = (Path(__file__).parents[2] / "docs" / "delivery.md").read_text(encoding="utf-8")
    assert f"REDbot](https://github.com/mnot/redbot) {version('redbot')}," in page
    assert f"http-cache-tests](https://github.com/http-tests/cache-tests) {command.VERSION}," in page
    assert f"schemathesis](https://github.com/schemathesis/schemathesis) {version('schemathesis')} " in page
    assert f"{len(CASES)} kinds of answers" in page
    assert len(FINDINGS) == 2
