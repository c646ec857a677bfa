"""Presigned URLs for clients determine the headers of COS's response."""

from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest
import yarl

from gateway.errors import CredentialsExpired
from gateway.presign.credentials import Credentials
from gateway.presign.hosts import Hosts
from gateway.presign.public_url import PublicUrls
from gateway.presign.signer import AuthorizedImage, Signer
from gateway.service.metrics import Metrics
from gateway.settings import CosSettings, Live
from gateway_dev.cos_emulator.faults import Fault, Headers
from gateway_dev.database import ImageRow
from tests.conftest import BUCKET, Images, RunningGateway, StartGateway, token_for
from tests.cos_emulator.pictures import gradient
from tests.signed_images import signed_image
from tests.tier import NOW, Clock, record
from tests.url_settings import lifetime_of, url_cache

SVG = b'<svg xmlns="http://www.w3.org/2000/svg"/>'
HANDING_OUT = ["/i/cat?redirect=true", "/api/v1/images/cat/url"]


async def handed_out(gateway: RunningGateway, path: str = "/i/cat?redirect=true", method: str = "GET") -> str:
    """Return the presigned URL that a call returns."""
    answer = await gateway.request(method, path)
    return answer.headers["Location"] if answer.status == 302 else str(answer.json()["data"]["url"])


async def cos_answers(url: str, method: str = "GET") -> tuple[int, str | None, str | None]:
    """Status, type and disposition of COS's answer."""
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, yarl.URL(url, encoded=True), allow_redirects=False) as answer,
    ):
        return answer.status, answer.headers.get("Content-Type"), answer.headers.get("Content-Disposition")


def signed_parameters(url: str) -> set[str]:
    """The names of the parameters that COS verifies."""
    (names,) = parse_qs(urlsplit(url).query, keep_blank_values=True)["q-url-param-list"]
    return set(names.split(";"))


@pytest.mark.parametrize("path", HANDING_OUT)
async def test_how_cos_answers_is_signed(gateway: RunningGateway, images: Images, path: str) -> None:
    await images.add("cat", key="cat.png", content_type="image/png")
    images.cos.store.put(BUCKET, "cat.png", b"<script>", content_type="text/html")
    url = await handed_out(gateway, path)
    assert signed_parameters(url) == {"response-content-type", "response-content-disposition"}
    assert await cos_answers(url) == (200, "image/png", "inline")
    for other in ("text/html", "image/svg+xml"):
        changed = url.replace("image%2Fpng", other.replace("/", "%2F"))
        assert changed != url
        assert (await cos_answers(changed))[0] == 403


async def test_the_batch_and_a_renewal_give_such_urls_too(gateway: RunningGateway, images: Images) -> None:
    await images.add("cat", key="cat.png", owner="alice")
    as_alice = {"Authorization": f"Bearer {token_for('alice')}"}
    batch = await gateway.request("POST", "/api/v1/images/urls", json={"image_ids": ["cat"]}, headers=as_alice)
    renewed = await gateway.request("POST", "/api/v1/images/cat/url/refresh", headers=as_alice)
    for url in (batch.json()["data"]["urls"]["cat"]["url"], renewed.json()["data"]["url"]):
        assert await cos_answers(url) == (200, "image/png", "inline")


async def test_a_download_has_its_name_at_cos_and_the_url_for_a_head_says_the_same(
    gateway: RunningGateway, images: Images
) -> None:
    await images.add("cat", key="cat.png")
    url = await handed_out(gateway, "/i/cat?redirect=true&download=%E7%8C%AB.png")
    expected = "attachment; filename=\"_.png\"; filename*=UTF-8''%E7%8C%AB.png"
    assert await cos_answers(url) == (200, "image/png", expected)
    url = await handed_out(gateway, method="HEAD")
    assert signed_parameters(url) == {"response-content-type", "response-content-disposition"}
    assert (await cos_answers(url, "HEAD"))[0] == 200


async def test_the_type_is_the_row_s_or_that_of_the_key_s_ending(gateway: RunningGateway, images: Images) -> None:
    for number, (key, content_type, sent_type) in enumerate(
        (
            ("a.JPG", None, "image/jpeg"),
            ("a.webp", "image/png", "image/png"),
            ("b.webp", "text/html", "image/webp"),
            ("c.webp", "image/png; charset=utf-8", "image/webp"),
            ("a.html", None, "application/octet-stream"),
            ("png", None, "application/octet-stream"),
            ("a.png/b", "application/octet-stream", "application/octet-stream"),
        )
    ):
        await images.add(f"cat{number}", key=key)
        await images.add_row(ImageRow(f"cat{number}", None, key, content_type=content_type, public=True))
        url = await handed_out(gateway, f"/i/cat{number}?redirect=true")
        assert await cos_answers(url) == (200, sent_type, "inline")


async def test_an_svg_is_not_opened_as_a_page_of_the_bucket_s_domain(gateway: RunningGateway, images: Images) -> None:
    await images.add("cat", SVG, key="cat.svg", content_type="image/svg+xml")
    assert await cos_answers(await handed_out(gateway)) == (200, "image/svg+xml", "attachment")


async def test_a_style_has_the_type_of_its_format(start_gateway: StartGateway, images: Images) -> None:
    gateway = await start_gateway(
        image_styles={"web": "imageMogr2/thumbnail/300x300/format/webp", "thumb": "imageMogr2/thumbnail/300x300"}
    )
    await images.add("cat", gradient(4, 2), key="cat.png")
    for style, sent_type in {"web": "image/webp", "thumb": "image/png"}.items():
        url = await handed_out(gateway, f"/i/cat?redirect=true&style={style}")
        assert parse_qs(urlsplit(url).query)["response-content-type"] == [sent_type]
        assert (await cos_answers(url))[0] == 200


async def test_the_gateway_fetches_the_type_that_cos_has_stored(gateway: RunningGateway, images: Images) -> None:
    await images.add("cat", key="cat.png", content_type="image/png")
    html = Headers(remove=["Content-Type"], add=[("Content-Type", "text/html")])
    images.cos.faults.add(Fault(key="cat.png", action=html))
    assert (await gateway.get("/i/cat")).status == 502


class TestTokens:
    """The image's URL may be by another replica, whose credentials end later than those here."""

    def urls(self, clock: Clock, left: int) -> tuple[PublicUrls, AuthorizedImage]:
        """Return the URLs of a replica whose token ends in ``left`` seconds, and an image of another replica."""

        def signer(credentials: Credentials) -> Signer:
            cos = CosSettings.model_validate({"secret_id": "x", "secret_key": "y", "bucket": "b-1250000000"})
            return Signer(
                lambda _: credentials, Hosts(cos), Live(url_cache(3600, window=1)), metrics=Metrics().presign, now=clock
            )

        lifetime = lifetime_of(3600, 60, 900)
        here = signer(Credentials("HERE", "key", "token", NOW + left))
        urls = PublicUrls(here, lambda presigned: lifetime.is_usable(presigned, clock()))
        return urls, signed_image(record(), signer(Credentials("THERE", "key")).sign(record(), fresh=True))

    def test_a_url_that_ends_too_soon_is_not_given_out(self) -> None:
        clock = Clock()
        urls, image = self.urls(clock, 600)
        assert urls.presign(image).expires_at == NOW + 600
        clock.now += 591
        with pytest.raises(CredentialsExpired):
            urls.presign(image)

    def test_a_url_that_ends_with_the_image_s_is_made_once(self) -> None:
        urls, image = self.urls(Clock(), 7200)
        assert urls.presign(image) is urls.presign(image)
        assert urls.presign(image).expires_at == image.presigned.expires_at
