"""The recipes of ``docs/fronts.md`` agree with the gateway's own limits."""

import re

import pytest

from gateway.settings import ServerSettings
from tests.config.files import read

PAGE = read("docs/fronts.md")
_TABLE = PAGE.partition("How long each front keeps an idle connection")[2].partition("\n\n")[2].partition("\n\n")[0]
FRONTS = re.findall(r"^\| ([A-Z]\w+|nginx) \| (.*?) \| .*?`([\w.-]+)`", _TABLE, flags=re.MULTILINE)
LANGUAGES = {"Varnish": "vcl"}


@pytest.mark.parametrize(("name", "default", "key"), FRONTS, ids=lambda value: value.partition(" ")[0])
def test_each_front_closes_idle_connections_first_by_its_default_or_by_a_line_of_its_recipe(
    name: str, default: str, key: str
) -> None:
    (recipe,) = re.findall(rf"^```{LANGUAGES.get(name, name.lower())}\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)
    configured = re.search(rf"\b{key.rpartition('.')[2]}[ =:]+(\d+)", recipe)
    shortest = configured or re.fullmatch(r"(?:\d+ to )?(\d+) s", default)
    assert shortest is not None
    assert int(shortest[1]) + 5 < ServerSettings().keepalive_timeout


def test_the_table_names_each_recipe() -> None:
    recipes = set(re.findall(r"^```(\w+)$", PAGE, flags=re.MULTILINE))
    assert {LANGUAGES.get(name, name.lower()) for name, _, _ in FRONTS} == recipes
