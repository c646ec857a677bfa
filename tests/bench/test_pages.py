"""The page that libraries for images are compared with, and the table of what it costs."""

import re

import pytest

from bench.page_markup import MARKUPS, Markup, Picture, page
from bench.pages import View, table

BASE = "http://gateway"
CARD = Picture("card", 320, 213)
HERO = Picture("hero", 640, 427, hero=True, placeholder="data:image/webp;base64,AAAA")


def widths(markup: str) -> list[int]:
    """Return the widths that the pictures of a page offer."""
    return sorted({int(width) for width in re.findall(r"w=(\d+)", markup)})


@pytest.mark.parametrize("markup", MARKUPS, ids=lambda markup: markup.name)
def test_each_page_has_the_same_pictures_in_boxes_of_the_same_size(markup: Markup) -> None:
    html = page(markup, BASE, '{"version": 1}', [HERO, CARD])
    for picture in (HERO, CARD):
        box = f'width="{picture.width}" height="{picture.height}"|aspect-ratio:{picture.width}/{picture.height}'
        assert re.search(box, html)
        assert picture.image_id in html


def test_each_library_offers_the_widths_that_its_documents_name() -> None:
    offered = {markup.name: widths(markup.picture(BASE, CARD)) for markup in MARKUPS}
    assert offered == {
        "plain `<img>`": [160, 320, 640, 960, 1280, 1920],
        "`<smart-image>`": [],
        "`<smart-image>` with an `<img>`": [],
        "next/image": [640, 750, 828, 1080, 1200, 1920, 2048, 3840],
        "Nuxt Image": [320, 640],
        "unpic": [320, 640],
        "`<smart-image>` with an `<img>`, and placeholders": [],
    }
    assert widths(next(markup for markup in MARKUPS if markup.name == "unpic").picture(BASE, HERO)) == [
        640, 750, 828, 960, 1080, 1280,
    ]  # fmt: skip


def test_a_server_renders_the_placeholder_behind_the_picture() -> None:
    tiny = '<img slot="placeholder" alt="" width="640" height="427" src="data:image/webp;base64,AAAA">'
    made = MARKUPS[-1].picture(BASE, HERO)
    assert re.search(f'<smart-image [^>]*placeholder="data:image/[^>]*>{tiny}<picture>', made)


def test_the_table_has_the_median_of_each_measure() -> None:
    views = [View(1000, 0.0, 900.0), View(3000, 0.2, 700.0), View(2000, 0.1, 800.4)]
    assert table({"plain": views}).splitlines()[-1] == "| plain | 2,000 | 0.100 | 800 |"
