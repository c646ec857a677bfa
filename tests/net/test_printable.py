"""Text of others, made printable."""

import pytest

from gateway.net.printable import printable


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("a photo of 照", "a photo of 照"),
        ("a\x1b[31m照\n\udce9", "a?[31m照??"),
        ("\x9b31m\u202e\u2028\t\x00", "?31m????"),
    ],
)
def test_control_characters_and_line_breaks_become_question_marks(text: str, expected: str) -> None:
    assert printable(text) == expected
