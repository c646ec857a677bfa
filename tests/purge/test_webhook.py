"""The webhook: one POST of JSON, and what its answers mean for the images."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest
from multidict import CIMultiDict

from gateway.delivery.parameters import VariantRequests
from gateway.net.bounded_http import BoundedHttp
from gateway.presign.style_variants import Renditions
from gateway.purge.target import Addresses, PurgeRefused, TargetUnavailable
from gateway.purge.webhook import Webhook
from gateway.settings import Live, StyleSettings, VariantSettings
from tests.answering import Service

CARD = StyleSettings(process="imageMogr2/thumbnail/{width}x", widths=(320, 640), formats=("webp",))
RENDITIONS = Live(Renditions({"thumb": "imageMogr2/thumbnail/300x300", "card": CARD}))
QUERIES = ["", "?style=thumb"] + [
    f"?style=card{width}{image_format}"
    for width in ("", "&w=320", "&w=640")
    for image_format in ("", "&format=webp", "&format=original")
]
BASES = ("https://img.example.com", "https://cdn.example.net:8443")


def test_an_image_has_an_address_for_each_base_path_and_rendition_and_each_once() -> None:
    addresses = Addresses(BASES, RENDITIONS)
    found = addresses.of("user:bob@v1.2_x-y")
    paths = ("/i/user:bob@v1.2_x-y", "/api/v1/images/user:bob@v1.2_x-y/proxy")
    assert found == [base + path + query for base in BASES for path in paths for query in QUERIES]
    assert len(set(found)) == len(found) == addresses.per_image == 44


def test_every_address_that_the_documents_show_is_purged_and_can_be_requested() -> None:
    """Except those with ``dpr``, which are without end."""
    card = StyleSettings(widths=(320, 640, 960), formats=("avif", "webp"))
    renditions = Live(Renditions({"card": card}, VariantSettings(negotiate="accept")))
    purged = Addresses(("",), renditions).of("sunrise")
    shown = re.findall(
        r'/i/sunrise\?style=card[^` "]*', (Path(__file__).parents[2] / "docs" / "variants.md").read_text()
    )
    assert {address for address in shown if "dpr" not in address} <= set(purged)
    assert "/i/sunrise?style=card&w=640&format=auto" in shown
    variant = VariantRequests(renditions).variant
    for address in purged:
        variant(dict(parse_qsl(urlsplit(address).query)), CIMultiDict())


async def test_the_aliases_of_an_image_are_addresses_of_it_too() -> None:
    async def aliases_of(image_ids: Sequence[str]) -> dict[str, set[str]]:
        return {image_id: {"shop/图 1%.png"} for image_id in image_ids if image_id == "a"}

    addresses = Addresses(BASES, RENDITIONS, aliases_of)
    found = await addresses.of_images(["a", "b"])
    assert found["b"] == addresses.of("b")
    assert len(found["a"]) == addresses.per_image == 66
    assert f"{BASES[0]}/a/shop/%E5%9B%BE%201%25.png?style=thumb" in found["a"]


async def test_a_purge_names_ids_addresses_and_tags(service: Service, http: BoundedHttp) -> None:
    addresses = Addresses(BASES[:1], RENDITIONS)
    service.status, service.body = 204, b""
    await Webhook(http, f"{service.url}/purge?from=gateway", addresses, token="t0ken").purge(["a", "b"])
    ((request, body),) = service.seen
    assert (request.method, request.path_qs) == ("POST", "/purge?from=gateway")
    assert (request.content_type, request.headers["Authorization"]) == ("application/json", "Bearer t0ken")
    assert json.loads(body) == {
        "image_ids": ["a", "b"],
        "urls": addresses.of("a") + addresses.of("b"),
        "cache_tags": ["image-a", "image-b"],
    }
    await Webhook(http, service.url, Addresses((), RENDITIONS)).purge(["a"])
    assert "Authorization" not in service.seen[1][0].headers


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        *((status, TargetUnavailable) for status in (301, 401, 403, 404, 429, 500, 503)),
        *((status, PurgeRefused) for status in (400, 413, 422)),
    ],
)
async def test_a_refusal_of_the_content_counts_against_the_images_and_any_other_is_for_later(
    service: Service, http: BoundedHttp, status: int, outcome: type[Exception]
) -> None:
    service.status = status
    with pytest.raises(outcome, match=f"status {status}"):
        await Webhook(http, service.url, Addresses((), RENDITIONS)).purge(["a"])


async def test_a_webhook_that_hangs_or_is_not_there_is_for_later(service: Service, http: BoundedHttp) -> None:
    service.hangs = True
    for url in (service.url, "http://127.0.0.1:1/"):
        with pytest.raises(TargetUnavailable):
            await Webhook(http, url, Addresses((), RENDITIONS)).purge(["a"])


def test_a_request_names_a_thousand_addresses_at_most_also_after_a_reload(http: BoundedHttp) -> None:
    for bases, most in ((), 200), (BASES[:1], 45), (BASES, 22):
        assert Webhook(http, "http://x", Addresses(bases, RENDITIONS)).most == most
    renditions = Live(Renditions({}))
    addresses = Addresses(BASES, renditions)
    webhook = Webhook(http, "http://x", addresses)
    assert webhook.most == 200
    renditions.replace(Renditions({"card": CARD}))
    assert webhook.most == 1000 // addresses.per_image < 200
