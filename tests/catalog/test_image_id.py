"""The one rule for image ids."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.catalog.image_id import parse_image_id
from gateway.errors import InvalidImageId


@pytest.mark.parametrize(
    "text",
    [
        *("", ".", "..", "-a", "_a", ":a", "@a", "a/b", "a\\b", "a b", "a\n", "\na", "a\x00b", "a\r\nSet-Cookie: x"),
        *("é", "图", "٣", "😀", "a%2Fb", "a?b", "a#b", "a+b", "a'b", 'a"b', "\udcff", "a\udc80", "0" * 129, "0" * 3000),
    ],
)
def test_an_id_that_could_break_a_query_a_key_or_a_log_line_is_refused(text: str) -> None:
    with pytest.raises(InvalidImageId):
        parse_image_id(text)


@given(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._:@-]{0,127}", fullmatch=True, alphabet=st.characters(codec="ascii")))
def test_every_id_of_the_documented_syntax_is_accepted(text: str) -> None:
    assert parse_image_id(text) == text
