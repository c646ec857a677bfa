"""``docs/limits.md`` names the limits and the defaults that the code has, and metrics that exist."""

import re
from typing import Any

import pytest
from pydantic import BaseModel

from gateway.access import caller, tokens
from gateway.api import json_bodies, links
from gateway.catalog import image_id, record
from gateway.changes import change_log, nginx_list
from gateway.delivery import conditions_and_ranges
from gateway.objects import variant_source
from gateway.origin import client
from gateway.process import log_stream
from gateway.purge import intake, webhook
from gateway.redis_queue import purge_queue
from gateway.server import acceptor, connection, file_limit
from gateway.service.metrics import Metrics
from gateway.settings import Settings, fronts
from gateway.urls import aliases
from gateway.workers.labelled_metrics import about_workers
from tests.config.files import read
from tests.settings_keys import section_in

PAGE = read("docs/limits.md")
ROWS = [line.strip("| ").split(" | ") for line in PAGE.splitlines() if re.match(r"\| (?!limit |---)", line)]
FIXED = {
    "open files": (f"{file_limit._PER_STREAM} for each stream and {file_limit._RESERVE}",),
    "connections that wait": (str(acceptor._BACKLOG),),
    "connections of the admin port": (str(file_limit.ADMIN_CONNECTIONS),),
    "lines of the log": (f"{log_stream._MOST_WAITING >> 20} MiB",),
    "head of a request": (f"{connection._MOST_OF_HEAD >> 10} KiB",),
    "requests that wait behind another one": (str(connection._MOST_WAITING),),
    "lists of `If-Match`": (f"{conditions_and_ranges._MOST_LISTED >> 10} KiB",),
    "ids in a request": (str(json_bodies.MAX_IMAGES),),
    "length of an id": (re.search(r"\{0,(\d+)\}", image_id.PATTERN),),
    "length of an alias": (f"{aliases._LONGEST} bytes",),
    "life of a signed link": (f"{links.MAX_LIFETIME:,} s",),
    "viewers, groups and grants": (f"{record.MOST_GRANTS:,}",),
    "groups of a caller": (str(caller.MOST_GROUPS),),
    "tokens that are remembered": (f"{tokens.MOST_TOKENS:,}, and {tokens.MOST_GROUPS_IN_ALL:,} groups",),
    "changes that a gateway remembers": (f"{change_log._MOST_KEPT:,} images",),
    "changes in an answer": (f"{nginx_list._MOST_LISTED:,}",),
    "requests to the CDN": (f"take {fronts._MOST_PER_SECOND}",),
    "addresses in a request": (f"{fronts.MOST_ADDRESSES:,}", f"webhook {webhook._MOST_IMAGES}"),
    "changes that wait in memory": (f"{intake._MOST_KEPT:,}",),
    "tries of a purge": (str(purge_queue._MAX_ATTEMPTS), f"of {purge_queue._MAX_DEAD:,}"),
    "requests to COS without": (str(client.MOST_UNATTENDED),),
    "images in styles": (
        f"{variant_source._MOST_AT_ONCE >> 20} MiB: {variant_source._MOST_AT_ONCE // variant_source._LARGEST[0]}",
        f"or {variant_source._MOST_AT_ONCE // variant_source._LARGEST[1]} with",
    ),
}


def default_of(key: str) -> Any:
    """Return the default of a setting by its dotted name."""
    model: type[BaseModel] | None = Settings
    *sections, name = key.split(".")
    for section in sections:
        assert model is not None, key
        model = section_in(model.model_fields[section].annotation)
    assert model is not None, key
    return model.model_fields[name].default


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_a_row_has_the_default_of_its_setting_and_metrics_that_exist(row: list[str]) -> None:
    named, default, _, metrics, *_ = (*row, "")
    for key in re.findall(r": `([a-z_]+\.[a-z_.]+)`", named):
        assert [float(figure) for figure in re.findall(r"`([0-9.]+)`", default)] == [default_of(key)]
    families = [*Metrics().registry.collect(), *about_workers(1, 1, 0, 0)]
    known = {f"{family.name}{'_total' * (family.type == 'counter')}" for family in families}
    told = {f"image_gateway_{name}" for name in re.findall(r"`([a-z_]+)`", metrics)}
    assert told <= known


@pytest.mark.parametrize("limit", FIXED)
def test_a_limit_without_a_setting_is_the_one_of_the_code(limit: str) -> None:
    (row,) = (row for row in ROWS if row[0].startswith(limit))
    for figure in FIXED[limit]:
        text = f"{int(figure[1]) + 1} characters" if isinstance(figure, re.Match) else str(figure)
        assert text in " | ".join(row)


def test_each_row_without_a_setting_is_one_of_these_or_of_another_program() -> None:
    of_others = ("memory of nginx", "URLs that one Redis", "notifications that wait", "addresses a day", "beacons")
    others = ("failures of a bucket", "what COS itself", *of_others)
    missing = [row[0] for row in ROWS if "`" not in row[0] and not row[0].startswith((*FIXED, *others))]
    assert missing == []
