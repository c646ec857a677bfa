"""Rules parsed from the names of query parameters."""

import pytest

from gateway_dev.cos_emulator.image_geometry import AutoOrient, Crop, Cut, Fit, Operation, Percent, Rotate, Scale
from gateway_dev.cos_emulator.image_rules import Report, Rule, find_rule, parse_rule
from gateway_dev.cos_emulator.refusals import Refusal
from gateway_dev.cos_emulator.request import CosRequest


@pytest.mark.parametrize(
    ("text", "operation"),
    [
        ("thumbnail/!50p", Percent(50, 50)),
        ("thumbnail/640x>", Scale(640, None, Fit.SHRINK)),
        ("crop/300x400", Crop(300, 400)),
        ("crop/300x", Crop(300, None)),
        ("crop/x400/gravity/center", Crop(None, 400, "center")),
        ("gravity/SouthEast/crop/300x400", Crop(300, 400, "southeast")),
        ("cut/600x500x100x10", Cut(600, 500, 100, 10)),
        ("rotate/90", Rotate(90)),
        ("auto-orient", AutoOrient()),
    ],
)
def test_each_documented_operation_is_parsed(text: str, operation: Operation) -> None:
    assert parse_rule(f"imageMogr2/{text}") == Rule(operations=(operation,))


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("imageMogr2/format/webp", Rule(kind="WEBP")),
        ("imageMogr2/format/avif/quality/50", Rule(kind="AVIF", quality=50)),
        ("imageMogr2/format/jpg/quality/90!", Rule(kind="JPEG", quality=90)),
        ("imageMogr2/strip", Rule(strip=True)),
        ("imageMogr2/ignore-error/1/strip", Rule(strip=True, ignore_error=True)),
        ("imageMogr2/strip/ignore-error/0", Rule(strip=True)),
        ("imageMogr2/interlace/1", Rule()),
        ("watermark/2/text/5Zu+", Rule()),
        ("imageInfo", Rule(report=Report.INFO)),
        ("imageAve", Rule(report=Report.AVERAGE)),
        ("imageView2/0", Rule()),
        ("imageView2/2/w/40", Rule((Scale(40, None, Fit.SHRINK),))),
        ("imageView2/3/w/40/h/10", Rule((Scale(40, 10, Fit.SHRINK_COVER),))),
        ("imageView2/1/w/40/h/10/format/gif/q/85", Rule((Crop(40, 10, "center"),), "GIF", 85)),
    ],
)
def test_each_setting_is_parsed(text: str, rule: Rule) -> None:
    assert parse_rule(text) == rule


def test_operations_keep_their_order_and_joined_rules_follow_one_another() -> None:
    text = "imageMogr2/auto-orient/thumbnail/640x>/strip|imageMogr2/crop/300x200/format/webp/quality/75/|imageInfo"
    assert parse_rule(text) == Rule(
        operations=(AutoOrient(), Scale(640, None, Fit.SHRINK), Crop(300, 200)),
        kind="WEBP",
        quality=75,
        strip=True,
        report=Report.INFO,
    )


@pytest.mark.parametrize(
    "text",
    [
        "imageMogr2/explode/1",
        "imageMogr2/x",
        "imageMogr2/thumbnail",
        "imageMogr2/thumbnail/",
        "imageMogr2/thumbnail/640",
        "imageMogr2/crop/300",
        "imageMogr2/crop/x",
        "imageMogr2/crop/300x400>",
        "imageMogr2/crop/300x400/gravity/middle",
        "imageMogr2/cut/600x500",
        "imageMogr2/cut/",
        "imageMogr2/rotate/361",
        "imageMogr2/rotate/left",
        "imageMogr2/format/tpg",
        "imageMogr2/format/WEBP",
        "imageMogr2/quality/0",
        "imageMogr2/quality/101",
        "imageMogr2/ignore-error/2",
        "imageMogr2/strip|explode/1",
        "imageInfo|imageMogr2/strip",
        "imageInfo/1",
        "imageView2",
        "imageView2/6/w/40",
        "imageView2/2/w/a",
    ],
)
def test_an_invalid_rule_is_refused(text: str) -> None:
    with pytest.raises(Refusal, match="400 InvalidArgument"):
        parse_rule(text)


@pytest.mark.parametrize("text", ["x", "", "ci-process", "imageMogr", "response-content-type", "x|imageMogr2/x"])
def test_other_parameters_are_no_rules(text: str) -> None:
    assert parse_rule(text) is None


def test_the_first_rule_with_an_effect_applies() -> None:
    query = (("x", ""), ("imageView2/0", ""), ("imageView2/2/w/40", ""), ("imageMogr2/thumbnail/!50p", ""))
    assert find_rule(CosRequest("GET", "h", "/k", query)) == Rule((Scale(40, None, Fit.SHRINK),))
    assert find_rule(CosRequest("GET", "h", "/k")) is None
