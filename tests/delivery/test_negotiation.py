"""Content negotiation (RFC 9110 section 12.5.1)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.delivery.negotiation import choose_format
from gateway.settings import VariantFormat

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
