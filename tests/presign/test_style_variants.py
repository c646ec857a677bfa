"""Renditions: an allow-list made from the configuration."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.catalog.record import ImageRecord
from gateway.errors import UnknownFormat, UnknownRatio, UnknownStyle, UnknownWidth
from gateway.presign.style_variants import Renditions
from gateway.settings import StyleSettings, VariantSettings

RECORD = ImageRecord("a", None, True, "b-1250000000", "ap-beijing", "a.jpg", None, focus="north")
DEFAULTS = VariantSettings(widths=(640, 320), formats=("webp",), quality={"webp": 70})
STYLES: dict[str, str | StyleSettings] = {
    "thumb": "imageMogr2/thumbnail/300x300",
    "card": StyleSettings(formats=("avif", "webp"), quality={"avif": 50}),
    "plain": StyleSettings(),
    "square": StyleSettings(
        process="imageMogr2/crop/{width}x{height}/gravity/{focus}/quality/{quality}", ratio=2, widths=(100,)
    ),
    "cut": StyleSettings(
        process="imageMogr2/auto-orient/crop/{width}x{height}/gravity/{focus}/strip",
        ratios=("16:9", "1:1"),
        widths=(320, 640),
    ),
    "teaser": StyleSettings(public=True, widths=(32,)),
}


@pytest.fixture
def renditions() -> Renditions:
    """The renditions of the styles above."""
    return Renditions(STYLES, DEFAULTS)


@pytest.mark.parametrize(
    ("style", "width", "image_format", "name"),
    [
        ("thumb", None, None, "thumb"),
        ("card", 320, "webp", "card@320.webp"),
        ("card", 1, "avif", "card@320.avif"),
        ("card", 320.5, "avif", "card@640.avif"),
        ("card", 99_999, None, "card@640.original"),
        ("card", None, "webp", "card@640.webp"),
        ("plain", 320, None, "plain@320.webp"),
        ("plain", 320, "original", "plain@320.original"),
    ],
)
def test_a_request_chooses_a_name(
    renditions: Renditions, style: str, width: float | None, image_format: str | None, name: str
) -> None:
    assert renditions.choose(style, width, image_format) == name
    assert renditions.has(name)


def test_a_ratio_is_one_of_the_list(renditions: Renditions) -> None:
    assert renditions.choose("cut", 300, "webp", "16:9") == "cut@320.16x9.webp"
    assert renditions.query("cut@320.16x9.webp") == "style=cut&w=320&r=16:9&format=webp"
    assert renditions.fallback("cut@320.16x9.webp") == "cut@320.16x9.original"
    assert {"style=cut&r=1:1", "style=cut&w=320&r=16:9&format=original", "style=cut"} <= {*renditions.queries("cut")}
    assert renditions.describe("cut") == {
        "widths": (320, 640),
        "formats": ("webp", "original"),
        "ratios": ("16:9", "1:1"),
    }
    for style, ratio in (("cut", "4:3"), ("cut", "2:2"), ("cut", ""), ("card", "16:9"), ("thumb", "16:9")):
        with pytest.raises(UnknownRatio):
            renditions.choose(style, None, None, ratio)


@pytest.mark.parametrize(
    ("style", "width", "image_format", "error"),
    [
        ("huge", None, None, UnknownStyle),
        ("card@320.webp", None, None, UnknownStyle),
        ("", None, None, UnknownStyle),
        ("thumb", 320, None, UnknownWidth),
        ("thumb", None, "webp", UnknownFormat),
        ("card", 320, "jxl", UnknownFormat),
        ("plain", 320, "avif", UnknownFormat),
    ],
)
def test_what_is_not_listed_is_refused(
    renditions: Renditions, style: str, width: float | None, image_format: str | None, error: type[Exception]
) -> None:
    with pytest.raises(error):
        renditions.choose(style, width, image_format)


@given(st.text(), st.none() | st.floats(min_value=0.1, max_value=1e6), st.none() | st.text(), st.none() | st.text())
def test_no_text_of_a_client_reaches_a_rule(
    style: str, width: float | None, image_format: str | None, ratio: str | None
) -> None:
    renditions = Renditions(STYLES, DEFAULTS)
    try:
        name = renditions.choose(style, width, image_format, ratio)
    except (UnknownStyle, UnknownWidth, UnknownFormat, UnknownRatio):
        return
    assert name in renditions.names


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("thumb", "imageMogr2/thumbnail/300x300"),
        ("card@320.avif", "imageMogr2/auto-orient/thumbnail/320x>/strip/quality/50/format/avif"),
        ("card@320.webp", "imageMogr2/auto-orient/thumbnail/320x>/strip/quality/70/format/webp"),
        ("card@640.original", "imageMogr2/auto-orient/thumbnail/640x>/strip"),
        ("square@100.original", "imageMogr2/crop/100x50/gravity/north/quality/75"),
        ("square@100.webp", "imageMogr2/crop/100x50/gravity/north/quality/70/format/webp"),
        ("cut@320.16x9.original", "imageMogr2/auto-orient/crop/320x180/gravity/north/strip"),
        ("cut@320.1x1.webp", "imageMogr2/auto-orient/crop/320x320/gravity/north/strip/quality/70/format/webp"),
        ("cut@320.original", "imageMogr2/auto-orient/thumbnail/320x>/strip"),
    ],
)
def test_the_rule_of_each_name(renditions: Renditions, name: str, rule: str) -> None:
    assert renditions.get(name).rule(RECORD) == rule


def test_without_a_focus_a_crop_keeps_the_center(renditions: Renditions) -> None:
    record = ImageRecord("a", None, True, "b-1250000000", "ap-beijing", "a.jpg", None)
    assert "/gravity/center/" in renditions.get("square@100.original").rule(record)


def test_fallbacks_are_the_next_formats_in_the_same_width(renditions: Renditions) -> None:
    replaced = {"card@320.avif": "card@320.webp", "card@320.webp": "card@320.original"}
    for name in ("card@320.avif", "card@320.webp", "card@320.original", "thumb"):
        assert renditions.fallback(name) == replaced.get(name)


def test_only_public_styles_are_public(renditions: Renditions) -> None:
    assert {name for name in renditions.names if renditions.is_public(name)} == {"teaser@32.webp", "teaser@32.original"}
    assert not renditions.is_public("no-such-style")


def test_a_width_that_is_not_listed_can_be_refused() -> None:
    renditions = Renditions(STYLES, DEFAULTS.model_copy(update={"unknown_width": "reject"}))
    assert renditions.choose("card", 320, "webp") == "card@320.webp"
    for width in (319, 320.5, 1280):
        with pytest.raises(UnknownWidth):
            renditions.choose("card", width, "webp")
