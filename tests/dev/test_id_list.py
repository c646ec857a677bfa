"""The list of images has a line for each image, and names are printed without control characters."""

import csv
from pathlib import Path

from gateway_dev.database import ImageRow
from gateway_dev.folder import LeftOut
from gateway_dev.welcome import describe_left_out, write_id_list

BASE = "http://127.0.0.1:8080"


def test_every_row_is_listed_with_its_address_and_readers(tmp_path: Path) -> None:
    rows = [
        ImageRow("a", "alice", "a\tb.png", public=True),
        ImageRow("b", "bob", "b.png"),
        ImageRow("c", None, "c.png"),
    ]
    write_id_list(tmp_path / "list", BASE, rows)
    with (tmp_path / "list").open(encoding="utf-8", newline="") as file:
        assert list(csv.reader(file, delimiter="\t")) == [
            ["id", "file", "address", "for"],
            ["a", "a\tb.png", f"{BASE}/i/a", "everyone"],
            ["b", "b.png", f"{BASE}/i/b", "bob"],
            ["c", "c.png", f"{BASE}/i/c", "nobody"],
        ]


def test_only_the_first_three_names_of_each_reason_are_printed() -> None:
    left_out = LeftOut(list, {"hidden file": [".a"], "cannot be read": ["b", "c\x1b", "d", "e"]})
    assert describe_left_out(left_out) == "1 (hidden file): .a; 4 (cannot be read): b, c?, d, ..."
