"""Explanations of generated requests for generated rows: a request gets what its explanation says."""

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from gateway.delivery.nginx_files import ACCEL_CONF
from gateway_dev.database import ImageRow, ImagesTable
from tests.access.credentials import ACCESS, OLD_LINK_KEY, link_query, token
from tests.conftest import ADMIN_TOKEN, BUCKET, Images, RunningGateway, StartGateway
from tests.cos_emulator.pictures import encoded

PNG = encoded(Image.new("RGB", (64, 48), "teal"))
STYLES = {
    "card": {"process": "imageMogr2/thumbnail/{width}x>", "widths": [16], "formats": ["webp"], "public": True},
    "thumb": "imageMogr2/thumbnail/8x",
}
TOKENS: dict[str, Callable[[], str]] = {
    "owner": token,
    "stranger": lambda: token(sub="bob"),
    "expired": lambda: token(exp=1),
    "forged": lambda: "rubbish",
}
LINKS: dict[str, Callable[[str], str]] = {
    "link": link_query,
    "link of an older key": lambda path: link_query(path, kid="old", key=OLD_LINK_KEY),
    "link of a wrong key": lambda path: link_query(path, key=OLD_LINK_KEY),
    "link that is over": lambda path: link_query(path, exp=1_700_000_000),
    "link before a kill": lambda path: link_query(path, killed=1),
    "link of another image": lambda _: link_query("/i/other"),
}
QUERIES = (
    *("", "style=card", "style=card&w=16&format=webp", "style=thumb", "v=older"),
    *("style=huge", "style=card&format=avif", "w=16", "v=bad!"),
)


@dataclass(frozen=True)
class Case:
    """A row, and what is sent in a request for its image."""

    is_there: bool
    has_object: bool
    owner: str | None
    public: bool
    status: str
    content_type: str
    credential: str | None
    query: str


CASES = st.builds(
    Case,
    is_there=st.sampled_from((True, True, True, False)),
    has_object=st.sampled_from((True, True, True, False)),
    owner=st.sampled_from(("alice", "alice", None)),
    public=st.booleans(),
    status=st.sampled_from(("active", "active", "active", "deleted")),
    content_type=st.sampled_from(("image/png", "image/png", "image/svg+xml", "text/html")),
    credential=st.sampled_from((None, *TOKENS, *LINKS)),
    query=st.sampled_from(QUERIES),
)


@pytest.fixture
async def gateways(start_gateway: StartGateway, links_table: ImagesTable) -> dict[str, RunningGateway]:
    """A gateway for each delivery. One of them gives originals to owners alone."""
    del links_table
    return {
        delivery: await start_gateway(
            image_proxy={"delivery": delivery},
            image_styles=STYLES,
            image_variants={"originals": "owner" if delivery == "accel" else "everyone"},
            access=ACCESS,
        )
        for delivery in ("stream", "redirect", "accel")
    }


async def agrees(gateway: RunningGateway, images: Images, delivery: str, image_id: str, case: Case) -> None:
    """Explain the request, send it, and compare."""
    key = f"objects/{image_id}.png"
    if case.has_object:
        images.cos.store.put(BUCKET, key, PNG, content_type=case.content_type)
    if case.is_there:
        row = ImageRow(image_id, case.owner, key, public=case.public, status=case.status, content_type=None)
        await images.add_row(row)
    path = f"/i/{image_id}"
    link = LINKS[case.credential](path) if case.credential in LINKS else ""
    shown = TOKENS[case.credential]() if case.credential in TOKENS else None
    address = f"{path}?{'&'.join(filter(None, (case.query, link)))}"
    headers = {"X-Explain-Token": shown} if shown is not None else {}
    headers |= {"X-Explain-Link": address} if link else {}
    explanation = await gateway.request(
        "GET",
        f"/api/v1/monitoring/explain/{image_id}?{case.query}",
        admin=True,
        headers={"Authorization": f"Bearer {ADMIN_TOKEN}", **headers},
    )
    sent = {"Authorization": f"Bearer {shown}"} if shown is not None else {}
    if delivery == "accel":
        sent["X-Gateway-Config-Version"] = ACCEL_CONF
    answer = await gateway.get(address, headers=sent)
    if explanation.status != 200:  # no address has such parameters
        assert (answer.status, answer.json()["code"]) == (explanation.status, explanation.json()["code"])
        return
    data = explanation.json()["data"]
    verdict = data["verdict"]
    if delivery == "redirect" and answer.status == 302 and not verdict["served"]:
        assert not case.has_object or case.content_type != "image/png", "the error is the one that COS gives the client"
        return
    assert answer.status == verdict["status"], (case, verdict, answer)
    if not verdict["served"]:
        assert answer.json()["code"] == verdict["code"]
        return
    # nginx gives some fields back under their own names, and drops others.
    own = {(name.lower().removeprefix("x-image-"), value) for name, value in answer.headers.items()}
    expected = {name: str(value) for name, value in data["delivery"]["headers"].items()}
    for name in {"Location", "Cache-Control"} if answer.status == 302 else {"Content-Length", "Accept-Ranges"}:
        if answer.status == 302 or delivery == "accel":  # of this second, or of nginx
            expected.pop(name, None)
    assert {(name.lower(), value) for name, value in expected.items()} - own == set(), case


NUMBERS = itertools.count()


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(case=CASES)
@pytest.mark.parametrize("delivery", ["stream", "redirect", "accel"])
async def test_a_request_gets_what_its_explanation_says(
    gateways: Mapping[str, RunningGateway], images: Images, delivery: str, case: Case
) -> None:
    await agrees(gateways[delivery], images, delivery, f"image-{next(NUMBERS)}", case)
