"""``/docs`` on the admin port: pages of the documents."""

import pytest

from docs.generate.console_page import console_page
from docs.generate.remedies import ALERTS
from gateway.api.openapi import document
from tests.conftest import RunningGateway
from tests.test_documents import errors

DOCUMENT = document()


@pytest.mark.parametrize("path", ["/docs", "/docs/errors", "/docs/runbook"])
async def test_a_page_needs_nothing_from_elsewhere(gateway: RunningGateway, path: str) -> None:
    answer = await gateway.get(path, admin=True)
    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'; style-src 'self';")
    text = answer.body.decode()
    assert "src=" not in text
    assert 'href="http' not in text
    assert ".md" not in text


async def test_every_call_of_the_description_is_on_the_page(gateway: RunningGateway) -> None:
    text = (await gateway.get("/docs", admin=True)).body.decode()
    for path, operations in DOCUMENT["paths"].items():
        assert path.replace("{image_id}", "{id}") in text
        assert [method for method in operations.keys() & {"get", "post", "delete"} if method.upper() not in text] == []


async def test_every_error_code_can_be_linked_to(gateway: RunningGateway) -> None:
    text = (await gateway.get("/docs/errors", admin=True)).body.decode()
    for error in errors():
        assert f'id="{error.code}"' in text


async def test_every_problem_of_the_console_has_a_heading_in_the_runbook(gateway: RunningGateway) -> None:
    text = (await gateway.get("/docs/runbook", admin=True)).body.decode()
    for alert in ALERTS.values():
        assert f'<h3 id="{alert.lower()}">{alert}</h3>' in text


def test_headings_of_the_page_stay_links_and_others_become_text() -> None:
    page = console_page("# A\n\n[the part](#a-part) and [others](other.md)\n\n## A part\n", "../")
    assert '<a href="#a-part">the part</a> and others' in page
    assert '<h2 id="a-part">' in page
