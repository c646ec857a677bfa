"""``Accept``: the fields of browsers and of programs, and the formats that they get."""

import pytest

from gateway.delivery.accept import accepts_image, choose_format
from gateway.settings import VariantFormat

FORMATS: tuple[VariantFormat, ...] = ("avif", "webp", "original")

# Accept of an <img>, by browser, and the format that it gets.
OF_IMAGES: dict[str, tuple[str, VariantFormat]] = {
    "Chromium": ("image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8", "avif"),
    "Chromium with JPEG XL": ("image/jxl,image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8", "avif"),
    "Firefox 65": ("image/webp,*/*", "webp"),
    "Firefox 92": ("image/avif,image/webp,*/*", "avif"),
    "Firefox 128": ("image/avif,image/webp,image/png,image/svg+xml,image/*;q=0.8,*/*;q=0.5", "avif"),
    "Safari 13": ("image/png,image/svg+xml,image/*;q=0.8,video/*;q=0.8,*/*;q=0.5", "original"),
    "Safari 16": (
        "image/webp,image/avif,image/jxl,image/heic,image/heic-sequence,video/*;q=0.8,image/png,image/*;q=0.8,*/*;q=0.5",
        "avif",
    ),
    "Edge 18": ("image/png, image/svg+xml, image/*;q=0.8, */*;q=0.5", "original"),
    "one-type": ("image/png", "original"),
    "upper-case": ("IMAGE/*, text/html; Q=0.5", "original"),
    "with-empty-elements": (" , image/* ,, ", "original"),
    "rather-than-html": ("text/html;q=0.8, image/*;q=0.9", "original"),
}
OF_OTHERS: dict[str, tuple[str, VariantFormat]] = {
    "nothing": ("", "original"),
    "curl and fetch()": ("*/*", "original"),
    "chromium-page": (
        "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8",
        "avif",
    ),
    "firefox-page": ("text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8", "avif"),
    "safari-page": ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "original"),
    "Opera 12": ("text/html, application/xml;q=0.9, image/png, image/webp, image/jpeg, */*;q=0.1", "webp"),
    "axios": ("application/json, text/plain, */*", "original"),
    "json-rather-than-images": ("application/json, image/*;q=0.5", "original"),
    "html-above-images": ("image/*;q=0.5, text/html", "original"),
    "as-much-as-html": ("image/*, text/html", "original"),
    "anything-rather-than-images": ("image/*;q=0.5, */*", "original"),
    "no-images": ("image/*;q=0", "original"),
    "an-invalid-quality": ("image/*;q=2", "original"),
    "a-quality-without-a-value": ("image/*;q", "original"),
    "too-long": ("image/*" + "," * 2000, "original"),
    "ignored-beginning": ("image/webp" + "," * 2000, "original"),
    "formats-that-nginx-adds": ("image/avif" + ", image/png" * 200 + ", image/avif;q=0, image/webp", "webp"),
}
EACH = OF_IMAGES | OF_OTHERS
BROWSERS = {name: accept for name, (accept, _) in EACH.items() if name[0].isupper() or name.startswith("curl")}


@pytest.mark.parametrize("name", EACH)
def test_only_the_accept_of_an_img_asks_for_an_image_and_each_gets_the_format_that_it_prefers(name: str) -> None:
    accept, image_format = EACH[name]
    assert accepts_image({"Accept": accept}) is (name in OF_IMAGES)
    assert choose_format([accept], FORMATS) == image_format
    assert choose_format([accept, *["*/*"] * 1000], FORMATS) == "original", "the number of lines is no way round"


@pytest.mark.parametrize(
    ("destination", "wanted"), [("image", True), (" Image ", True), ("empty", False), ("document", False), ("", False)]
)
def test_sec_fetch_dest_decides_where_it_is_sent(destination: str, wanted: bool) -> None:
    """A script that fetches with ``Accept: image/*`` sends ``empty``: it reads the status and the code."""
    for accept in ("image/*", "*/*", "application/json"):
        assert accepts_image({"Sec-Fetch-Dest": destination, "Accept": accept}) is wanted


def test_a_request_without_either_field_is_a_programs() -> None:
    assert not accepts_image({})


@pytest.mark.parametrize(
    ("lines", "chosen"),
    [
        ([], "original"),
        ([""], "original"),
        (["image/avif;q=0"], "original"),
        (["image/avif;q=0.0, image/webp"], "webp"),
        (["image/avif; q=0.5", "image/webp; q=0.6"], "webp"),
        (["image/avif;level=1;q=0.1,image/webp;q=0.2"], "webp"),
        (["IMAGE/WEBP;Q=1.000"], "webp"),
        (["image/avif;q=1.001,image/webp;q=0.001"], "webp"),
        (["image/avif;q=-1"], "original"),
        (["image/avif;q="], "original"),
        (["image/avif ;q=0.9 ,, image/webp"], "webp"),
        (["image/avifx,image/web"], "original"),
    ],
)
def test_weights(lines: list[str], chosen: str) -> None:
    assert choose_format(lines, FORMATS) == chosen


def test_only_formats_of_the_style_are_chosen() -> None:
    assert choose_format([OF_IMAGES["Chromium"][0]], ("webp", "original")) == "webp"
    assert choose_format([OF_IMAGES["Chromium"][0]], ("original",)) == "original"
    assert choose_format([OF_IMAGES["Chromium"][0]], ()) == "original"
