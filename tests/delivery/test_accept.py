"""``Accept``: the fields of browsers and of programs, and the formats that they get."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.delivery.accept import accepts_image, choose_format
from gateway.settings import VariantFormat

# Accept of an <img>, by browser.
OF_IMAGES = {
    "chromium": "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8",
    "chromium-with-jxl": "image/jxl,image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8",
    "firefox": "image/avif,image/webp,image/png,image/svg+xml,image/*;q=0.8,*/*;q=0.5",
    "firefox-65": "image/webp,*/*",
    "safari": "image/webp,image/avif,image/jxl,image/heic,image/heic-sequence,video/*;q=0.8,image/png,"
    "image/svg+xml,image/*;q=0.8,*/*;q=0.5",
    "safari-13": "image/png,image/svg+xml,image/*;q=0.8,video/*;q=0.8,*/*;q=0.5",
    "internet-explorer-11": "image/png, image/svg+xml, image/*;q=0.8, */*;q=0.5",
    "one-type": "image/png",
    "upper-case": "IMAGE/*, text/html; Q=0.5",
    "with-empty-elements": " , image/* ,, ",
    "rather-than-html": "text/html;q=0.8, image/*;q=0.9",
}
OF_OTHERS = {
    "nothing": "",
    "curl": "*/*",
    "chromium-page": "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8",
    "firefox-page": "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
    "safari-page": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "axios": "application/json, text/plain, */*",
    "json-rather-than-images": "application/json, image/*;q=0.5",
    "html-above-images": "image/*;q=0.5, text/html",
    "as-much-as-html": "image/*, text/html",
    "anything-rather-than-images": "image/*;q=0.5, */*",
    "no-images": "image/*;q=0",
    "an-invalid-quality": "image/*;q=2",
    "a-quality-without-a-value": "image/*;q",
    "too-long": "image/*" + "," * 2000,
}


@pytest.mark.parametrize("accept", OF_IMAGES.values(), ids=OF_IMAGES)
def test_the_accept_of_an_img_asks_for_an_image(accept: str) -> None:
    assert accepts_image({"Accept": accept})


@pytest.mark.parametrize("accept", OF_OTHERS.values(), ids=OF_OTHERS)
def test_the_accept_of_a_page_or_a_program_does_not(accept: str) -> None:
    assert not accepts_image({"Accept": accept})


@pytest.mark.parametrize(
    ("destination", "wanted"), [("image", True), (" Image ", True), ("empty", False), ("document", False), ("", False)]
)
def test_sec_fetch_dest_decides_where_it_is_sent(destination: str, wanted: bool) -> None:
    """A script that fetches with ``Accept: image/*`` sends ``empty``: it reads the status and the code."""
    for accept in ("image/*", "*/*", "application/json"):
        assert accepts_image({"Sec-Fetch-Dest": destination, "Accept": accept}) is wanted


def test_a_request_without_either_field_is_a_programs() -> None:
    assert not accepts_image({})


@given(st.text(alphabet="imagetxhtml/*,;q=01.9 \t", max_size=60) | st.text())
def test_every_accept_is_decided(accept: str) -> None:
    assert accepts_image({"Accept": accept}) in (True, False)


FORMATS: tuple[VariantFormat, ...] = ("avif", "webp", "original")

# The field that each sends for <img>.
BROWSERS = {
    "Chrome": "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8",
    "Chromium with JPEG XL": "image/jxl,image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8",
    "Firefox 92": "image/avif,image/webp,*/*",
    "Firefox 128": "image/avif,image/webp,image/png,image/svg+xml,image/*;q=0.8,*/*;q=0.5",
    "Safari 16": "image/webp,image/avif,image/jxl,image/heic,image/heic-sequence,video/*;q=0.8,image/png,*/*;q=0.5",
    "Safari 13": "image/png,image/svg+xml,image/*;q=0.8,video/*;q=0.8,*/*;q=0.5",
    "Edge 18": "image/png, image/svg+xml, image/*; q=0.8, */*; q=0.5",
    "Opera 12": "text/html, application/xml;q=0.9, image/png, image/webp, image/jpeg, */*;q=0.1",
    "curl": "*/*",
    "fetch()": "*/*",
}


def test_ten_browsers_get_one_of_three_formats() -> None:
    chosen = {name: choose_format([accept], FORMATS) for name, accept in BROWSERS.items()}
    assert chosen == {
        "Chrome": "avif",
        "Chromium with JPEG XL": "avif",
        "Firefox 92": "avif",
        "Firefox 128": "avif",
        "Safari 16": "avif",
        "Safari 13": "original",
        "Edge 18": "original",
        "Opera 12": "webp",
        "curl": "original",
        "fetch()": "original",
    }


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
    assert choose_format([BROWSERS["Chrome"]], ("webp", "original")) == "webp"
    assert choose_format([BROWSERS["Chrome"]], ("original",)) == "original"


@given(st.lists(st.text(max_size=200), max_size=4))
def test_every_field_is_read(lines: list[str]) -> None:
    assert choose_format(lines, FORMATS) in FORMATS
