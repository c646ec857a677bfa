"""Sizes and boxes that operations make of a picture of 400 x 200 pixels."""

import pytest

from gateway_dev.cos_emulator.image_geometry import Area, Box, Crop, Cut, Fit, Percent, Scale, Scaling, Size
from gateway_dev.cos_emulator.refusals import Refusal

PICTURE = (400, 200)


@pytest.mark.parametrize(
    ("scaling", "size"),
    [
        (Scale(100, None), (100, 50)),
        (Scale(None, 100), (200, 100)),
        (Scale(100, 10), (20, 10)),
        (Scale(800, None), (800, 400)),
        (Scale(800, 300), (600, 300)),
        (Scale(640, None, Fit.SHRINK), (400, 200)),
        (Scale(320, None, Fit.SHRINK), (320, 160)),
        (Scale(800, 100, Fit.SHRINK), (200, 100)),
        (Scale(800, 800, Fit.SHRINK), (400, 200)),
        (Scale(800, 800, Fit.ENLARGE), (800, 400)),
        (Scale(100, 100, Fit.ENLARGE), (400, 200)),
        (Scale(100, 100, Fit.COVER), (200, 100)),
        (Scale(800, 800, Fit.COVER), (1600, 800)),
        (Scale(800, 800, Fit.SHRINK_COVER), (400, 200)),
        (Scale(100, 100, Fit.SHRINK_COVER), (200, 100)),
        (Scale(30, 70, Fit.EXACT), (30, 70)),
        (Scale(30, None, Fit.EXACT), (30, 200)),
        (Scale(1, None), (1, 1)),
        (Percent(50, 50), (200, 100)),
        (Percent(width=25), (100, 200)),
        (Percent(height=150), (400, 300)),
        (Area(20_000), (200, 100)),
        (Area(1_000_000), (400, 200)),
    ],
    ids=repr,
)
def test_scaling_makes_the_size(scaling: Scaling, size: Size) -> None:
    assert scaling.size(PICTURE) == size


def test_a_shrunk_area_never_exceeds_its_pixels() -> None:
    for pixels in range(1, 2000, 7):
        width, height = Area(pixels).size((333, 77))
        assert width * height <= pixels or 1 in {width, height}


@pytest.mark.parametrize(
    ("crop", "plan"),
    [
        (Crop(100, 100, "northwest"), ((200, 100), (0, 0, 100, 100))),
        (Crop(100, 100, "north"), ((200, 100), (50, 0, 150, 100))),
        (Crop(100, 100, "center"), ((200, 100), (50, 0, 150, 100))),
        (Crop(100, 100, "southeast"), ((200, 100), (100, 0, 200, 100))),
        (Crop(400, 100, "west"), ((400, 200), (0, 50, 400, 150))),
        (Crop(400, 100, "southwest"), ((400, 200), (0, 100, 400, 200))),
        (Crop(100, None, "east"), ((400, 200), (300, 0, 400, 200))),
        (Crop(None, 50, "south"), ((400, 200), (0, 150, 400, 200))),
    ],
    ids=repr,
)
def test_a_crop_scales_to_cover_and_cuts_at_its_gravity(crop: Crop, plan: tuple[Size, Box]) -> None:
    assert crop.plan(PICTURE) == plan


@pytest.mark.parametrize("crop", [Crop(401, None), Crop(None, 201), Crop(500, 100)])
def test_a_crop_larger_than_the_picture_is_refused(crop: Crop) -> None:
    with pytest.raises(Refusal, match="400 InvalidArgument"):
        crop.plan(PICTURE)


@pytest.mark.parametrize(
    ("cut", "box"),
    [(Cut(100, 50, 10, 20), (10, 20, 110, 70)), (Cut(100, 50, 350, 180), (350, 180, 400, 200))],
)
def test_a_cut_keeps_the_part_inside_the_picture(cut: Cut, box: Box) -> None:
    assert cut.box(PICTURE) == box


@pytest.mark.parametrize("cut", [Cut(10, 10, 400, 0), Cut(10, 10, 0, 200)])
def test_a_cut_outside_the_picture_is_refused(cut: Cut) -> None:
    with pytest.raises(Refusal, match="400 InvalidArgument"):
        cut.box(PICTURE)
