"""``python -m tests.interface`` writes the interface as it is: the change then shows in the commit."""

from tests.interface.described import DESCRIBED, lines_of, snapshot

for name in DESCRIBED:
    snapshot(name).write_text("".join(f"{line}\n" for line in lines_of(name)), encoding="utf-8")
