"""The list of changes for nginx: its order, its bounds, and from when on it is complete."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gateway.purge.heard_changes import HeardChanges, Source
from tests.limits import LIMIT

START = 1_000_000


@dataclass
class Clock:
    """A clock that the test sets, in milliseconds."""

    at: int = START

    def __call__(self) -> float:
        return self.at / 1000


def listening(clock: Clock, **options: Any) -> HeardChanges:
    """A list of a process that hears rows alone."""
    heard = HeardChanges([Source.ROWS], now=clock, **options)
    heard.listens_to(Source.ROWS)
    return heard


def test_the_last_change_of_each_image_is_listed_oldest_first() -> None:
    clock = Clock()
    heard = listening(clock, settings="0f")
    for image_id in ("a", "b", "a"):
        clock.at += 5_000
        heard.record(image_id)
    clock.at += 5_000
    assert heard.since(0).changes == (("b", START + 11_000), ("a", START + 16_000))
    assert heard.since(START + 16_000).changes == (("a", START + 16_000),)
    assert heard.since(START + 16_001).changes == ()
    found = heard.since(0)
    assert json.loads(found.as_json()) == {
        "gateway": found.gateway,
        "now": START + 20_003,
        "complete_since": START,
        "changes": [{"image_id": "b", "at": START + 11_000}, {"image_id": "a", "at": START + 16_000}],
        "access": START,
        "settings": "0f",
    }


def test_a_change_is_listed_again_after_every_replica_has_dropped_the_image() -> None:
    """A cache may have fetched the old image from a replica that had not heard of the change yet."""
    clock = Clock()
    heard = listening(clock)
    heard.record("a")
    for passed, listed in ((0, 0), (249, 0), (250, 250), (999, 250), (1000, 1000), (60_000, 1000)):
        clock.at = START + passed
        assert heard.since(START).changes == (("a", START + listed),)
    clock.at += 1
    heard.record("b")
    clock.at += 600
    heard.record("c")
    assert heard.since(START + 60_000).changes == (("b", START + 60_251), ("c", START + 60_601))


def test_what_comes_in_the_millisecond_of_a_list_is_later_than_the_list() -> None:
    heard = listening(Clock())
    before = heard.since(0)
    heard.record("a")
    heard.void_decisions()
    after = heard.since(before.now + 1)
    assert (before.now, before.decisions_void_at) == (START, START)
    assert (after.changes, after.decisions_void_at, after.now) == ((("a", START + 1),), START + 1, START + 1)


def test_a_listener_is_called_whenever_an_answer_would_be_another() -> None:
    heard, calls = listening(Clock()), []
    heard.add_listener(lambda: calls.append(heard.since(0).now))
    steps: list[Callable[[], object]] = [
        lambda: heard.record("a"),
        lambda: heard.record(None),
        heard.void_decisions,
        lambda: heard.has_lost(Source.ROWS),
        lambda: heard.listens_to(Source.ROWS),
    ]
    for number, step in enumerate(steps, start=1):
        step()
        assert len(calls) == number


def test_a_long_list_comes_in_parts() -> None:
    clock = Clock()
    heard = listening(clock, most_listed=3)
    for number in range(5):
        heard.record(f"image-{number}")
        clock.at += 2_000
    first = heard.since(0)
    assert ([image_id for image_id, _ in first.changes], first.has_more) == (["image-0", "image-1", "image-2"], True)
    assert json.loads(first.as_json())["more"] is True
    rest = heard.since(first.changes[-1][1])
    assert ([image_id for image_id, _ in rest.changes], rest.has_more) == (["image-2", "image-3", "image-4"], False)


def test_a_list_that_has_forgotten_changes_is_complete_only_since_then() -> None:
    clock = Clock()
    heard = listening(clock, most_kept=2)
    for number in range(3):
        heard.record(f"image-{number}")
        clock.at += 15_000
    found = heard.since(0)
    assert [image_id for image_id, _ in found.changes] == ["image-1", "image-2"]
    assert found.complete_since == START + 1_001, "image-0 was listed for the last time a second after its change"


def test_more_changes_at_once_than_are_kept_are_a_change_of_every_image() -> None:
    clock = Clock()
    heard = listening(clock, most_kept=2)
    for number in range(3):
        heard.record(f"image-{number}")
        clock.at += 10_000
    found = heard.since(0)
    assert (found.changes, found.complete_since) == (((None, START + 21_000),), START)


def test_a_change_of_every_image_replaces_all_earlier_changes() -> None:
    clock = Clock()
    heard = listening(clock)
    heard.record("a")
    heard.record(None)
    clock.at += 10
    heard.record('b"')
    found = heard.since(0)
    assert found.changes == ((None, START), ('b"', START + 10))
    listed = json.loads(found.as_json())["changes"]
    assert listed == [{"image_id": None, "at": START}, {"image_id": 'b"', "at": START + 10}]
    heard.record("b")
    assert heard.last_change("a") == (START / 1000, True)
    assert heard.last_change("b") == ((START + 11) / 1000, True)
    assert listening(Clock()).last_change("a") == (START / 1000, False)


def test_the_list_is_complete_while_every_source_is_heard() -> None:
    clock = Clock()
    heard = HeardChanges(Source, now=clock)
    for at, source in ((1, Source.ROWS), (5, Source.REPLICAS)):
        assert heard.since(0).complete_since == clock.at, "nothing is complete yet"
        clock.at = START + at
        heard.listens_to(source)
    clock.at = START + 100
    assert heard.since(0).complete_since == START + 5
    heard.has_lost(Source.ROWS)
    clock.at = START + 150
    heard.record("a")
    clock.at = START + 200
    found = heard.since(0)
    assert (found.complete_since, found.changes) == (START + 200, (("a", START + 150),))
    clock.at = START + 300
    heard.listens_to(Source.ROWS)
    clock.at = START + 400
    assert heard.since(0).complete_since == START + 300


async def test_changes_may_have_been_missed_after_a_gap_and_if_serving_began_before_listening() -> None:
    heard = HeardChanges(Source)
    assert not heard.listens_to(Source.ROWS)
    await heard.before_serving(0.01)
    assert heard.listens_to(Source.REPLICAS)
    heard.has_lost(Source.ROWS)
    assert heard.listens_to(Source.ROWS)


async def test_serving_waits_for_the_first_try_to_listen() -> None:
    heard = HeardChanges(Source)
    heard.has_lost(Source.ROWS)
    waiting = asyncio.create_task(heard.before_serving(60))
    await asyncio.sleep(0)
    assert not heard.listens_to(Source.REPLICAS)
    async with asyncio.timeout(LIMIT):
        await waiting
    await HeardChanges([]).before_serving(60)


def test_decisions_are_void_after_a_gap_and_whenever_rights_change() -> None:
    clock = Clock()
    heard = HeardChanges([Source.REPLICAS], now=clock)
    assert heard.since(0).decisions_void_at == START, "a process that starts may have other settings"
    clock.at += 1
    heard.listens_to(Source.REPLICAS)
    assert heard.since(0).decisions_void_at == START + 1
    clock.at += 1
    heard.void_decisions()
    assert heard.since(0).decisions_void_at == START + 2


def test_two_processes_have_two_names() -> None:
    names = {HeardChanges([]).since(0).gateway for _ in range(2)}
    assert len(names) == 2
