"""Unusual queries for variants: never a 5xx, and in no cache more entries than there are variants."""

import string
from typing import Any

import pytest
import yarl
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.conftest import Images, RunningGateway, StartGateway, token_for
from tests.stories.test_variants import STYLES, photo

NAMES = ["style", "w", "dpr", "r", "format", "v", "download", "redirect", "kid", "exp", "sig"]
VALUES = {
    "style": ["card", "teaser", "thumb", "Card", "card@160.webp", "nope", "", "card%00", "card%20"],
    "w": ["160", "321", "0", "00160", "99999", "1e3", "-1", "160.0", "%31%36%30", "%EF%BC%91", "9" * 400],
    "dpr": ["1", "2", "0.5", "99.999", "0", "nan", "inf", "1e3", "-1", "2.", ".5"],
    "r": ["16:9", "1:1", "0:1", "1:", "16x9", "%31:1", "100:1"],
    "format": ["webp", "avif", "original", "auto", "AUTO", "jpeg", "auto%00", "webp,avif"],
    "v": ["1", "..", "a" * 64, "a" * 65, "%41", "-", "%ff"],
    "download": ["a.png", "%ff", "..%2f", "%E7%8C%AB.png", "%0d%0a", '"'],
    "redirect": ["true", "false", "1", "2"],
}
ACCEPTS = [
    *("", "*/*", "image/avif,image/webp", "image/avif;q=0,image/avif", "image/webp;q=1.0000", ",,;q=", "image/avif;q"),
]
VARIANTS = 3 * 3 + 2 + 1 + 1  # of the styles, and the original
IMAGES = ["cat", "mine", "drawing", "broken", "none"]

safe = st.text(string.ascii_letters + string.digits + "%&=+;,.:@/?_~!$'()*-", max_size=30)
name = st.sampled_from([*NAMES, "%73tyle", "%76", "W", "x"]) | safe
parameter = st.sampled_from([f"{key}={value}" for key in VALUES for value in VALUES[key]]) | st.builds(
    lambda key, value: f"{key}={value}", name, st.sampled_from([v for key in VALUES.values() for v in key]) | safe
)
query = st.lists(parameter, max_size=6).map("&".join)
fields = st.fixed_dictionaries(
    {"Accept": st.sampled_from(ACCEPTS)},
    optional={
        "Range": st.sampled_from(["bytes=0-0", "bytes=-5", "bytes=5-1", "bytes=99999999-", "bytes=0-1,3-4"]),
        "If-None-Match": st.sampled_from(["*", '"x"', "W/", '"']),
        "If-Range": st.sampled_from(['"x"', "Sat, 01 Jan 2000 00:00:00 GMT"]),
        "Authorization": st.just(f"Bearer {token_for('alice')}"),
        "Sec-Fetch-Dest": st.just("image"),
    },
)


@pytest.fixture
async def gateway(start_gateway: StartGateway, images: Images) -> RunningGateway:
    """A gateway that negotiates, with an image of each kind."""
    await images.add("cat", photo(), content_type="image/jpeg")
    await images.add("mine", photo(), content_type="image/jpeg", owner="alice", public=False)
    await images.add("drawing", b"<svg/>", content_type="image/svg+xml")
    await images.add("broken", b"no picture", content_type="image/jpeg")
    return await start_gateway(
        image_styles={**STYLES, "thumb": "imageMogr2/thumbnail/10x10"}, image_variants={"negotiate": "accept"}
    )


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(image=st.sampled_from(IMAGES), raw_query=query, headers=fields, method=st.sampled_from(["GET", "HEAD"]))
@example(image="cat", raw_query="style=thumb&format=auto", headers={"Accept": ""}, method="GET")
async def test_no_query_causes_a_5xx_or_makes_more_entries_than_there_are_variants(
    gateway: RunningGateway,
    redis_client: Any,
    image: str,
    raw_query: str,
    headers: dict[str, str],
    method: str,
) -> None:
    url = yarl.URL(f"{gateway.ports.public}/i/{image}?{raw_query}", encoded=True)
    async with gateway.session.request(method, url, headers=headers, allow_redirects=False) as answer:
        await answer.read()
        assert answer.status < 500
        if answer.status == 302 and "q-signature" not in answer.headers["Location"]:
            again = yarl.URL(f"{gateway.ports.public}/i/{image}{answer.headers['Location']}", encoded=True)
            async with gateway.session.request(method, again, headers=headers, allow_redirects=False) as second:
                assert second.status < 500
                assert second.status != 302 or "q-signature" in second.headers["Location"]
    entries = redis_client.keys("image:url:*")
    assert len(entries) <= VARIANTS * (len(IMAGES) - 1)
    # The probe of Redis has keys of its own, for a minute each.
    others = {key for key in redis_client.keys("image:*") if not key.startswith(b"image:probe:")} - set(entries)
    assert len(others) <= 10
