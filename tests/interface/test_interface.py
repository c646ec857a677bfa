"""What users depend on changes knowingly: each difference is named in the changelog."""

import pytest

from tests.interface.described import ADVICE, DESCRIBED, changes_of, lines_of


@pytest.mark.parametrize("name", DESCRIBED)
def test_the_interface_is_what_was_promised(name: str) -> None:
    changes = changes_of(name, lines_of(name))
    assert not changes, "\n".join([ADVICE, *changes])
