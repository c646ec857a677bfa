"""REDbot, the linter of HTTP resources by an editor of the HTTP specifications, finds nothing that is not on purpose.

It fetches an address, judges every field of the answer, and asks again: for a part, for gzip, with each validator.
"""

import asyncio
import io
from configparser import ConfigParser
from dataclasses import dataclass, field

import pytest
import thor
from httplint.note import levels
from PIL import Image
from redbot.resource import HttpResource
from redbot.resource.fetch import RedFetcher, RedHttpClient

from tests.conftest import Images, RunningGateway, token_for

LIMIT = 20  # seconds for all that is asked of one address

# Findings that stay, and why.
ON_PURPOSE = {
    "STORE_PUBLIC_UNNECESSARY": (
        "Pages send their token along for public images, too, and a shared cache keeps the answer to a request with "
        "Authorization only if it is said to be public (RFC 9111 section 3.5). REDbot sends none, so it sees no use."
    ),
    "STATUS_BAD_REQUEST": "What cannot be an id is told so, and looked up nowhere; 404 is for what could be one.",
}
PUBLIC = {"STORE_PUBLIC_UNNECESSARY"}
# What must have been tried, and found good: a check that could not be made is a mere remark to REDbot.
IMAGE = {"INM_304", "IMS_304", "RANGE_CORRECT"}


@dataclass
class Case:
    """One address, as one caller asks for it, and which findings are expected."""

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
    """Let REDbot ask all it asks about one address; it has an event loop of its own, and so wants a thread."""
    # The one client of the library closes its connections the first time its loop stops, and never again.
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


def notes(resource: HttpResource, *wanted: levels) -> set[str]:
    """The names of what was noted at these levels, of the answer itself and of those to the further requests."""
    return {
        type(note).__name__
        for fetched in (resource, *resource.subreqs.values())
        for note in fetched.response.notes
        if note.level in wanted
    }


def drawn() -> bytes:
    """A PNG of a few kilobytes: a range of it is a part, and it reaches REDbot in one piece."""
    file = io.BytesIO()
    Image.effect_noise((100, 100), 50).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
async def collection(images: Images) -> None:
    """What the addresses of the cases lead to."""
    await images.add("photo", drawn())
    await images.add("private", drawn(), owner="alice", public=False)
    drawing = b'<svg xmlns="http://www.w3.org/2000/svg">' + b"<g/>" * 1000 + b"</svg>"
    await images.add("drawing", drawing, key="drawing.svg", content_type="image/svg+xml")


async def test_redbot_finds_what_is_on_purpose_and_nothing_else(
    gateway: RunningGateway, collection: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, case in CASES.items():
        resource = await asyncio.to_thread(examine, gateway.ports.public, case, monkeypatch)
        assert (resource.check_done, resource.fetch_error) == (True, None), name
        assert resource.response.status_code == case.status, name
        assert notes(resource, levels.BAD, levels.WARN) == case.findings, name
        assert notes(resource, levels.GOOD) >= case.proven, name


def test_every_reason_is_about_something_that_is_still_found() -> None:
    assert set().union(*(case.findings for case in CASES.values())) == ON_PURPOSE.keys()
