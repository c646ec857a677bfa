"""The catalogue has every finding of the code and no other, and an alert has the command of its finding."""

import re
from pathlib import Path

import pytest

from docs.generate.findings import findings_page
from gateway.findings.catalogue import CATALOGUE, CAUSES, Kind
from tests.config.files import read_yaml

CODE = "".join(path.read_text(encoding="utf-8") for path in Path("gateway").rglob("*.py"))
ALERTS = {
    rule["alert"]: rule["annotations"]["command"]
    for group in read_yaml("config/prometheus/alerts.yml")["groups"]
    for rule in group["rules"]
    if "alert" in rule
}


def test_the_catalogue_has_each_finding_of_the_code_and_no_other() -> None:
    made = set(re.findall(r'Finding(?:\.of)?\(\s*"([a-z_]+)"', CODE))
    assert made - {"well"} <= CATALOGUE.keys()
    assert [name for name in CATALOGUE if f'"{name}"' not in CODE] == []


@pytest.mark.parametrize("kind", [kind for kind in CATALOGUE.values() if kind.alert])
def test_an_alert_has_the_command_of_its_finding_and_the_console_both_languages(kind: Kind) -> None:
    assert ALERTS[kind.alert] == kind.command
    values = [re.findall(r"\{\w+\}", text) for text in (kind.says, kind.zh)]
    assert sorted(values[0]) == sorted(values[1])


def test_the_page_has_a_row_for_each_and_each_remedy_of_a_known_cause() -> None:
    page = findings_page()
    assert re.findall(r"^\| `(\w+)` \| [a-z]", page, flags=re.MULTILINE) == list(CATALOGUE)
    assert [remedy for causes in CAUSES.values() for remedy in causes.values() if remedy not in page] == []


@pytest.mark.parametrize("kind", CATALOGUE.values())
def test_a_remedy_names_only_what_the_sentence_names(kind: Kind) -> None:
    said, advised = (set(re.findall(r"\{\w+\}", text)) for text in (kind.says, kind.remedy))
    assert advised <= said
