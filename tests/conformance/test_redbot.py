"""REDbot, a linter for HTTP resources by an editor of the HTTP specifications, finds only what is intended.

It fetches an address, checks every field of the response, and repeats the request: for a range, for gzip, and with each
validator.
"""

import asyncio
import io
from configparser import ConfigParser
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import pytest
import thor
from httplint.note import levels
from PIL import Image
from redbot.resource import HttpResource
from redbot.resource.fetch import RedFetcher, RedHttpClient

from tests.conformance.cache_tests import __main__ as cache_tests
from tests.conftest import Images, RunningGateway, token_for

LIMIT = 20  # seconds for all requests to one address

# Findings that stay, and why.
ON_PURPOSE = {
    "STORE_PUBLIC_UNNECESSARY": (
        "Pages also send their token for public images, and a shared cache stores the response to a request with "
        "Authorization only with `public` (RFC 9111 section 3.5). REDbot sends no token, so it sees no need."
    ),
    "STATUS_BAD_REQUEST": "An invalid id is a 400 and is not looked up; 404 is for valid ids without an image.",
}
PUBLIC = {"STORE_PUBLIC_UNNECESSARY"}
# Checks that must have succeeded: REDbot reports a check that it could not make as information only.
IMAGE = {"INM_304", "IMS_304", "RANGE_CORRECT"}


@dataclass
class Case:
    """A request and the findings that are expected for it."""

    path: str
    status: int
    findings: set[str] = field(default_factory=set)
    proven: set[str] = field(default_factory=set)
    method: str = "GET"
    user: str | None = None
    headers: dict[str, str] = field(default_factory=dict)


CASES = {
    "from COS": Case("/i/photo", 200, PUBLIC, IMAGE),
    "from memory": Case("/i/photo", 200, PUBLIC, IMAGE),
    "HEAD": Case("/i/photo", 200, PUBLIC, IMAGE - {"RANGE_CORRECT"}, method="HEAD"),
    "as a download": Case("/i/photo?download=a.png", 200, PUBLIC, IMAGE),
    "private": Case("/api/v1/images/private/proxy", 200, set(), IMAGE, user="alice"),
    "SVG": Case("/i/drawing", 200, PUBLIC, IMAGE),
    "redirect": Case("/i/photo?redirect=true", 302, PUBLIC),
    "private redirect": Case("/i/private?redirect=true", 302, user="alice"),
    "presigned URL": Case("/api/v1/images/photo/url", 200),
    "unknown": Case("/i/unknown", 404),
    "not yours": Case("/i/private", 404),
    "bad id": Case("/i/%20", 400, {"STATUS_BAD_REQUEST"}),
    "bad token": Case("/i/private", 401, headers={"Authorization": "Bearer nonsense"}),
    "bad method": Case("/i/photo", 405, method="PUT"),
    "condition failed": Case("/i/photo", 412, headers={"If-Match": '"another"'}),
    "bad range": Case("/i/photo", 416, headers={"Range": "bytes=9999999-"}),
    "description": Case("/openapi.json", 200, PUBLIC),
    "alive": Case("/healthz", 200),
    "ready": Case("/readyz", 200),
}


def examine(base_url: str, case: Case, monkeypatch: pytest.MonkeyPatch) -> HttpResource:
    """Run all checks of REDbot for one address. REDbot has its own event loop, so it needs its own thread."""
    # The library has one client, which closes its connections only the first time its loop stops.
    monkeypatch.setattr(RedFetcher, "client", RedHttpClient())
    configuration = ConfigParser()
    configuration.read_dict({"redbot": {"enable_local_access": "true"}})
    resource = HttpResource(configuration["redbot"])
    headers = [*case.headers.items()]
    if case.user is not None:
        headers.append(("Authorization", f"Bearer {token_for(case.user)}"))
    resource.set_request(base_url + case.path, method=case.method, headers=headers)
    resource.once("check_done", thor.stop)
    thor.schedule(LIMIT, thor.stop)
    resource.check()
    thor.run()
    return resource


def notes(resource: HttpResource, *included: levels) -> set[str]:
    """Return the names of the notes at these levels, for the first response and for those to further requests."""
    return {
        type(note).__name__
        for fetched in (resource, *resource.subreqs.values())
        for note in fetched.response.notes
        if note.level in included
    }


def drawn() -> bytes:
    """Return a PNG of a few kilobytes: large enough for a range, small enough to arrive in one read."""
    file = io.BytesIO()
    Image.effect_noise((100, 100), 50).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
async def collection(images: Images) -> None:
    """The images of the cases."""
    await images.add("photo", drawn())
    await images.add("private", drawn(), owner="alice", public=False)
    drawing = b'<svg xmlns="http://www.w3.org/2000/svg">' + b"<g/>" * 1000 + b"</svg>"
    await images.add("drawing", drawing, key="drawing.svg", content_type="image/svg+xml")


async def test_redbot_finds_only_what_is_intended(
    gateway: RunningGateway, collection: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, case in CASES.items():
        resource = await asyncio.to_thread(examine, gateway.ports.public, case, monkeypatch)
        assert (resource.check_done, resource.fetch_error) == (True, None), name
        assert resource.response.status_code == case.status, name
        assert notes(resource, levels.BAD, levels.WARN) == case.findings, name
        assert notes(resource, levels.GOOD) >= case.proven, name


def test_every_documented_finding_still_occurs() -> None:
    assert set().union(*(case.findings for case in CASES.values())) == ON_PURPOSE.keys()


def test_the_documents_name_the_versions_in_use() -> None:
    page = (Path(__file__).parents[2] / "docs" / "delivery.md").read_text(encoding="utf-8")
    assert f"REDbot](https://github.com/mnot/redbot) {version('redbot')}," in page
    assert f"http-cache-tests](https://github.com/http-tests/cache-tests) {cache_tests.VERSION}," in page
    assert f"schemathesis](https://github.com/schemathesis/schemathesis) {version('schemathesis')} " in page
    assert f"{len(CASES)} kinds of answers" in page
    assert len(ON_PURPOSE) == 2
