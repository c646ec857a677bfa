"""What users depend on changes knowingly: each difference is named in the changelog."""

import pytest

from tests.interface.described import DESCRIBED, lines_of, snapshot


@pytest.mark.parametrize("name", DESCRIBED)
def test_the_interface_is_what_was_promised(name: str) -> None:
    promised, present = set(snapshot(name).read_text(encoding="utf-8").splitlines()), set(lines_of(name))
    changes = [f"- {line}" for line in sorted(promised - present)] + [
        f"+ {line}" for line in sorted(present - promised)
    ]
    assert not changes, (
        "the interface changes: name it in CHANGELOG.md under Added, Changed or Removed, then run "
        "`python -m tests.interface`\n" + "\n".join(changes)
    )
