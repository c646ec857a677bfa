"""The console's page and its files: contents, and the files in the wheel."""

import hashlib
import re
from pathlib import Path

import gateway as package
from gateway.errors import GatewayError
from tests.conftest import RunningGateway

CONSOLE = Path(package.__file__).parent / "web" / "console"


async def test_the_page_and_every_file_that_it_names_are_served(gateway: RunningGateway) -> None:
    page = await gateway.get("/", admin=True)
    assert (page.status, page.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    policy = page.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self';")
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert page.headers["X-Frame-Options"] == "DENY"
    text = page.body.decode()
    named = set(re.findall(r'(?:href|src)="console/([^"]+)"', text))
    imported = {
        name
        for script in CONSOLE.glob("*.js")
        for name in re.findall(r'(?:from |import\()"\./([^"]+)"', script.read_text("utf-8"))
    }
    assert {"console.js", "uPlot.js", "uPlot.css", "console.css"} <= named
    assert {script.name for script in CONSOLE.glob("*.js")} <= named | imported
    for name in named | imported:
        assert (await gateway.get(f"/console/{name}", admin=True)).status == 200, name
    assert (await gateway.get("/console/uPlot.LICENSE", admin=True)).status == 404
    assert (await gateway.get("/console/..%2fpackage.json", admin=True)).status == 404


async def test_every_error_code_has_its_row_on_a_page_without_scripts(gateway: RunningGateway) -> None:
    page = await gateway.get("/docs/errors", admin=True)
    assert (page.status, page.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    text = page.body.decode()
    pending, codes = [GatewayError], set()
    while pending:
        error = pending.pop()
        codes.add(error.code)
        pending += error.__subclasses__()
    assert {code for code in codes if f'<tr id="{code}">' not in text} == set()
    assert "<script" not in text
    assert "](" not in text


async def test_the_public_port_has_no_console(gateway: RunningGateway) -> None:
    assert (await gateway.get("/")).status == 404
    assert (await gateway.get("/console/console.js")).status == 404


def test_uplot_is_the_published_file_of_1_6_32_with_its_licence() -> None:
    digests = {
        name: hashlib.sha256((CONSOLE / "vendor" / name).read_bytes()).hexdigest() for name in ("uPlot.js", "uPlot.css")
    }
    assert digests == {
        "uPlot.js": "19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f",
        "uPlot.css": "df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04",
    }
    assert "MIT" in (CONSOLE / "vendor" / "uPlot.LICENSE").read_text(encoding="utf-8")


def test_no_text_of_others_can_become_markup() -> None:
    for script in CONSOLE.glob("*.js"):
        text = script.read_text(encoding="utf-8")
        for name in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
            assert name not in text
