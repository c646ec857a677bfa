"""The change log: what it keeps, what it tells the caches, and when it says that changes are heard."""

import pytest

from gateway.changes.change_log import ChangeLog, Scope, Source
from gateway.changes.heartbeat import LEASE

START = 1000.0
NEVER = float("-inf")


class Recorded:
    """A cache that records what it drops; ``*`` is every image."""

    def __init__(self) -> None:
        self.dropped: list[str] = []

    def drop(self, image_id: str) -> None:
        """Record the id."""
        self.dropped.append(image_id)

    def drop_all(self) -> None:
        """Record it."""
        self.dropped.append("*")


def beat(log: ChangeLog, source: Source, now: float) -> None:
    """Send a heartbeat that comes back at once."""
    log.heartbeat(source, log.heartbeats[source].send(now))


def listening(now: float = START, **options: int) -> ChangeLog:
    """A log that hears rows alone."""
    log = ChangeLog([Source.ROWS], "me", now, **options)
    log.listens(Source.ROWS, now)
    beat(log, Source.ROWS, now)
    return log


def test_changed_images_are_dropped_and_what_was_read_before_is_not_kept() -> None:
    log, cache = listening(), Recorded()
    log.add_cache(cache)
    before = log.number
    log.image_changed("a", START)
    assert cache.dropped == ["a"]
    assert (log.changed_since("a", before), log.changed_since("b", before)) == (True, False)
    assert not log.changed_since("a", log.number)
    log.missed(Source.ROWS, START)
    assert cache.dropped == ["a", "*"]
    assert (log.missed_since(before), log.missed_since(log.number)) == (True, False)
    assert not log.changed_since("b", before), "it may be kept for when no row can be read"


def test_of_many_changes_the_oldest_are_forgotten_and_may_be_of_any_image() -> None:
    log = listening(most_kept=2)
    marks = []
    for number, image_id in enumerate(("a", "b", "a", "c")):
        marks.append(log.number)
        log.image_changed(image_id, START + number)
    assert log.change_of("b") is None
    assert log.changed_at("b") == log.changed_at("z") == START + 1
    assert [log.changed_since("z", mark) for mark in marks] == [True, True, False, False]
    assert [log.changed_since("a", mark) for mark in marks] == [True, True, True, False]


def test_an_answer_that_waits_lacks_a_change_that_was_heard_meanwhile() -> None:
    log = listening()
    log.image_changed("a", START + 2)
    assert [log.has_heard("a", START + since) for since in (1, 2, 3)] == [True, True, False]
    assert not log.has_heard("b", START)


def test_an_answer_that_waits_may_lack_a_change_that_was_not_heard_or_is_forgotten() -> None:
    log, until = listening(START - 1), START - 1 + LEASE
    assert not log.may_have_missed(START, until - 0.1)
    assert log.may_have_missed(START, until), "a purge may have gone since the last heartbeat"
    assert not log.may_have_missed(until, until + 1.9), "its row has just been read"
    assert log.may_have_missed(until, until + 2)
    log.missed(Source.ROWS, START + 1)
    assert log.may_have_missed(START, START + 2)
    log = listening(START - 1, most_kept=1)
    for image_id in "ab":
        log.image_changed(image_id, START + 1)
    assert log.may_have_missed(START, START + 2)


def test_rows_are_trusted_while_heartbeats_come_back() -> None:
    log = ChangeLog([Source.ROWS], "me", START)
    assert log.rows_trusted_until == NEVER
    log.listens(Source.ROWS, START)
    assert log.rows_trusted_until == NEVER
    beat(log, Source.ROWS, START + 1)
    assert log.rows_trusted_until == START + 1 + LEASE
    log.lost(Source.ROWS)
    assert log.rows_trusted_until == NEVER
    log.listens(Source.ROWS, START + 2)
    assert log.rows_trusted_until == NEVER
    nowhere = ChangeLog([], "me", START)
    assert nowhere.rows_trusted_until == float("inf"), "they are trusted for their own time"
    assert nowhere.has_tried()
    assert nowhere.complete_since(START + 5) == START


def test_nothing_was_missed_since_every_source_is_heard() -> None:
    log = ChangeLog(Source, "me", START)
    log.listens(Source.ROWS, START + 1)
    beat(log, Source.ROWS, START + 1)
    log.listens(Source.REPLICAS, START + 3)
    assert log.complete_since(START + 4) == START + 4, "no message of replicas has come back"
    beat(log, Source.REPLICAS, START + 4)
    assert log.complete_since(START + 5) == START + 3
    assert log.complete_since(START + 1 + LEASE) == START + 1 + LEASE, "a process that was paused hears nothing"
    beat(log, Source.ROWS, START + 20)
    beat(log, Source.REPLICAS, START + 20)
    assert log.complete_since(START + 21) == START + 3, "what came meanwhile waited in the connections"
    log.lost(Source.REPLICAS)
    assert log.complete_since(START + 22) == START + 22


def test_each_source_is_tried_once_before_serving() -> None:
    log = ChangeLog(Source, "me", START)
    log.lost(Source.ROWS)
    assert not log.has_tried()
    log.listens(Source.REPLICAS, START)
    assert not log.has_tried()
    beat(log, Source.REPLICAS, START)
    assert log.has_tried()


def test_a_gap_of_a_process_that_serves_sweeps_caches_in_front_of_every_replica() -> None:
    log = ChangeLog([Source.ROWS], "me", START)
    assert log.unpublished == {Scope.DECISIONS}, "the process before may have had other settings"
    log.listens(Source.ROWS, START)
    assert (log.all_changed_at, log.unpublished) == (NEVER, {Scope.DECISIONS})
    log.serves = True
    beat(log, Source.ROWS, START)
    log.lost(Source.ROWS)
    log.listens(Source.ROWS, START + 7)
    assert (log.all_changed_at, log.unpublished) == (START + 7, {Scope.DECISIONS, Scope.IMAGES})
    log.missed(Source.ROWS, START + 9)
    assert log.all_changed_at == START + 9
    # As behind a pooler in transaction mode: nothing was trusted meanwhile, so no old image was given to nginx.
    for number in range(3):
        log.lost(Source.ROWS)
        log.listens(Source.ROWS, START + 10 + number)
        assert log.all_changed_at == START + 9, "a subscription that is forgotten each time sweeps once"
    beat(log, Source.ROWS, START + 14)
    log.lost(Source.ROWS)
    log.listens(Source.ROWS, START + 15)
    assert log.all_changed_at == START + 15


def test_rights_that_change_twice_in_a_millisecond_have_two_times() -> None:
    log = listening()
    times = [log.rights_changed_at]
    for scope in Scope:
        log.heard_sweep(scope, START)
        times.append(log.rights_changed_at)
    assert len({round(time * 1000) for time in times}) == 3


@pytest.mark.parametrize(("passed", "is_sweep"), [(29.0, True), (31.0, False)])
def test_a_change_forgotten_while_nginx_may_ask_for_it_is_one_of_every_image(passed: float, is_sweep: bool) -> None:
    log = listening(most_kept=1)
    log.image_changed("a", START)
    log.image_changed("b", START + passed)
    assert log.all_changed_at == (START + passed if is_sweep else NEVER)
    beat(log, Source.ROWS, START + passed)
    assert log.complete_since(START + passed) == (START if is_sweep else START + 30)


def test_observers_are_called_when_the_list_becomes_another_one() -> None:
    log, calls = listening(), list[int]()
    log.add_observer(lambda: calls.append(0))
    log.image_changed("a", START)
    log.heard_sweep(Scope.DECISIONS, START)
    log.lost(Source.ROWS)
    log.missed(Source.REPLICAS, START)
    assert len(calls) == 4
    log.listens(Source.ROWS, START)
    calls.clear()
    beat(log, Source.ROWS, START)
    assert calls == [0], "from now on it is complete"
    beat(log, Source.ROWS, START + 1)
    assert calls == [0]
