"""The picture of a benchmark."""

from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest

from bench.picture import svg
from tests.bench.runs import CACHED, RESULTS, RUN, STARTED, STREAMED

_SVG = "{http://www.w3.org/2000/svg}"


def elements(picture: str, name: str, kind: str) -> list[ET.Element]:
    """Return the elements of a name whose class contains a word."""
    found = ET.fromstring(picture).iter(f"{_SVG}{name}")  # noqa: S314 - written by this project
    return [element for element in found if kind in element.get("class", "").split()]


def test_each_result_has_a_bar_and_its_numbers() -> None:
    picture = svg(RUN, RESULTS)
    bars = elements(picture, "rect", "own") + elements(picture, "rect", "below")
    assert len(bars) == len(RESULTS)
    texts = [element.text for element in elements(picture, "text", "note")]
    assert "0.80 · 800/s · bare relay 1,000/s" in texts
    assert "0.33 · 1.50 s · bare start 0.50 s" in texts
    assert [element.text for element in elements(picture, "text", "name")] == ["stream 4k", "front cache 10m", "start"]


def test_a_bar_is_as_long_as_its_ratio_and_a_goal_is_marked() -> None:
    picture = svg(RUN, [replace(STREAMED, rounds=(rate,) * 3) for rate in (500.0, 1000.0)])
    (short,), (long,) = elements(picture, "rect", "below"), elements(picture, "rect", "own")
    assert float(long.attrib["width"]) == pytest.approx(2 * float(short.attrib["width"]), abs=0.2)
    (even,) = elements(picture, "line", "even")
    assert float(even.attrib["x1"]) == pytest.approx(float(long.attrib["x"]) + float(long.attrib["width"]), abs=0.2)
    picture = svg(RUN, [replace(STREAMED, rounds=(850.0,) * 3), CACHED])
    (mark,) = elements(picture, "line", "goal")
    bar = elements(picture, "rect", "own")[0]
    assert float(mark.attrib["x1"]) == pytest.approx(float(bar.attrib["x"]) + float(bar.attrib["width"]), abs=0.2)


def test_a_bar_beyond_the_scale_ends_there_and_says_so() -> None:
    assert len(elements(svg(RUN, [CACHED]), "text", "beyond")) == 1
    assert not elements(svg(RUN, [STARTED]), "text", "beyond")
    width = float(ET.fromstring(svg(RUN, [CACHED])).get("viewBox", "").split()[2])  # noqa: S314 - as above
    for bar in elements(svg(RUN, RESULTS), "rect", "own"):
        assert float(bar.attrib["x"]) + float(bar.attrib["width"]) < width


def test_without_results_there_is_no_picture() -> None:
    with pytest.raises(ValueError, match="no results"):
        svg(RUN, [])
