"""Values of image processing operations."""

import pytest

from gateway_dev.cos_emulator.image_geometry import Area, Cut, Fit, Percent, Scale, Scaling
from gateway_dev.cos_emulator.image_rules import cut, number, sides_of, thumbnail
from gateway_dev.cos_emulator.refusals import Refusal


@pytest.mark.parametrize(
    ("value", "scaling"),
    [
        ("!50p", Percent(50, 50)),
        ("!50px", Percent(width=50)),
        ("!x50p", Percent(height=50)),
        ("640x", Scale(640, None)),
        ("x480", Scale(None, 480)),
        ("640x480", Scale(640, 480)),
        ("640x>", Scale(640, None, Fit.SHRINK)),
        ("x480>", Scale(None, 480, Fit.SHRINK)),
        ("640x480>", Scale(640, 480, Fit.SHRINK)),
        ("640x480<", Scale(640, 480, Fit.ENLARGE)),
        ("!640x480r", Scale(640, 480, Fit.COVER)),
        ("640x480!", Scale(640, 480, Fit.EXACT)),
        ("90000@", Area(90000)),
    ],
)
def test_each_documented_thumbnail_is_parsed(value: str, scaling: Scaling) -> None:
    assert thumbnail(value) == scaling


@pytest.mark.parametrize(
    "value",
    [
        *("", "x", "x>", "640", "640x480r", "!640x480", "!640x480>", "!640x480!", "640x480>>", "640x480x1"),
        *("!0p", "!p", "!50p>", "0x", "x0", "0@", "@", "-5x", "1.5x", " 5x", "٣x", f"{10**9}x"),
    ],
)
def test_another_thumbnail_is_refused(value: str) -> None:
    with pytest.raises(Refusal, match="400 InvalidArgument"):
        thumbnail(value)


def test_sides_are_parsed() -> None:
    assert (sides_of("crop", "3x4"), sides_of("crop", "3x"), sides_of("crop", "x4")) == ((3, 4), (3, None), (None, 4))
    for value in ("", "x", "3", "0x4", "3x0", "3x4x5", "3x4!"):
        with pytest.raises(Refusal, match="400 InvalidArgument"):
            sides_of("crop", value)


def test_a_cut_is_parsed() -> None:
    assert cut("600x500x0x10") == Cut(600, 500, 0, 10)
    for value in ("600x500", "600x500x0", "600x500x0x", "0x500x0x0", "600x0x0x0", "600x500x-1x0"):
        with pytest.raises(Refusal, match="400 InvalidArgument"):
            cut(value)


def test_a_number_has_bounds_and_ascii_digits() -> None:
    assert (number("1", least=1), number("007"), number("100", most=100)) == (1, 7, 100)
    for digits in ("", "0", "101", "+1", "1_0", "١", "9" * 5000):
        with pytest.raises(Refusal, match="400 InvalidArgument"):
            number(digits, least=1, most=100)
