"""The files that the ports serve: the built component, and the page of the console."""

import base64
import configparser
import gzip
import hashlib
import re
from pathlib import Path

import gateway as package
from docs.generate.console_page import console_page
from gateway.api.static_files import document
from gateway.findings.catalogue import CATALOGUE
from tests.conftest import RunningGateway, StartGateway
from tests.test_documents import errors

ROOT = Path(__file__).parents[2]
STATIC = ROOT / "gateway" / "web" / "static"
UNCOMPRESSED = {"Accept-Encoding": "identity"}


async def entry_of(gateway: RunningGateway) -> str:
    """Return the path of the file with a hash in its name."""
    path: str = (await gateway.get("/static/config.json")).json()["script"]["path"]
    return path


async def test_the_plain_name_is_revalidated_and_the_hashed_one_cached_for_a_year(gateway: RunningGateway) -> None:
    hashed, plain, style = await entry_of(gateway), "/static/smart-image.js", "/static/smart-image.css"
    files = {}
    for path, kind, cache_control in (
        (hashed, "javascript", "public, max-age=31536000, immutable"),
        (plain, "javascript", "public, no-cache"),
        (style, "css", "public, max-age=300, stale-while-revalidate=86400"),
    ):
        answer = files[path] = await gateway.get(path, headers=UNCOMPRESSED)
        assert (answer.status, answer.headers["Cache-Control"]) == (200, cache_control)
        assert answer.headers["Content-Type"] == f"text/{kind}; charset=utf-8"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Content-Security-Policy"] == "default-src 'none'; sandbox"
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert answer.headers["Cross-Origin-Resource-Policy"] == "cross-origin"
    assert files[plain].body == files[hashed].body, "one request, also for a page that does not know the hash"
    assert "smart-image:not(:defined)" in files[style].body.decode()


async def test_a_matching_etag_is_answered_304_and_a_head_has_no_body(gateway: RunningGateway) -> None:
    path = "/static/smart-image.js"
    first, head = await gateway.get(path), await gateway.request("HEAD", path)
    assert (head.status, head.body) == (200, b"")
    assert int(head.headers["Content-Length"]) > 0
    for field in ("{etag}", 'W/{etag}, "other"', "*"):
        again = await gateway.get(path, headers={"If-None-Match": field.format(etag=first.headers["ETag"])})
        assert (again.status, again.body) == (304, b"")
        assert again.headers["ETag"] == first.headers["ETag"]
        assert again.headers["Cache-Control"] == first.headers["Cache-Control"]
    assert (await gateway.get(path, headers={"If-None-Match": '"other"'})).status == 200


async def test_nothing_else_is_served(gateway: RunningGateway) -> None:
    for path in (
        "/static/",
        "/static/none.js",
        "/static/..%2fpackage.json",
        "/static/%2e%2e/package.json",
        "/static/smart-image.js/",
        "/static/a%00.js",
        "/static//etc/passwd",
        "/",
        "/console/console.js",
    ):
        answer = await gateway.get(path)
        assert (answer.status, answer.json()["code"]) == (404, "not_found"), path


async def test_files_are_compressed_for_those_who_take_gzip(gateway: RunningGateway) -> None:
    path = await entry_of(gateway)
    plain = await gateway.get(path, headers=UNCOMPRESSED)
    for offer, gzipped in (
        ("gzip, deflate, br, zstd", True),
        ("br;q=1.0, GZIP;q=0.8", True),
        ("identity", False),
        ("gzip;q=0, *;q=0.5", False),
        ("gzip; q=0.000", False),
        ("", False),
    ):
        answer = await gateway.get(path, headers={"Accept-Encoding": offer})
        assert answer.headers["Vary"] == plain.headers["Vary"] == "Accept-Encoding"
        assert answer.headers.get("Content-Encoding") == ("gzip" if gzipped else None)
        assert (gzip.decompress(answer.body) if gzipped else answer.body) == plain.body
        assert (answer.headers["ETag"] == plain.headers["ETag"]) is not gzipped
        assert (len(answer.body) < len(plain.body)) is gzipped
        again = await gateway.get(path, headers={"Accept-Encoding": offer, "If-None-Match": answer.headers["ETag"]})
        assert (again.status, again.body, again.headers.get("Content-Encoding")) == (304, b"", None)
        assert again.headers["Vary"] == "Accept-Encoding"


async def test_config_json_names_the_component_and_the_features(start_gateway: StartGateway) -> None:
    card = {"widths": [640, 320], "formats": ["avif", "webp"]}
    gateway = await start_gateway(image_styles={"card": card, "avatar": "imageMogr2/thumbnail/64x"})
    answer = await gateway.get("/static/config.json")
    told = answer.json()
    script = told.pop("script")
    assert told == {
        "version": 1,
        "batch": {"size": 200},
        "styles": ["avatar", "card"],
        "variants": {
            "avatar": {"widths": [], "formats": []},
            "card": {"widths": [320, 640], "formats": ["avif", "webp", "original"]},
        },
        "features": {"proxy": True, "meta": True, "beacons": True, "paints": True, "links": False},
    }
    body = (await gateway.get(script["path"], headers=UNCOMPRESSED)).body
    assert script["integrity"] == "sha384-" + base64.b64encode(hashlib.sha384(body).digest()).decode()
    assert re.fullmatch(r"/static/smart-image\.[\w-]{8}\.js", script["path"])
    assert answer.headers["Cache-Control"] == "public, max-age=300"
    kept = await gateway.get("/static/config.json", headers={"If-None-Match": answer.headers["ETag"]})
    assert kept.status == 304


def test_the_wheel_contains_the_built_files_and_no_sources() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    patterns = [line for line in setup["options.package_data"]["gateway"].splitlines() if line.startswith("web/")]
    shipped = {file for pattern in patterns for file in (ROOT / "gateway").glob(pattern) if file.is_file()}
    # The console and the shared tokens have no build step: their sources are what browsers load.
    loaded = [
        file for folder in ("static", "brand", "console") for file in (ROOT / "gateway" / "web" / folder).rglob("*")
    ]
    assert shipped == {file for file in loaded if file.is_file()}
    # Without __init__.py the sources are not found as a package.
    assert setup["options"]["packages"] == "find:"
    assert not (ROOT / "gateway" / "web" / "__init__.py").exists()


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


DOCUMENT = document()


async def test_the_pages_of_documents_name_everything_and_need_nothing_from_elsewhere(gateway: RunningGateway) -> None:
    pages = {}
    for path in ("/docs", "/docs/errors", "/docs/runbook"):
        answer = await gateway.get(path, admin=True)
        assert (answer.status, answer.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
        assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'; style-src 'self';")
        pages[path] = text = answer.body.decode()
        for elsewhere in ("src=", 'href="http', ".md", "<script", "]("):
            assert elsewhere not in text, path
    for path, operations in DOCUMENT["paths"].items():
        assert path.replace("{image_id}", "{id}") in pages["/docs"]
        methods = {method.upper() for method in operations.keys() & {"get", "post", "delete"}}
        assert all(method in pages["/docs"] for method in methods)
    for error in errors():
        assert f'id="{error.code}"' in pages["/docs/errors"], "a code can be linked to"
    for alert in {kind.alert for kind in CATALOGUE.values()} - {""}:
        assert f'<h3 id="{alert.lower()}">{alert}</h3>' in pages["/docs/runbook"], (
            "a problem of the console leads there"
        )


def test_headings_of_the_page_stay_links_and_others_become_text() -> None:
    page = console_page("# A\n\n[the part](#a-part) and [others](other.md)\n\n## A part\n", "../")
    assert '<a href="#a-part">the part</a> and others' in page
    assert '<h2 id="a-part">' in page
