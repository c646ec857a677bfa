"""The list of changes for nginx: its order, its bounds, and from when on it is complete."""

import json
from dataclasses import dataclass, field
from typing import Any

import pytest

from gateway.changes.change_log import ChangeLog, Scope, Source
from gateway.changes.heartbeat import LEASE
from gateway.changes.nginx_list import NginxList

EPOCH = 1_000  # Unix seconds at the zero of the log's clock
START = (EPOCH + 100) * 1000
LATE = round(LEASE * 1000) + 250  # milliseconds after which no replica trusts a row from before a change


@dataclass
class Listed:
    """A list and its log, which hears rows. ``at`` is the time in milliseconds since the process started."""

    most_kept: int = 100
    most_listed: int = 100
    at: int = 0
    log: ChangeLog = field(init=False)

    def __post_init__(self) -> None:
        self.log = ChangeLog([Source.ROWS], "me", 100, most_kept=self.most_kept)
        self.list = NginxList(self.log, "me", lambda: "0f", EPOCH, most_listed=self.most_listed)
        self.log.listens(Source.ROWS, 100)
        self.beat()

    @property
    def now(self) -> float:
        """The time of the log's clock."""
        return 100 + self.at / 1000

    def beat(self) -> None:
        """Send a heartbeat that comes back at once."""
        self.log.heartbeat(Source.ROWS, self.log.heartbeats[Source.ROWS].send(self.now))

    def change(self, image_id: str) -> None:
        self.log.image_changed(image_id, self.now)

    def read(self, since: int = 0, asked_at: int | None = None) -> dict[str, Any]:
        """Return the list."""
        found: dict[str, Any] = json.loads("".join(self.list.since(since, self.now, asked_at)))
        return found

    def since(self, since: int, asked_at: int | None = None) -> list[tuple[str | None, int]]:
        """Return the changes, while heartbeats come back."""
        self.beat()
        return [(change["image_id"], change["at"]) for change in self.read(since, asked_at)["changes"]]


def test_the_last_change_of_each_image_is_listed_oldest_first() -> None:
    listed = Listed()
    for image_id in ("a", "b", "a"):
        listed.at += 10_000
        listed.change(image_id)
    listed.at += 10_000
    assert listed.since(START + 30_000 + LATE) == [("a", START + 30_000 + LATE)]
    assert listed.since(START + 30_001 + LATE) == []
    assert listed.read() == {
        "gateway": "me",
        "now": START + 39_999,
        "complete_since": START,
        "heartbeat": START + 40_000,
        "changes": [{"image_id": "b", "at": START + 20_000 + LATE}, {"image_id": "a", "at": START + 30_000 + LATE}],
        "access": START + 1,
        "settings": "0f",
    }


def test_a_change_is_listed_again_after_every_replica_has_dropped_the_image() -> None:
    """A cache may have fetched the old image from a replica that had not heard of the change yet, or never does."""
    listed = Listed()
    listed.change("a")
    times = ((1, 0), (250, 0), (251, 250), (1000, 250), (1001, 1000), (LATE, 1000), (LATE + 1, LATE), (60_000, LATE))
    for passed, time in times:
        listed.at = passed
        assert listed.since(START) == [("a", START + time)]
    listed.at += 1
    listed.change("b")
    listed.at += 600
    listed.change("c")
    listed.at += 1
    assert listed.since(START + 60_000) == [("b", START + 60_251), ("c", START + 60_601)]


def test_the_last_time_of_a_change_is_kept_when_the_image_changes_again() -> None:
    """A deaf replica may send the earlier image until its lease ends, after the later change was named three times."""
    listed, found = Listed(), list[int]()
    changed = [0, 300, 600, 1_800, 4_000]
    for at in range(4_000 + LATE + 2):
        listed.at = at
        if at in changed:
            listed.change("a")
        found += [time - START for _, time in listed.since(found[-1] + START + 1 if found else START)]
    last = [0, 600, 1_800, 4_000]  # 300 ms are in the second of both
    assert [time for time in found if time >= 5_001] == [time + LATE for time in last]


def test_what_comes_in_the_millisecond_of_a_list_is_in_the_next_one_however_often_is_asked() -> None:
    listed = Listed()
    listed.at = 5
    before = [listed.read() for _ in range(10_000)][-1]
    listed.change("a")
    listed.log.heard_sweep(Scope.DECISIONS, listed.now)
    assert (before["now"], before["changes"]) == (START + 4, [])
    assert listed.since(before["now"] + 1) == []
    listed.at += 1
    after = listed.read(before["now"] + 1)
    assert (after["changes"], after["now"]) == ([{"image_id": "a", "at": START + 5}], START + 5)
    assert after["access"] > before["access"]


@pytest.mark.parametrize("difference", [-3_600_000, -10_000, 0, 10_000, 3_600_000])
def test_the_asker_asks_by_its_own_clock(difference: int) -> None:
    """The clock of either machine may be wrong by any time, or have been wrong at the start."""
    listed = Listed()
    listed.at = 5_000
    listed.change("a")
    listed.at = 6_500
    asked_at = START + listed.at + difference
    assert listed.since(asked_at - 500, asked_at) == [("a", START + 6_000)]
    assert listed.since(asked_at - 499, asked_at) == []


def test_a_question_by_another_clock_from_the_future_has_no_complete_answer() -> None:
    """Files of version 3 ask by nginx's clock without naming its time."""
    listed = Listed()
    listed.at = 5_000
    listed.beat()
    assert listed.read(START + 5_000)["complete_since"] == START
    found = listed.read(START + 5_001)
    assert found["complete_since"] == found["now"]


def test_without_heartbeats_the_list_is_not_complete() -> None:
    listed = Listed()
    listed.at = int(LEASE * 1000) - 1
    assert listed.read()["complete_since"] == START
    listed.at += 1
    found = listed.read()
    assert found["complete_since"] == found["now"]
    listed.log.lost(Source.ROWS)
    assert listed.read()["heartbeat"] == 0
    unheard = NginxList(ChangeLog([], "me", 0), "me", lambda: "0f", EPOCH)
    assert "heartbeat" not in json.loads("".join(unheard.since(0, 1)))


def test_a_long_list_comes_in_parts() -> None:
    listed = Listed(most_listed=3)
    for number in range(5):
        listed.change(f"image-{number}")
        listed.at += 10_000
    first = listed.since(0)
    assert [image_id for image_id, _ in first] == ["image-0", "image-1", "image-2"]
    assert listed.read()["more"] is True
    last = first[-1][1]
    assert [image_id for image_id, _ in listed.since(last)] == ["image-2", "image-3", "image-4"]
    assert "more" not in listed.read(last)


def test_no_piece_of_a_list_takes_long_and_a_change_meanwhile_comes_with_the_next_list() -> None:
    listed = Listed(most_kept=20_000, most_listed=10_000)
    for number in range(20_000):
        listed.change(f"image-{number}")
    listed.at = 1
    pieces = listed.list.since(START, listed.now)
    first = next(pieces)
    listed.change("image-0")
    listed.log.heard_sweep(Scope.IMAGES, listed.now)
    made = [first, *pieces]
    assert max(piece.count("image_id") for piece in made) == 500
    assert [piece == "" for piece in made[:40]] == [True] * 40, "the changes are looked at in as many steps"
    found = json.loads("".join(made))
    assert (len(found["changes"]), found["more"], found["now"]) == (10_000, True, START)
    assert {change["at"] for change in found["changes"]} == {START}


def test_a_change_of_every_image_takes_the_place_of_earlier_changes() -> None:
    listed = Listed()
    listed.change("a")
    listed.at += 10
    listed.log.heard_sweep(Scope.IMAGES, listed.now)
    listed.at += 10
    listed.change('b"')
    listed.at += 1
    assert listed.since(0) == [(None, START + 10), ('b"', START + 20)]


def test_an_image_has_not_changed_since_its_change_or_since_changes_are_known() -> None:
    listed = Listed()
    listed.beat()
    assert listed.list.last_change("a", listed.now) == (START / 1000, False)
    listed.at += 1_000
    listed.change("a")
    assert listed.list.last_change("a", listed.now) == (START / 1000 + 1, True)
    listed.at += 1_000
    listed.log.heard_sweep(Scope.IMAGES, listed.now)
    assert (
        listed.list.last_change("a", listed.now) == listed.list.last_change("b", listed.now) == (START / 1000 + 2, True)
    )
